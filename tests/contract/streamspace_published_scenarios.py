"""Everything that an operation of the published StreamSpace can send and receive, over a socket.

What both dialects do alike is in ``streamspace_scenarios``.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from vcloud import AuthenticationError, ConflictError
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import Resources, SessionState, StreamSpace, StreamSpaceCode

TEMPLATE = "firefox-browser"


async def login(client: StreamSpace, emulator: Emulator) -> None:
    password = emulator.credentials.streamspace_password
    for _ in range(2):  # the first login has no login before it
        found = await client.login(ADMIN, password)
        assert found.user is not None
        assert (found.user.username, found.user.role) == (ADMIN, "admin")
        assert found.expires_at is not None
    with pytest.raises(AuthenticationError) as caught:
        await client.login(ADMIN, "wrong")
    assert caught.value.code is StreamSpaceCode.AUTH_INVALID_CREDENTIALS


async def refresh(client: StreamSpace, emulator: Emulator) -> None:
    first = await client.login()
    again = await client.refresh_token()
    assert again.token != first.token
    assert again.user is not None
    assert again.user.username == ADMIN
    assert again.expires_at is not None


async def create_session(client: StreamSpace, emulator: Emulator) -> None:
    session = await client.sessions.create(
        ADMIN,
        TEMPLATE,
        resources=Resources(memory="1Gi", cpu="500m"),
        persistent_home=False,
        idle_timeout=timedelta(minutes=90),
        max_session_duration=timedelta(hours=8),
        tags=["project-alpha"],
    )
    assert (session.state, session.platform, session.created_at) == ("pending", None, None)
    assert session.resources == Resources(memory="1Gi", cpu="500m")
    assert (session.idle_timeout, session.persistent_home) == (timedelta(minutes=90), False)
    assert session.max_session_duration == timedelta(hours=8)
    running = await session.wait_until("running", poll=0.01)
    assert running.created_at is not None
    assert running.platform == "kubernetes"
    assert emulator.published_streamspace.sessions[session.id].tags == ["project-alpha"]


async def list_sessions(client: StreamSpace, emulator: Emulator) -> None:
    service = emulator.published_streamspace
    for state in SessionState:
        service.add_session(state=state)
    found = await client.sessions.list().all()
    assert len(found) == len(SessionState)
    assert {session.resources for session in found} == {Resources(memory="2Gi", cpu="1000m")}
    # They end by themselves, so only those that stay are looked for by their state.
    for stays in ("running", "hibernated", "failed"):
        (one,) = [session for session in found if session.state == stays]
        assert one.id in {same.id for same in await client.sessions.list(state=stays).all()}
    assert len(await client.sessions.list(user=ADMIN, limit=2).all()) == len(found)
    sizes = [len(page.items) async for page in client.sessions.list(limit=5).pages()]
    assert sizes == [5, len(found) - 5]
    assert await client.sessions.list(user="nobody").all() == []
    assert await client.sessions.list(template="no such").all() == []
    assert await client.sessions.list(platform="docker").all() == []


async def get_session(client: StreamSpace, emulator: Emulator) -> None:
    name = emulator.published_streamspace.add_session().name
    session = await client.sessions.get(name)
    assert (session.id, session.name) == (name, name)
    assert session.status is not None
    assert session.status.phase == "Running"
    assert session.namespace == "streamspace"


async def hibernate(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.sessions.ref(emulator.published_streamspace.add_session().name)
    update = await ref.hibernate()
    assert update.state is SessionState.HIBERNATING
    assert update.command_id
    assert update.message
    assert (await ref.wait_until("hibernated", poll=0.01)).state is SessionState.HIBERNATED


async def wake(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.sessions.ref(emulator.published_streamspace.add_session(state="hibernated").name)
    assert (await ref.wake()).state is SessionState.WAKING
    assert (await ref.wait_until("running", poll=0.01)).state is SessionState.RUNNING


async def delete_session(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.sessions.ref(emulator.published_streamspace.add_session().name)
    assert (await ref.terminate()).state is SessionState.TERMINATING
    await ref.delete()
    with pytest.raises(ConflictError):
        await ref.terminate()
    assert (await ref.wait_until("terminated", poll=0.01)).state is SessionState.TERMINATED


async def set_tags(client: StreamSpace, emulator: Emulator) -> None:
    session = emulator.published_streamspace.add_session(
        idle_timeout="30m", max_session_duration="8h"
    )
    assert await client.sessions.ref(session.name).set_tags(["a", "b"]) == ("a", "b")
    assert list(session.tags or ()) == ["a", "b"]
