"""Starts the machines that are off, as a nightly job does. It may be killed, and run again.

Its first argument is the folder of the journal, its second ``list`` or ``plan``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable
from pathlib import Path

from vcloud import Journal, Settled, VCloud
from vcloud.providers.computers import MachineRef


async def settle(machine: MachineRef) -> Settled[None]:
    now = await machine.refresh()
    return Settled.undone() if now.friendly_status == "off" else Settled.done()


async def main(folder: Path, kind: str) -> None:
    journal = Journal(folder / "nightly.journal")
    async with VCloud.from_env() as cloud:
        machines: AsyncIterable[MachineRef]
        machines = cloud.computers.machines.list(status="off", per_page=10)
        if kind == "plan":
            machines = journal.plan(machines)
        run = cloud.bulk(
            machines,
            lambda machine: machine.start(),
            concurrency=8,
            journal=journal,
            settle=settle,
            include_done=True,
        )
        async with run:
            async for outcome in run:
                print(outcome.key, outcome.status, flush=True)
    print(run.totals, flush=True)
    print(await journal.to_csv(folder / "nightly.csv"), flush=True)


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
