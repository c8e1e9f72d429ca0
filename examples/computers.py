"""Vagon Computers: buy machines, start them, create access links, stop them.

By default it uses the embedded emulator. Set VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET to
use the real service, and VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there.

    python examples/computers.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

from vcloud import ConflictError, VCloud, printable
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine, Permissions


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def row(machine: Machine) -> str:
    """One line of the table."""
    # A field that the service leaves out is None.
    left = machine.remaining_usage
    hours = "?" if left is None else f"{left.total_seconds() / 3600:.1f}"
    about = f"{machine.name or '-':<16}{machine.region or '-':<12}{machine.machine_type or '-':<9}"
    return f"  {machine.id:>5}  {about}{machine.friendly_status or '-':<12}{hours:>6} h left"


async def start(machines: Sequence[Machine]) -> Sequence[Machine]:
    """Start the machines at once, and print an access link to each."""
    print()
    say(f"Starting {len(machines)} of them, both at once ...")
    await asyncio.gather(*[machine.start() for machine in machines])
    ready = await asyncio.gather(
        *[machine.wait_until("ready", timeout=300, poll=0.1) for machine in machines]
    )
    for machine in ready:
        link = await machine.create_access_link(timedelta(hours=1))
        say(row(machine))
        # Anyone who has the link can use the machine: show it to its user, and never log it. (It is
        # in no repr.)
        say(f"         until {link.expires_at:%H:%M} UTC at {link.connection_link}")
    return ready


async def stop(machines: Sequence[Machine]) -> None:
    """Stop the machines at once, and print how long each was used."""
    print()
    say("Stopping them again ...")
    await asyncio.gather(*[machine.stop(gracefully=True) for machine in machines])
    for machine in await asyncio.gather(
        *[machine.wait_until("off", poll=0.1) for machine in machines]
    ):
        used = await machine.sessions.list().first()
        say(row(machine) + (f", used for {used.duration}" if used else ""))


async def main() -> None:
    """From an empty account to a link that opens a desktop, and back."""
    async with AsyncExitStack() as stack:
        real = "VCLOUD_COMPUTERS_KEY" in os.environ
        if real:
            cloud = await stack.enter_async_context(VCloud.from_env())
        else:
            # A minute of the service's time passes in half a second.
            emulator = await stack.enter_async_context(Emulator(speed=120))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
        machines = cloud.computers.machines

        say("Machines that are off:")
        off = [row(machine) async for machine in machines.list(status="off")]
        for line in off or ["  none"]:
            say(line)
        if real and os.environ.get("VCLOUD_EXAMPLE_BUY") != "1":
            print()
            say("Machines cost money: set VCLOUD_EXAMPLE_BUY=1 to buy three and go on with those.")
            return

        made = await machines.create(
            1, quantity=3, region="dublin", permissions=Permissions(screen_recording_enabled=True)
        )
        print()
        say(f"Bought {len(made)} machines: {', '.join(machine.id for machine in made)}")

        # Only new machines: the others may be in use.
        ready = await start(made[:2])

        print()
        say("A mistake, handled:")
        try:
            await ready[0].reset()
        except ConflictError as error:
            say(f"  {error.meaning} (code {error.code:d})")

        await stop(ready)


if __name__ == "__main__":
    asyncio.run(main())
