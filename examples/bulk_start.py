"""Buy hundreds of machines and start them. Killed at any moment, it goes on where it stopped when it is run again.

Runs as it is against the embedded emulator, and against the real service when VCLOUD_COMPUTERS_KEY and
VCLOUD_COMPUTERS_SECRET are set; then VCLOUD_EXAMPLE_BUY=1 must say that it may spend money.

    python examples/bulk_start.py --count 200

Vagon's create takes neither a name nor an idempotency key, so nobody can ask what became of a request whose answer was lost.
But as long as nothing else buys for the organisation, a machine that was not there before the first run and that no answer
named came of such a request: it is taken over, and only what is missing then is bought. The service may still be working on
the last requests of a run that was killed; --patience is how long its list must stay the same before it is believed, and
should be well above what the service takes for a create.
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
    """What all steps need: the client, where their journals are, and how patient to be, in seconds."""

    cloud: VCloud
    journals: Path
    service: str
    concurrency: int
    patience: float
    poll: float

    def journal(self, step: str) -> Journal:
        """The journal of one step; it is refused for another service."""
        return Journal(self.journals / f"{step}.journal", job=f"{step} at {self.service}")

    async def ids(self) -> list[str]:
        """The machines that there are."""
        return sorted(
            [machine.id async for machine in self.cloud.computers.machines.list(per_page=100)]
        )


async def there_before(job: Job) -> set[str]:
    """The machines that there were before the first run, whichever run this is."""

    async def look(_: str) -> list[str]:
        return await job.ids()

    async def look_again(_: str) -> Settled[list[str]]:
        return Settled.undone()

    run = job.cloud.bulk(
        ["all"], look, journal=job.journal("before"), record=list, settle=look_again
    )
    async with run:
        outcome = await anext(run)
    if outcome.error is not None:
        raise outcome.error
    return set(outcome.recorded)


async def buy(job: Job, count: int) -> list[str]:
    """Have this many machines; returns their ids."""
    before = await there_before(job)
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
            await asyncio.sleep(job.patience)
        orphans.extend(set(now) - before - {entry.recorded for entry in entries})
        print(
            f"  An earlier run left {unknown} creates open; {len(orphans)} machines came of them.",
            flush=True,
        )
        if len(orphans) > unknown:
            raise SystemExit(
                "More machines than were asked for: somebody else buys too. Look which are whose."
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
    """Start each of these machines once; returns those that were."""
    journal = job.journal("start")

    async def start_one(id: str) -> str:
        machine = await job.cloud.computers.machines.ref(id).wait_until("off", poll=job.poll)
        await machine.start()
        return id

    async def be_patient() -> None:
        if any(entry.status is OutcomeStatus.UNKNOWN for entry in await journal.entries()):
            await asyncio.sleep(job.patience)

    async def has_started(id: str) -> Settled[str]:
        machine = await job.cloud.computers.machines.ref(id).refresh()
        # A machine just bought is off; "creating" is its first start.
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
    return await show("started", run, be_patient)


async def show(step: str, run: Bulk[str, str], prepare: Callable[[], Awaitable[None]]) -> list[str]:
    """Run a step, say how it ended however it ended, and return what it recorded."""
    recorded = []
    try:
        async with run:
            await prepare()
            async for outcome in run:
                if outcome.status is OutcomeStatus.DONE:
                    recorded.append(outcome.recorded)
                else:
                    # A key may be an id that the service made, and holds what it says.
                    line = f"  {outcome.key} is {outcome.status}: {outcome.error}"
                    print(printable(line), flush=True)
    finally:
        print(f"  {step}: {run.totals}", flush=True)
    return recorded


def arguments() -> argparse.Namespace:
    """What the command line says."""
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
    parser.add_argument("--patience", type=float, default=60, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--poll",
        type=float,
        default=2,
        help="seconds between two looks at a new machine (default: %(default)s)",
    )
    return parser.parse_args()


async def main() -> int:
    """Buy, start, and say what is left to do."""
    options = arguments()
    async with AsyncExitStack() as stack:
        if "VCLOUD_COMPUTERS_KEY" in os.environ:
            if os.environ.get("VCLOUD_EXAMPLE_BUY") != "1":
                raise SystemExit("Set VCLOUD_EXAMPLE_BUY=1 to say that this may spend money.")
            cloud = await stack.enter_async_context(VCloud.from_env())
            journals = options.journals or DEFAULT_JOURNALS
        else:
            # A minute of the service's time passes in half a second; and the service is gone afterwards, as the journals are.
            emulator = await stack.enter_async_context(Emulator(speed=120))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
            if options.journals is not None:
                raise SystemExit(
                    "The emulator forgets its machines: --journals is for a service that is there the next time."
                )
            journals = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            options.poll = 0.1
        journals.mkdir(parents=True, exist_ok=True)
        service = repr(cloud.computers)
        job = Job(cloud, journals, service, options.concurrency, options.patience, options.poll)

        print(f"Having {options.count} machines at {service}, {job.concurrency} at a time;")
        print(f"what is done stands in {journals}.\n", flush=True)
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
        print("\nInterrupted. Run it again, and it goes on from there.")
        sys.exit(130)
