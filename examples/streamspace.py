"""StreamSpace: see the capacity of the agents, start a session for a user, and hibernate it.

By default it uses the embedded emulator. Set VCLOUD_STREAMSPACE_URL to use the real service, with
VCLOUD_STREAMSPACE_TOKEN, or with VCLOUD_STREAMSPACE_USERNAME and VCLOUD_STREAMSPACE_PASSWORD.

    python examples/streamspace.py
    python examples/streamspace.py --user jane.doe --template vscode-dev --memory 4Gi --idle 3600
"""

from __future__ import annotations

import argparse
import asyncio
import os
from contextlib import AsyncExitStack
from datetime import timedelta

from vcloud import BearerAuth, CapacityError, Endpoint, printable
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    Agent,
    InvalidTransitionError,
    Resources,
    Session,
    StreamSpace,
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--user", default="john.doe", help="the user of the session (default: %(default)s)"
    )
    parser.add_argument(
        "--template", default="firefox-browser", help="what runs in it (default: %(default)s)"
    )
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


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def row(agent: Agent) -> str:
    """One line of the table of agents."""
    used, room = (
        (agent.capacity.current_sessions, agent.capacity.max_sessions)
        if agent.capacity
        else (None, None)
    )
    bar = "#" * round(20 * (used or 0) / room) if room else ""
    return (
        f"  {agent.agent_id:<22}{agent.platform or '-':<12}{agent.status or '-':<10}"
        f"[{bar:<20}] {used} of {room}"
    )


async def overview(client: StreamSpace) -> None:
    """Print the agents and the templates."""
    stats = await client.agents.stats()
    full = stats.utilization.percentage if stats.utilization is not None else None
    say(f"{stats.online_agents} of {stats.total_agents} agents online, {full or 0:g} % full")
    async for agent in client.agents.list():
        say(row(agent))
    say("Templates:")
    async for template in client.templates.list():
        say(f"  {template.name:<20}{template.display_name or '':<24}{template.category}")


async def use(session: Session, poll: float) -> None:
    """Wait until the session is running, print it, hibernate it and wake it."""
    say(f"{session.name} is {session.state}")
    session = await session.wait_until("running", timeout=120, poll=poll)
    say(
        f"  {session.state} on {session.agent_id} with "
        f"{session.resources and session.resources.memory}, "
        f"hibernates after {session.idle_timeout}"
    )
    say(f"  picture at {session.vnc_url} (connect_url() adds the token)")
    for line in await session.logs(tail=3):
        say(f"  | {line}")
    for change in (session.hibernate, session.wake, session.hibernate):
        status = (await change()).status
        say(f"  {status.message if status is not None else 'done'}")
    try:
        await session.hibernate()
    except InvalidTransitionError as error:
        say(f"  cannot go from {error.from_state} to {error.to_state}")


async def main() -> None:
    """From the agents to a session, with nothing left running."""
    options = arguments()
    async with AsyncExitStack() as stack:
        where, poll = await endpoint(stack)
        client = await stack.enter_async_context(StreamSpace(where))
        await overview(client)
        try:
            session = await client.sessions.create(
                options.user,
                options.template,
                resources=Resources(memory=options.memory),
                idle_timeout=timedelta(seconds=options.idle),
                tags=["example"],
            )
        except CapacityError as error:
            raise SystemExit(f"no agent has room for the session: {error}") from error
        try:
            await use(session, poll)
        finally:
            if not options.keep:
                await session.delete()
        tagged = await client.sessions.list(tags=["example"], sort="updated_at").all()
        say("Sessions of this example: " + ", ".join(f"{one.name} {one.state}" for one in tagged))
        if "VCLOUD_STREAMSPACE_TOKEN" not in os.environ:
            # A token from the environment may be used elsewhere; one from a login here is not.
            await client.logout()


if __name__ == "__main__":
    asyncio.run(main())
