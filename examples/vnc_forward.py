"""A StreamSpace session on a local port, for any VNC viewer.

Runs as it is against the embedded emulator, whose own agent shows a plain screen, and against the real service when
VCLOUD_STREAMSPACE_URL is set with VCLOUD_STREAMSPACE_TOKEN, or with VCLOUD_STREAMSPACE_USERNAME and
VCLOUD_STREAMSPACE_PASSWORD. It connects once itself to show that it works; with --keep it stays until it is interrupted.

    python examples/vnc_forward.py
    python examples/vnc_forward.py --keep --port 5901
    python examples/vnc_forward.py --keep --session 550e8400-e29b-41d4-a716-446655440000
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from vcloud import BearerAuth, Endpoint, printable
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import Session, StreamSpace, VNCForward


def say(line: str) -> None:
    """Print a line. What a service says in it neither acts on the terminal nor begins a line."""
    print(printable(line), flush=True)


def arguments() -> argparse.Namespace:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--session",
        help="the id of a session that runs (default: one is made, and ended afterwards)",
    )
    parser.add_argument(
        "--user", default="john.doe", help="whose session is made (default: %(default)s)"
    )
    parser.add_argument(
        "--template", default="firefox-browser", help="what runs in it (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=0, help="the local port (default: a free one)")
    parser.add_argument("--keep", action="store_true", help="keep forwarding until interrupted")
    return parser.parse_args()


async def endpoint(stack: AsyncExitStack) -> tuple[Endpoint, float]:
    """Where to go, and how long to pause between two looks."""
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
) -> AsyncIterator[Session]:
    """The session that was named, which is left as it is, or a new one, which is not left at all."""
    if options.session:
        yield await client.sessions.ref(options.session).refresh()
        return
    session = await client.sessions.create(options.user, options.template)
    try:
        yield await session.wait_until("running", timeout=120, poll=poll)
    finally:
        await session.delete()
        say(f"Session {session.name} is ended.")


async def greet(forward: VNCForward) -> None:
    """Connect as a viewer does, and hear what the VNC server says first."""
    reader, writer = await asyncio.open_connection(forward.host, forward.port)
    try:
        greeting = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    for error in forward.errors:
        raise error
    say(f"  tried, and greeted with {greeting.decode(errors='replace').strip()}")


async def main() -> None:
    """The main job: a session, a port that leads to it, and a viewer's first moment."""
    options = arguments()
    async with AsyncExitStack() as stack:
        where, poll = await endpoint(stack)
        client = await stack.enter_async_context(StreamSpace(where))
        session = await stack.enter_async_context(running(client, options, poll))
        say(f"Session {session.name} is {session.state} on {session.agent_id}.")
        async with session.forward_vnc(options.port) as forward:
            say(
                f"Its picture is at {forward.host} port {forward.port}, for programs of this machine only:"
            )
            say(f"  vncviewer {forward.host}::{forward.port}")
            say("  or the same host and port in any other viewer; it is asked for no password")
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
