"""Stop, each night, what has been idle for hours on all configured providers.

By default it uses the embedded emulator, otherwise the real services that VCLOUD_* variables name.

    python examples/nightly_stop.py --journal monday.journal --dry-run
    python examples/nightly_stop.py --journal monday.journal --csv monday.csv

A dry run writes a plan into the journal and prints it. A run acts on the plan in its journal, or on
what is idle now if there is none. It stops what is still idle then; sessions are hibernated. Each
night has its own journal. Run it again with the same one after exit status 1, or after it was
killed: nothing is stopped twice, what is unknown is settled, and the CSV file is about all runs.

Exit status: 0 if all is done. 1 if something failed, is unknown or was not done, or if a provider
did not answer. 2 if the arguments, the environment, the journal or the CSV file cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import vcloud
from vcloud import Instance, InstanceRef, InstanceState, Settled, VCloud, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine
from vcloud.providers.streams import StreamMachine
from vcloud.providers.streamspace import Session

IDLE_FOR = timedelta(hours=8)


class NightlyStop:
    """The work of one night. `errors` is by provider, or by the session that did not answer."""

    def __init__(self, cloud: VCloud, journal: Path) -> None:
        self.cloud = cloud
        self.journal = vcloud.Journal(journal, job="stop what is idle")
        self.errors: dict[str, VCloudError] = {}

    def is_idle(self, instance: Instance) -> bool:
        """Whether it runs, and was last used long ago. What does not say when is left alone."""
        match instance.resource:
            case Machine(last_session_start_at=datetime() as used):
                idle = datetime.now(UTC) - used
            case Session(last_activity=datetime() as used):
                idle = datetime.now(UTC) - used
            case StreamMachine(connection_status="available", duration=timedelta() as idle):
                pass
            case _:
                return False
        return instance.state is InstanceState.RUNNING and idle >= IDLE_FOR

    async def idle(self) -> AsyncIterator[Instance]:
        """What is idle on all providers."""
        found = self.cloud.instances(timeout=60)
        async for instance in found:
            now = instance
            if instance.provider == "streamspace" and instance.state is InstanceState.RUNNING:
                try:
                    now = await instance.refresh()  # a list does not say when it was used
                except VCloudError as error:
                    self.errors[instance.key] = error
            if self.is_idle(now):
                yield now
        self.errors |= found.errors

    async def plan(self) -> bool:
        """Write the plan down and print it. It needs an answer from each provider."""
        idle = [instance async for instance in self.idle()]
        for error in self.errors.values():
            raise error
        await self.journal.plan(idle).write()
        for row in await self.journal.rows():
            print(printable(f"{row['key']} is {row['status']}"))
        return True

    async def stop(self, listed: InstanceRef) -> str:
        """Stop it, unless it was used meanwhile. Returns what was done."""
        instance = await listed.refresh()
        if not self.is_idle(instance):
            return "left alone"
        if instance.capabilities.hibernate:
            await instance.hibernate()
            return "hibernated"
        await instance.stop()
        return "stopped"

    async def settle(self, unknown: InstanceRef) -> Settled[str]:
        """Find out what an earlier run did."""
        try:
            running = (await unknown.refresh()).state is InstanceState.RUNNING
        except vcloud.NotFoundError:
            return Settled.done("gone")
        return Settled.undone() if running else Settled.done("stopped")

    async def run(self) -> bool:
        """Stop what is planned, or what is idle. Returns whether all is done."""
        planned = await self.journal.planned() is not None
        todo = self.journal.plan(self.idle()) if planned else self.idle()
        async with self.cloud.bulk(
            todo, self.stop, journal=self.journal, record=str, settle=self.settle, include_done=True
        ) as run:
            async for outcome in run:
                what = outcome.recorded or outcome.error
                print(printable(f"{outcome.key} {outcome.status}: {what}"))
        totals = run.totals
        print(totals)
        return not (totals.failed or totals.unknown or totals.undone or totals.stopped)


async def main(journal: Path, csv: Path | None, *, dry_run: bool) -> int:
    """Plan or run, write the report, and return the exit status."""
    async with AsyncExitStack() as stack:
        if any(name.startswith("VCLOUD_") for name in os.environ):
            cloud = await stack.enter_async_context(VCloud.from_env())
        else:
            emulator = stack.enter_context(Emulator(machines=5, status="ready", idle=IDLE_FOR))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
            # What is emulated is gone afterwards, and so is its journal.
            journal = Path(stack.enter_context(TemporaryDirectory()), journal.name)
        night = NightlyStop(cloud, journal)
        done = await (night.plan() if dry_run else night.run())
        if csv is not None:
            print(await night.journal.to_csv(csv), "rows are in", csv)
        for name, error in night.errors.items():
            print(printable(f"{name} did not answer: {error}"))
        return 0 if done and not night.errors else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    tonight = Path(f"nightly_stop-{datetime.now(UTC):%Y-%m-%d}.journal")
    parser.add_argument("--journal", type=Path, default=tonight, help="(default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="plan, and stop nothing")
    parser.add_argument("--csv", type=Path, help="write a report to this file")
    given = parser.parse_args()
    try:
        sys.exit(asyncio.run(main(given.journal, given.csv, dry_run=given.dry_run)))
    except (vcloud.ConfigurationError, OSError) as error:
        parser.error(str(error))
    except VCloudError as error:
        sys.exit(str(error))
