"""Everything that an operation of the published StreamSpace can send and receive, over a socket.

What both dialects do alike is in ``streamspace_scenarios``.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from vcloud import AuthenticationError, ConflictError
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import (
    AgentAction,
    Resources,
    SessionState,
    StreamSpace,
    StreamSpaceCode,
)

TEMPLATE = "firefox-browser"
AGENT = "k8s-prod-us-east-1"


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
    added = {state: service.add_session(state=state).name for state in SessionState}
    found = await client.sessions.list().all()
    assert len(found) == len(SessionState)
    assert {session.resources for session in found} == {Resources(memory="2Gi", cpu="1000m")}
    # They end by themselves, so only those that stay are looked for by their state.
    for stays in ("running", "hibernated", "failed"):
        same = {session.id for session in await client.sessions.list(state=stays).all()}
        assert added[SessionState(stays)] in same
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


async def list_agents(client: StreamSpace, emulator: Emulator) -> None:
    service = emulator.published_streamspace
    (agent,) = await client.agents.list(platform="kubernetes", region="us-east-1").all()
    assert agent.agent_id == AGENT
    assert agent.capacity is not None
    assert agent.capacity.max_sessions == 100
    assert agent.capacity.memory == "256Gi"
    service.agents[AGENT].capacity = {
        "maxSessions": 1,
        "cpu": "1",
        "memory": "1Gi",
        "storage": "1Ti",
    }
    for status in ("online", "offline"):
        service.agents[AGENT].status = status
        (agent,) = await client.agents.list(status=status).all()
        assert agent.status == status
    assert agent.capacity is not None


async def get_agent(client: StreamSpace, emulator: Emulator) -> None:
    emulator.published_streamspace.agents[AGENT].capacity = {
        "maxSessions": 1,
        "cpu": "1",
        "memory": "1Gi",
        "storage": "1Ti",
    }
    agent = await client.agents.get(AGENT)
    assert (agent.agent_id, agent.status) == (AGENT, "online")
    assert agent.last_heartbeat is not None
    assert agent.capacity is not None
    assert agent.capacity.storage == "1Ti"


async def delete_agent(client: StreamSpace, emulator: Emulator) -> None:
    await client.agents.ref(AGENT).delete()
    assert AGENT not in emulator.published_streamspace.agents


async def approve(client: StreamSpace, emulator: Emulator) -> None:
    agent = emulator.published_streamspace.agents[AGENT]
    agent.approval = "pending"
    key = await client.agents.ref(AGENT).approve()
    assert key.agent_id == AGENT
    assert key.api_key == agent.key
    assert key.api_key not in repr(key)
    assert agent.approval == "approved"


async def reject(client: StreamSpace, emulator: Emulator) -> None:
    agent = emulator.published_streamspace.agents[AGENT]
    agent.approval = "pending"
    await client.agents.ref(AGENT).reject()
    assert agent.approval == "rejected"


async def generate_key(client: StreamSpace, emulator: Emulator) -> None:
    emulator.published_streamspace.agents[AGENT].key = None
    key = await client.agents.ref(AGENT).generate_key()
    assert key.api_key == emulator.published_streamspace.agents[AGENT].key


async def rotate_key(client: StreamSpace, emulator: Emulator) -> None:
    before = (await client.agents.ref(AGENT).generate_key()).api_key
    after = await client.agents.ref(AGENT).rotate_key()
    assert after.api_key not in ("", before)
    assert after.created_at is not None


async def command(client: StreamSpace, emulator: Emulator) -> None:
    session = emulator.published_streamspace.add_session()
    for action in AgentAction:
        sent = await client.agents.ref(AGENT).command(
            action, session.name, payload={"namespace": "streamspace"}
        )
        assert sent.action == action
        assert sent.session_id == session.name
        assert sent.command_id


async def list_templates(client: StreamSpace, emulator: Emulator) -> None:
    found = await client.templates.list(category="Web Browsers").all()
    assert found[0].category == "Web Browsers"
    assert found[0].manifest is not None
    assert len(await client.templates.list(limit=1).all()) >= len(found)


async def get_template(client: StreamSpace, emulator: Emulator) -> None:
    template = await client.templates.get(TEMPLATE)
    assert template.name == TEMPLATE
    assert template.repository_id == 1


async def create_template(client: StreamSpace, emulator: Emulator) -> None:
    template = await client.templates.create(
        "editor",
        1,
        manifest={"spec": {"baseImage": "example.com/editor"}},
        display_name="Editor",
        description="Writes",
        category="Tools",
        app_type="desktop",
        icon_url="https://example.com/editor.png",
        tags=["text"],
    )
    assert (template.name, template.app_type, template.tags) == ("editor", "desktop", ("text",))
    assert template.install_count == 0


async def list_users(client: StreamSpace, emulator: Emulator) -> None:
    emulator.published_streamspace.add_user("jane", "Secure-passw0rd", last_login=0.0)
    await client.login()
    for role in ("admin", "user"):
        assert {user.role for user in await client.users.list(role=role).all()} == {role}
    assert len(await client.users.list(limit=1).all()) == 2


async def me(client: StreamSpace, emulator: Emulator) -> None:
    await client.login()
    user = await client.users.me()
    assert user.username == ADMIN
    assert user.full_name == "Administrator"
    assert user.quota is not None
    assert user.quota.max_sessions
    assert user.groups


async def create_user(client: StreamSpace, emulator: Emulator) -> None:
    for role in ("admin", "user"):
        user = await client.users.create(
            f"new-{role}", f"{role}@example.com", "Secure-passw0rd", role=role
        )
        assert (user.role, user.active, user.full_name) == (role, True, f"new-{role}")
    with pytest.raises(ConflictError):
        await client.users.create("new-user", "other@example.com", "Secure-passw0rd")
