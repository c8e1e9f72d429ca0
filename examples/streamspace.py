"""StreamSpace: see the capacity of the agents, start a session for a user, and hibernate it.

By default it uses the embedded emulator. Set VCLOUD_STREAMSPACE_URL to use an installation, with
VCLOUD_STREAMSPACE_TOKEN, or with VCLOUD_STREAMSPACE_USERNAME and VCLOUD_STREAMSPACE_PASSWORD. It
may answer as StreamSpace's API document says, or as its published server does.

    python examples/streamspace.py
    python examples/streamspace.py --template vscode-dev --memory 4Gi --idle 3600
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from vcloud import PermissionDeniedError, UnsupportedError, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    Agent,
    InvalidTransitionError,
    Resources,
    Session,
    SessionState,
    StreamSpace,
    Template,
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--user",
        default=os.environ.get("VCLOUD_STREAMSPACE_USERNAME", "admin"),
        help="the user of the session (default: %(default)s)",
    )
    parser.add_argument("--template", help="what runs in it (default: the first of the list)")
    parser.add_argument(
        "--memory", default="2Gi", help="how much memory it may use (default: %(default)s)"
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=1800,
        help="seconds of idleness after which it hibernates (default: %(default)g)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave it hibernated instead of deleting it"
    )
    return parser.parse_args()


async def installation(stack: AsyncExitStack) -> StreamSpace:
    """A client of the installation that the environment names, or else of the emulator."""
    if "VCLOUD_STREAMSPACE_URL" in os.environ:
        return await stack.enter_async_context(StreamSpace.from_env())
    emulator = await stack.enter_async_context(Emulator(speed=100))
    return await stack.enter_async_context(StreamSpace(emulator.endpoints()["streamspace"]))


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def row(agent: Agent) -> str:
    """One line of the table of agents."""
    capacity = agent.capacity
    used, room = (capacity.current_sessions, capacity.max_sessions) if capacity else (None, None)
    bar = "#" * round(20 * (used or 0) / room) if room else ""
    return (
        f"  {agent.agent_id:<22}{agent.platform or '-':<12}{agent.status or '-':<10}"
        f"[{bar:<20}] {used if used is not None else '?'} of {room}"
    )


async def overview(client: StreamSpace) -> list[Template]:
    """Print the agents and the templates. Returns the templates."""
    say(f"The installation answers as {await client.recognise()}. Its agents:")
    try:
        async for agent in client.agents.list():
            say(row(agent))
    except PermissionDeniedError:
        say("  only administrators may see them")
    templates = await client.templates.list().all()
    say("Its templates:")
    for template in templates:
        say(f"  {template.name:<20}{template.display_name or '':<24}{template.category}")
    return templates


async def use(session: Session) -> None:
    """Wait until the session is running, print it, hibernate it, wake it, hibernate it again."""
    say(f"{session.name} is {session.state}")
    session = await session.wait_until("running", timeout=120, poll=0.2)
    memory = session.resources.memory if session.resources is not None else None
    say(f"  {session.state} with {memory}, hibernates after {session.idle_timeout}")
    try:
        for line in await session.logs(tail=3):
            say(f"  | {line}")
    except UnsupportedError as error:
        say(f"  {error}")
    for change, state in (
        (session.hibernate, SessionState.HIBERNATED),
        (session.wake, SessionState.RUNNING),
        (session.hibernate, SessionState.HIBERNATED),
    ):
        begun = (await change()).state  # one installation waits for the agent, another does not
        session = await session.wait_until(state, timeout=60, poll=0.2)
        say(f"  {begun}" + f", then {session.state}" * (begun != session.state))
    try:
        await session.hibernate()
    except InvalidTransitionError as error:
        say(f"  cannot go from {error.from_state} to {error.to_state}")


async def main() -> None:
    """From the agents to a session, with nothing left running."""
    options = arguments()
    async with AsyncExitStack() as stack:
        client = await installation(stack)
        templates = await overview(client)
        if not (options.template or templates):
            raise SystemExit("there is no template, and so nothing to run")
        template = options.template or templates[0]
        session = await client.sessions.create(
            options.user,
            template,
            resources=Resources(memory=options.memory),
            idle_timeout=timedelta(seconds=options.idle),
        )
        try:
            await use(session)
        finally:
            if not options.keep:
                await session.delete()
        say("The newest sessions of this template:")
        newest = client.sessions.list(template=template, sort="created_at", order="desc")
        async for one in newest.take(3):
            say(f"  {one.name} of {one.user} is {one.state}")
        if "VCLOUD_STREAMSPACE_TOKEN" not in os.environ:
            # A token from the environment may be used elsewhere; one from a login here is not.
            await client.logout()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except VCloudError as error:
        sys.exit(str(error))
