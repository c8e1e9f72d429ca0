"""Vagon Computers: buy machines, start them, hand out links, stop them.

Runs as it is against the embedded emulator, and against the real service when VCLOUD_COMPUTERS_KEY and
VCLOUD_COMPUTERS_SECRET are set; then VCLOUD_EXAMPLE_BUY=1 must say that it may spend money.

    python examples/computers.py
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta

from vcloud import ConflictError, VCloud, printable
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine, Permissions


def say(line: str) -> None:
    """Print a line. What a service says in it neither acts on the terminal nor begins a line."""
    print(printable(line), flush=True)


def row(machine: Machine) -> str:
    """One line of the table."""
    # What the service does not say is None.
    left = machine.remaining_usage
    hours = "?" if left is None else f"{left.total_seconds() / 3600:.1f}"
    told = f"{machine.name or '-':<16}{machine.region or '-':<12}{machine.machine_type or '-':<9}"
    return f"  {machine.id:>5}  {told}{machine.friendly_status or '-':<12}{hours:>6} h left"


async def main() -> None:
    """The main job, from an empty account to a link that opens a desktop."""
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

        # Only those: whatever else there is may be somebody's.
        chosen = made[:2]
        print()
        say(f"Starting {len(chosen)} of them, both at once ...")
        await asyncio.gather(*[machine.start() for machine in chosen])
        ready = await asyncio.gather(
            *[machine.wait_until("ready", timeout=300, poll=0.1) for machine in chosen]
        )
        for machine in ready:
            link = await machine.create_access_link(timedelta(hours=1))
            say(row(machine))
            # Whoever has the link has the machine: it belongs on its user's screen, not in a log (and is in no repr).
            say(f"         until {link.expires_at:%H:%M} UTC at {link.connection_link}")

        print()
        say("A mistake, handled:")
        try:
            await ready[0].reset()
        except ConflictError as error:
            say(f"  {error.meaning} (code {error.code:d})")

        print()
        say("Stopping them again ...")
        await asyncio.gather(*[machine.stop(gracefully=True) for machine in ready])
        for machine in await asyncio.gather(
            *[machine.wait_until("off", poll=0.1) for machine in ready]
        ):
            used = await machine.sessions.list().first()
            say(row(machine) + (f", used for {used.duration}" if used else ""))


if __name__ == "__main__":
    asyncio.run(main())
