"""An emulated account for every call of the documents: the ids of their examples exist.

What a call changes has another value before, and every list has two pages of one item each.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.contract.computers_calls import ALL_PERMISSIONS
from tests.contract.desktops_calls import UUID
from tests.contract.streams_calls import UID
from tests.contract.streamspace_calls import SESSION
from tests.seeded import API_KEY, KEY, SECRET
from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth
from vcloud.emulator import Emulator
from vcloud.emulator.computers.parts import Session as UsageSession
from vcloud.emulator.computers.parts import Task
from vcloud.emulator.streams.state import Machine as StreamMachine
from vcloud.emulator.streams.state import User as Visitor

#: The password of the documented login example.
PASSWORD = "your-password"
MACHINE, TASK = "100", 21
APPLICATION, STREAM, STARTED, RUNNING, VISITOR = 1143, 1364, 1381, 94683, "7D4F4EA7F4"
MACHINE_UID = "bf96fb3b-edc3-43ce-8dc5-b8477fd52303"
SPARE = 3
"""How many machines can be assigned: several, so that a second assignment is visible."""


def world(emulator: Emulator, api: str) -> Emulator:
    """Fill one API of a new emulator with data."""
    {
        "computers": _computers,
        "streams": _streams,
        "streamspace": _streamspace,
        "desktops": _desktops,
    }[api](emulator)
    return emulator


def endpoint(emulator: Emulator, api: str, *, logged_in: bool, **more: Any) -> Endpoint:
    """An endpoint with fresh credentials.

    It is logged in without a request, so that no connection exists yet.
    """
    url = f"{emulator.url}{getattr(emulator, api).prefix}"
    if api == "desktops":
        return Endpoint(url, auth=APIKeyAuth(API_KEY), **more)
    if api != "streamspace":
        return Endpoint(url, auth=HMACAuth(KEY, SECRET), **more)
    auth = BearerAuth.login("admin", PASSWORD)
    if logged_in:
        token, ends = emulator.streamspace.tokens.issue(emulator.streamspace.users["admin"])
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


def _desktops(emulator: Emulator) -> None:
    desktop = emulator.desktops.add_desktop()
    desktop.id = UUID
    emulator.desktops.desktops = {UUID: desktop}
