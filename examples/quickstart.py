"""A tour of all four providers through one client, in a few seconds.

By default it uses the embedded emulator. Set VCLOUD_* variables to use the real providers that they
configure, and VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there.

    python examples/quickstart.py
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from vcloud import ConfigurationError, ConflictError, VCloud, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import Resources

Say = Callable[[str], None]


async def computers(cloud: VCloud, say: Say) -> None:
    """Buy two machines, start them at once, create an access link, stop them."""
    machines = await cloud.computers.machines.create(1, quantity=2, region="dublin")
    say(f"bought machines {', '.join(machine.id for machine in machines)} in {machines[0].region}")
    await asyncio.gather(*[machine.wait_until("off", poll=0.05) for machine in machines])
    await asyncio.gather(*[machine.start() for machine in machines])
    ready = await asyncio.gather(*[machine.wait_until("ready", poll=0.05) for machine in machines])
    link = await ready[0].create_access_link(timedelta(hours=1))
    for machine in ready:
        say(
            f"{machine.id:>6}  {machine.name:<16}{machine.region or '-':<10}"
            f"{machine.machine_type:<8}{machine.friendly_status:<8}"
        )
    say(
        f"anyone who has this link can open the first one until {link.expires_at:%H:%M} UTC: "
        f"{link.connection_link}"
    )
    try:
        await ready[0].reset()
    except ConflictError as error:
        say(f"a mistake, handled: {error.meaning} (code {error.code})")
    await asyncio.gather(*[machine.stop() for machine in ready])
    say("stopped again")


async def streams(cloud: VCloud, say: Say) -> None:
    """Get a visitor onto a streamed application."""
    application = await cloud.streams.applications.list().first()
    if (
        application is None
        or (stream := await cloud.streams.streams.list(application.id).first()) is None
    ):
        say("no application with a stream")
        return
    visitor = await cloud.streams.users.create(email="visitor@example.com")
    assignment = await stream.connect("dublin", visitor, poll=0.05)
    say(
        f"visitor {visitor.id} has a machine of {application.name!r}: "
        f"{assignment.machine.connection_status}"
    )
    await assignment.machine.stop()
    machine = await assignment.machine.refresh()
    say(f"it ran for {machine.duration} and cost $ {machine.cost}")


async def streamspace(cloud: VCloud, say: Say) -> None:
    """Run a browser in a container, hibernate it, wake it, end it."""
    session = await cloud.streamspace.sessions.create(
        "admin",
        "firefox-browser",
        resources=Resources(memory="2Gi", cpu="1000m"),
        idle_timeout=timedelta(minutes=30),
    )
    session = await session.wait_until("running", poll=0.05)
    say(f"{session.name} runs on {session.agent_id}")
    await session.hibernate()
    await session.wake()
    say("hibernated, and woke again")
    await session.terminate()
    stats = await cloud.streamspace.agents.stats()
    room = stats.utilization.sessions_available if stats.utilization is not None else "some"
    say(f"ended; {stats.online_agents} agents have room for {room} sessions")


async def desktops(cloud: VCloud, say: Say) -> None:
    """Use a desktop, as a program would."""
    async with cloud.desktops.launch(lifetime=timedelta(hours=1), poll=0.05) as desktop:
        await desktop.click(500, 300)
        await desktop.type("hello, desktop")
        await desktop.press("ctrl+s")
        picture = await desktop.screenshot()
        point = await desktop.cursor_position()
        path = Path(tempfile.mkdtemp(prefix="vcloud-")) / "screen.jpg"
        picture.save(path)
        say(
            f"clicked and typed; pointer at {point.x}, {point.y}; "
            f"a {picture.media_type} of {len(picture.data)} bytes is in {path}"
        )
        say(f"bash says {(await desktop.bash('echo done')).strip()!r}")
    say("stopped when the block was left")


TOUR: dict[str, tuple[str, Callable[[VCloud, Say], Coroutine[Any, Any, None]]]] = {
    "computers": ("Vagon Computers", computers),
    "streams": ("Vagon Streams", streams),
    "streamspace": ("StreamSpace", streamspace),
    "desktops": ("Desktop actions", desktops),
}


async def visit(cloud: VCloud, provider: str) -> list[str]:
    """Visit one provider. Returns lines, so that the four can run at once and print in order."""
    lines: list[str] = []
    begin = perf_counter()
    try:
        await TOUR[provider][1](cloud, lines.append)
    except ConfigurationError:
        return [f"{TOUR[provider][0]}: not configured"]
    except VCloudError as error:
        lines.append(f"failed: {error}")
    return [
        f"{TOUR[provider][0]}  ({perf_counter() - begin:.1f} s)",
        *(f"   {line}" for line in lines),
    ]


async def main() -> None:
    """Tour all configured providers, and list what there is afterwards."""
    async with AsyncExitStack() as stack:
        real = any(
            name.startswith(f"VCLOUD_{provider.upper()}_")
            for name in os.environ
            for provider in TOUR
        )
        if real:
            cloud = await stack.enter_async_context(VCloud.from_env())
        else:
            # A minute of the services' time passes in less than half a second.
            emulator = await stack.enter_async_context(Emulator(speed=150))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
            print(f"Four emulated services at {emulator.url}\n")

        if not real or os.environ.get("VCLOUD_EXAMPLE_BUY") == "1":
            for lines in await asyncio.gather(*[visit(cloud, provider) for provider in TOUR]):
                print("\n".join(map(printable, lines)), end="\n\n")

        print("What there is now, on all providers:")
        found = cloud.instances()
        async for instance in found:
            line = f"   {instance.provider:<12}{instance.name[:34]:<36}{instance.state:<13}"
            print(printable(f"{line}{instance.region or '-'}"))
        for provider, error in found.errors.items():
            print(f"   {provider:<12}did not answer: {error}")


if __name__ == "__main__":
    asyncio.run(main())
