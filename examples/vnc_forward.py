"""A StreamSpace session on a local port, for any VNC viewer.

By default it uses the embedded emulator, whose own agent shows a plain screen. Set
VCLOUD_STREAMSPACE_URL to use the real service, with VCLOUD_STREAMSPACE_TOKEN, or with
VCLOUD_STREAMSPACE_USERNAME and VCLOUD_STREAMSPACE_PASSWORD. It connects once itself to show that it
works. With --keep it goes on until it is interrupted.

    python examples/vnc_forward.py
    python examples/vnc_forward.py --keep --port 5901
    python examples/vnc_forward.py --keep --session 550e8400-e29b-41d4-a716-446655440000
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from vcloud import BearerAuth, Endpoint, printable
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
        "--user", default="john.doe", help="the user of the session (default: %(default)s)"
    )
    parser.add_argument(
        "--template", default="firefox-browser", help="what runs in it (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=0, help="the local port (default: a free one)")
    parser.add_argument("--keep", action="store_true", help="keep forwarding until interrupted")
    return parser.parse_args()


async def endpoint(stack: AsyncExitStack) -> tuple[Endpoint, float]:
    """The endpoint, and the polling interval in seconds."""
    url, token = (
        os.environ.get("VCLOUD_STREAMSPACE_URL"),
        os.environ.get("VCLOUD_STREAMSPACE_TOKEN"),
    )
    username, password = (
        os.environ.get(f"VCLOUD_STREAMSPACE_{name}", "") for name in ("USERNAME", "PASSWORD")
    )
    if url and token:
        return Endpoint(url, auth=BearerAuth(token)), 2.0
    if url:
        return Endpoint(url, auth=BearerAuth.login(username, password)), 2.0
    emulator = await stack.enter_async_context(Emulator(speed=100))
    return emulator.endpoints()["streamspace"], 0.02


@asynccontextmanager
async def running(
    client: StreamSpace, options: argparse.Namespace, poll: float
) -> AsyncGenerator[Session, None]:
    """The session of --session, which stays, or a new one, which is deleted afterwards."""
    if options.session:
        yield await client.sessions.ref(options.session).refresh()
        return
    session = await client.sessions.create(options.user, options.template)
    try:
        yield await session.wait_until("running", timeout=120, poll=poll)
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
        where, poll = await endpoint(stack)
        client = await stack.enter_async_context(StreamSpace(where))
        session = await stack.enter_async_context(running(client, options, poll))
        say(f"Session {session.name} is {session.state} on {session.agent_id}.")
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
    except KeyboardInterrupt:
        say("Interrupted.")
