"""A StreamSpace session on a local port, for any VNC viewer.

By default it uses the embedded emulator, whose own agent shows a plain screen. Set
VCLOUD_STREAMSPACE_URL to use an installation, with VCLOUD_STREAMSPACE_TOKEN, or with
VCLOUD_STREAMSPACE_USERNAME and VCLOUD_STREAMSPACE_PASSWORD. It may answer as StreamSpace's API
document says, or as its published server does. There a session has one viewer, and a new one ends
the one before it.

It connects once itself to show that it works. With --keep it goes on until it is interrupted.

    python examples/vnc_forward.py
    python examples/vnc_forward.py --keep --port 5901
    python examples/vnc_forward.py --keep --session ID-OF-A-RUNNING-SESSION
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from vcloud import VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import Session, StreamSpace, VNCForward


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--session",
        help="the id of a running session (default: one is made, and deleted afterwards)",
    )
    parser.add_argument(
        "--user",
        default=os.environ.get("VCLOUD_STREAMSPACE_USERNAME", "admin"),
        help="the user of the session (default: %(default)s)",
    )
    parser.add_argument(
        "--template", default="firefox-browser", help="what runs in it (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=0, help="the local port (default: a free one)")
    parser.add_argument("--keep", action="store_true", help="keep forwarding until interrupted")
    return parser.parse_args()


async def installation(stack: AsyncExitStack) -> StreamSpace:
    """A client of the installation that the environment names, or else of the emulator."""
    if "VCLOUD_STREAMSPACE_URL" in os.environ:
        return await stack.enter_async_context(StreamSpace.from_env())
    emulator = await stack.enter_async_context(Emulator(speed=100))
    return await stack.enter_async_context(StreamSpace(emulator.endpoints()["streamspace"]))


@asynccontextmanager
async def running(
    client: StreamSpace, options: argparse.Namespace
) -> AsyncGenerator[Session, None]:
    """The session of --session, which stays, or a new one, which is deleted afterwards."""
    if options.session:
        yield await client.sessions.ref(options.session).refresh()
        return
    session = await client.sessions.create(options.user, options.template)
    try:
        yield await session.wait_until("running", timeout=120, poll=0.2)
    finally:
        await session.delete()
        say(f"Session {session.name} is deleted.")


async def greet(forward: VNCForward) -> None:
    """Connect as a viewer does, and read the greeting of the VNC server."""
    reader, writer = await asyncio.open_connection(forward.host, forward.port)
    try:
        greeting = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    for error in forward.errors:
        raise error
    say(f"  connected once; the greeting is {greeting.decode(errors='replace').strip()}")


async def main() -> None:
    """Forward a session to a local port, and connect to it once."""
    options = arguments()
    async with AsyncExitStack() as stack:
        client = await installation(stack)
        session = await stack.enter_async_context(running(client, options))
        say(f"Session {session.name} is {session.state}.")
        async with session.forward_vnc(options.port) as forward:
            say(f"It is at {forward.host} port {forward.port}, for programs on this machine only:")
            say(f"  vncviewer {forward.host}::{forward.port}")
            say("  or the same host and port in any other viewer; no password is needed")
            await greet(forward)
            if options.keep:
                say("Forwarding until interrupted (Ctrl+C).")
                await asyncio.Event().wait()
        say("The port is closed.")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except VCloudError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        say("Interrupted.")
