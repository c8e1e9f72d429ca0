"""A program that shows what a service said in every way that the SDK has, for a terminal to record.

    python -m tests.hostile.printing URL JOURNAL

It prints, logs at DEBUG, draws a progress bar with rich, and ends with a traceback of its own.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback

import rich
from rich.console import Console
from rich.logging import RichHandler

from tests.hostile.texts import HOSTILE, ONCE, SIGNED
from vcloud import Attempt, Endpoint, Journal, Observer, VCloud, VCloudError, printable


class Failing(Observer):
    """Raises what it heard, which the log then tells."""

    def ended(self, attempt: Attempt) -> None:
        raise ValueError(f"{attempt.error} {HOSTILE}")


async def main(url: str, path: str) -> None:
    """Show everything, and end with an error."""
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("vcloud").addHandler(RichHandler(console=Console(stderr=True)))
    endpoint = Endpoint(url, auth=SIGNED, retry=ONCE, observers=[Failing()])
    async with VCloud(computers=endpoint) as cloud:
        machines = cloud.computers.machines
        machine = await machines.list().first()
        assert machine is not None
        assert machine.name == HOSTILE
        print(machine, machine.friendly_status is not None, printable(machine.name))
        run = cloud.bulk(
            ["1", "2", "3"],
            lambda one: machines.ref(one).start(),
            journal=path,
            progress=f"Starting {machine.name}",
        )
        async with run:
            async for outcome in run:
                print(outcome)
                print(outcome.key, outcome.status, outcome.error)
        print(run.totals)
        async with Journal(path) as journal:
            for entry in await journal.entries():
                print(entry.key, entry.status, entry.error)
        try:
            await machines.ref("1").start()
        except VCloudError as error:
            traceback.print_exc()
            rich.print(repr(error.__class__), error)
        await machines.ref("1").start()


asyncio.run(main(*sys.argv[1:]))
