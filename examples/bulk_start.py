"""Buy hundreds of machines and start them. A run that was killed can be run again, and continues.

By default it uses the embedded emulator. Set VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET to
use the real service, and VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there.

    python examples/bulk_start.py --count 200

Vagon's create takes neither a name nor an idempotency key. So if an answer is lost, the service
cannot be asked whether the machine was made. But if nothing else buys machines for the
organisation, a machine that did not exist before the first run and that no answer named was made by
such a request. The next run adopts it, and buys only what is missing then. The service may still be
working on the last requests of a killed run. --settle-time is how long its list must stay the same
before the next run trusts it. It should be well above the time that the service needs for a create.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from attrs import frozen

from vcloud import (
    Bulk,
    ConfigurationError,
    InvalidArgumentError,
    Journal,
    OutcomeStatus,
    Settled,
    VCloud,
    printable,
)
from vcloud.emulator import Emulator

DEFAULT_JOURNALS = Path("bulk_start.journals")


@frozen
class Job:
    """What all steps need: the client, the folder of the journals, and times in seconds."""

    cloud: VCloud
    journals: Path
    service: str
    concurrency: int
    settle_time: float
    poll: float

    def journal(self, step: str) -> Journal:
        """The journal of one step. It can be used for this service only."""
        return Journal(self.journals / f"{step}.journal", job=f"{step} at {self.service}")

    async def ids(self) -> list[str]:
        """The ids of all machines."""
        return sorted(
            [machine.id async for machine in self.cloud.computers.machines.list(per_page=100)]
        )


async def existing_before(job: Job) -> set[str]:
    """The machines that existed before the first run, from the journal in later runs."""

    async def list_machines(_: str) -> list[str]:
        return await job.ids()

    async def list_again(_: str) -> Settled[list[str]]:
        return Settled.undone()

    run = job.cloud.bulk(
        ["all"], list_machines, journal=job.journal("before"), record=list, settle=list_again
    )
    async with run:
        outcome = await anext(run)
    if outcome.error is not None:
        raise outcome.error
    return set(outcome.recorded)


async def buy(job: Job, count: int) -> list[str]:
    """Buy machines until there are this many. Returns their ids."""
    before = await existing_before(job)
    journal = job.journal("buy")
    orphans: list[str] = []

    async def buy_one(_: str) -> str:
        (machine,) = await job.cloud.computers.machines.create(1, region="dublin")
        return machine.id

    async def find_orphans() -> None:
        entries = await journal.entries()
        unknown = sum(entry.status is OutcomeStatus.UNKNOWN for entry in entries)
        if not unknown:
            return
        seen: list[str] = []
        while (now := await job.ids()) != seen:
            seen = now
            await asyncio.sleep(job.settle_time)
        orphans.extend(set(now) - before - {entry.recorded for entry in entries})
        print(
            f"  An earlier run left {unknown} creates unknown; they made {len(orphans)} machines.",
            flush=True,
        )
        if len(orphans) > unknown:
            raise SystemExit(
                "There are more new machines than were asked for: somebody else buys too. "
                "Find out which machines belong to whom."
            )

    async def adopt(_: str) -> Settled[str]:
        return Settled.done(orphans.pop()) if orphans else Settled.undone()

    names = [f"machine {number}" for number in range(1, count + 1)]
    run = job.cloud.bulk(
        names,
        buy_one,
        concurrency=job.concurrency,
        journal=journal,
        record=str,
        settle=adopt,
        progress="Buying",
    )
    return await show("bought", run, find_orphans)


async def start(job: Job, ids: list[str]) -> list[str]:
    """Start each of these machines once. Returns the ids of those that were started."""
    journal = job.journal("start")

    async def start_one(id: str) -> str:
        machine = await job.cloud.computers.machines.ref(id).wait_until("off", poll=job.poll)
        await machine.start()
        return id

    async def let_service_settle() -> None:
        if any(entry.status is OutcomeStatus.UNKNOWN for entry in await journal.entries()):
            await asyncio.sleep(job.settle_time)

    async def has_started(id: str) -> Settled[str]:
        machine = await job.cloud.computers.machines.ref(id).refresh()
        # A new machine is off; "creating" is its first start.
        never = machine.friendly_status == "off" and machine.last_session_start_at is None
        return Settled.undone() if never else Settled.done(id)

    run = job.cloud.bulk(
        ids,
        start_one,
        concurrency=job.concurrency,
        journal=journal,
        record=str,
        settle=has_started,
        progress="Starting",
    )
    return await show("started", run, let_service_settle)


async def show(step: str, run: Bulk[str, str], prepare: Callable[[], Awaitable[None]]) -> list[str]:
    """Run a step, print its totals even after an error, and return what it recorded."""
    recorded: list[str] = []
    try:
        async with run:
            await prepare()
            async for outcome in run:
                if outcome.status is OutcomeStatus.DONE:
                    recorded.append(outcome.recorded)
                else:
                    # A key may be an id from the service, with any characters in it.
                    line = f"  {outcome.key} is {outcome.status}: {outcome.error}"
                    print(printable(line), flush=True)
    finally:
        print(f"  {step}: {run.totals}", flush=True)
    return recorded


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--count", type=int, default=200, help="machines to have (default: %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=50, help="requests at once (default: %(default)s)"
    )
    parser.add_argument(
        "--journals", type=Path, help=f"folder of the journals (default: {DEFAULT_JOURNALS})"
    )
    parser.add_argument(
        "--settle-time",
        type=float,
        default=60,
        help="seconds that the list must stay the same (default: %(default)s)",
    )
    parser.add_argument(
        "--poll",
        type=float,
        default=2,
        help="polling interval for a new machine, in seconds (default: %(default)s)",
    )
    return parser.parse_args()


async def main() -> int:
    """Buy, start, and print what is left to do."""
    options = arguments()
    async with AsyncExitStack() as stack:
        if "VCLOUD_COMPUTERS_KEY" in os.environ:
            if os.environ.get("VCLOUD_EXAMPLE_BUY") != "1":
                raise SystemExit("Set VCLOUD_EXAMPLE_BUY=1 to allow this to spend money.")
            cloud = await stack.enter_async_context(VCloud.from_env())
            journals = options.journals or DEFAULT_JOURNALS
        else:
            # A minute of the service's time passes in half a second. The service and its journals
            # are gone afterwards.
            emulator = await stack.enter_async_context(Emulator(speed=120))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
            if options.journals is not None:
                raise SystemExit(
                    "--journals needs a real service: the emulator forgets its machines. "
                    "Set VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET, or omit --journals."
                )
            journals = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            options.poll = 0.1
        journals.mkdir(parents=True, exist_ok=True)
        service = repr(cloud.computers)
        job = Job(cloud, journals, service, options.concurrency, options.settle_time, options.poll)

        print(f"Buying {options.count} machines from {service}, {job.concurrency} at a time;")
        print(f"the journals are in {journals}.\n", flush=True)
        bought = await buy(job, options.count)
        started = await start(job, bought)

        left = options.count - len(started)
        print(
            f"\n{len(started)} of {options.count} machines were started."
            + (" Run it again for the rest." if left else "")
        )
        print(f"The service has {len(await job.ids())} machines in all.")
        return 1 if left else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (ConfigurationError, InvalidArgumentError) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        print("\nInterrupted. Run it again to continue.")
        sys.exit(130)
