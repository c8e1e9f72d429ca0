"""An emulated account for every call of the documents: the ids of their examples exist.

What a call changes has another value before, and every list has two pages of one item each.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.contract.computers_calls import ALL_PERMISSIONS
from tests.contract.desktops_calls import UUID
from tests.contract.streams_calls import UID
from tests.contract.streamspace_calls import AGENT, SESSION
from tests.seeded import API_KEY, KEY, SECRET
from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth
from vcloud.emulator import Emulator
from vcloud.emulator.computers.parts import Session as UsageSession
from vcloud.emulator.computers.parts import Task
from vcloud.emulator.streams.state import Machine as StreamMachine
from vcloud.emulator.streams.state import User as Visitor
from vcloud.emulator.streamspace.published.state import Agent

#: The password of the documented login example.
PASSWORD = "your-password"
MACHINE, TASK = "100", 21
APPLICATION, STREAM, STARTED, RUNNING, VISITOR = 1143, 1364, 1381, 94683, "7D4F4EA7F4"
MACHINE_UID = "bf96fb3b-edc3-43ce-8dc5-b8477fd52303"
#: The key of the built-in agent, and the name of one that is a program.
#: The repository of the documented template.
REPOSITORY = 7
AGENT_KEY, REMOTE_AGENT = "7e" * 32, "k8s-remote"
SPARE = 3
"""How many machines can be assigned: several, so that a second assignment is visible."""


def world(emulator: Emulator, api: str) -> Emulator:
    """Fill one API of a new emulator with data."""
    {
        "computers": _computers,
        "streams": _streams,
        "streamspace": _streamspace,
        "streamspace-published": _streamspace_published,
        "desktops": _desktops,
    }[api](emulator)
    return emulator


def streamspace(emulator: Emulator) -> Any:
    """The StreamSpace that it plays, in either dialect."""
    try:
        return emulator.streamspace
    except RuntimeError:
        return emulator.published_streamspace


def endpoint(
    emulator: Emulator, api: str, *, logged_in: bool, as_agent: bool = False, **more: Any
) -> Endpoint:
    """An endpoint with fresh credentials, or with an agent's key.

    It is logged in without a request, so that no connection exists yet.
    """
    service = streamspace(emulator) if api.startswith("streamspace") else getattr(emulator, api)
    url = f"{emulator.url}{service.prefix}"
    if as_agent:
        key = APIKeyAuth(service.bootstrap_key, header="X-Agent-API-Key")
        return Endpoint(url, auth=key, **more)
    if api == "desktops":
        return Endpoint(url, auth=APIKeyAuth(API_KEY), **more)
    if not api.startswith("streamspace"):
        return Endpoint(url, auth=HMACAuth(KEY, SECRET), **more)
    auth = BearerAuth.login("admin", PASSWORD)
    if logged_in:
        token, ends = service.tokens.issue(service.users["admin"])
        auth.adopt(token, datetime.fromtimestamp(ends, UTC), now=emulator.clock.wall())
    return Endpoint(url, auth=auth, **more)


def _computers(emulator: Emulator) -> None:
    now = emulator.clock.now()
    first = emulator.computers.add_machine(
        id=MACHINE,
        auto_stop_threshold=0,
        usage_source="team_balance",
        permissions={
            name: not getattr(ALL_PERMISSIONS, name)
            for name in type(ALL_PERMISSIONS).__annotations__
        },
    )
    first.tasks.append(Task(TASK, "project-alpha", now))
    first.deleted_uids.add("free-again-after-a-reset")
    first.sessions += [
        UsageSession(str(2000 + number), now - 7200, now - 3600) for number in range(2)
    ]
    emulator.computers.add_machine(id="101")


def _streams(emulator: Emulator) -> None:
    streams = emulator.streams
    first = streams.applications[APPLICATION]
    first.name = "Before"
    other = streams.add_application(id=11421)
    streams.streams.clear()
    for number in range(2):
        streams.add_stream(other.id, id=11 + number)
    stream = streams.add_stream(first.id, id=STREAM, uid=UID, capacities={"dublin": 1})
    for _ in range(2):
        streams.add_machine(stream.id, status="terminated")
    started = streams.add_stream(first.id, id=STARTED, capacities={"dublin": 100})
    for _ in range(SPARE):
        streams.add_machine(started.id, status="available")
    running = StreamMachine.booting(RUNNING, MACHINE_UID, started, "dublin", emulator.clock.now())
    running.become("assigned", emulator.clock.now())
    streams.machines[RUNNING] = running
    streams.users[VISITOR] = Visitor(VISITOR, None)
    for _ in range(2):
        visited = streams.add_machine(STREAM, status="assigned")
        streams.visitor_opens(visited.id)
        streams.visitor_leaves(visited.id)


def _streamspace(emulator: Emulator) -> None:
    streamspace = emulator.streamspace
    # The matrix counts the requests for pages, so the service must not limit them.
    streamspace.limits.enabled = False
    streamspace.users["admin"].password = PASSWORD
    for name in list(streamspace.templates)[2:]:
        del streamspace.templates[name]
    streamspace.add_session(id=SESSION)
    streamspace.add_session()
    # Its log has this line at once. Others come only after some seconds.
    streamspace.log(SESSION, "ready")


def _streamspace_published(emulator: Emulator) -> None:
    service = emulator.published_streamspace
    service.users["admin"].password = PASSWORD
    for name in list(service.templates)[2:]:
        del service.templates[name]
    service.agents[AGENT].key = AGENT_KEY
    service.repositories.add(REPOSITORY)
    service.add_session(name=SESSION)
    service.add_session()


def asks_for_approval(emulator: Emulator) -> None:
    """Have the agent wait for an administrator."""
    emulator.published_streamspace.agents[AGENT].approval = "pending"


def without_key(emulator: Emulator) -> None:
    """Have the agent without a key of its own."""
    emulator.published_streamspace.agents[AGENT].key = None


def without_sessions(emulator: Emulator) -> None:
    """Have the agent without sessions: with some, it cannot be deleted."""
    emulator.published_streamspace.sessions.clear()


def hibernated(emulator: Emulator) -> None:
    """Have the session hibernated."""
    emulator.published_streamspace.sessions[SESSION].state = "hibernated"


def with_remote_agent(emulator: Emulator) -> None:
    """Add an agent that is a program."""
    now = emulator.clock.now()
    emulator.published_streamspace.agents[REMOTE_AGENT] = Agent(
        id="550e8400-e29b-41d4-a716-446655440009",
        agent_id=REMOTE_AGENT,
        platform="kubernetes",
        approval="approved",
        created_at=now,
        updated_at=now,
    )


def _desktops(emulator: Emulator) -> None:
    desktop = emulator.desktops.add_desktop()
    desktop.id = UUID
    emulator.desktops.desktops = {UUID: desktop}
