"""Everything that each StreamSpace operation can send and receive, over a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from tests.contract import streamspace_published_scenarios as published
from tests.contract.contract_harness import PROVIDERS
from vcloud import AuthenticationError
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.emulator.streamspace.catalog import USER
from vcloud.providers.streamspace import (
    AgentStatus,
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SortOrder,
    StreamSpace,
    StreamSpaceCode,
    UserRole,
)

KUBERNETES, DOCKER = "k8s-prod-us-east-1", "docker-host-01"
ENUMS = PROVIDERS["streamspace"].document["enums"]
DOCUMENTED = [SessionState(state) for state in ENUMS["session.state"]]
ROLES = [UserRole(role) for role in ENUMS["user.role"]]


async def _login(client: StreamSpace, emulator: Emulator) -> None:
    login = await client.login(ADMIN, emulator.credentials.streamspace_password)
    assert login.user is not None
    assert (login.user.username, login.user.role) == (ADMIN, UserRole.ADMIN)
    assert login.expires_at is not None
    assert login.token.count(".") == 2
    with pytest.raises(AuthenticationError) as caught:
        await client.login(ADMIN, "wrong")
    assert caught.value.code is StreamSpaceCode.AUTH_INVALID_CREDENTIALS


async def _logout(client: StreamSpace, emulator: Emulator) -> None:
    token = (await client.login()).token
    await client.logout()
    await client.agents.stats()
    assert (await client.login()).token != token


async def _list_agents(client: StreamSpace, emulator: Emulator) -> None:
    assert [agent.agent_id for agent in await client.agents.list().all()] == [KUBERNETES, DOCKER]
    for platform in Platform:
        found = await client.agents.list(platform=platform).all()
        assert {agent.platform for agent in found} == {platform}
    for status in AgentStatus:
        emulator.streamspace.agents[DOCKER].status = status
        found = await client.agents.list(status=status, region="us-east-1").all()
        assert {agent.status for agent in found} == {status}
    assert [agent.agent_id for agent in await client.agents.list(page=2, limit=1).all()] == [DOCKER]


async def _get_agent(client: StreamSpace, emulator: Emulator) -> None:
    session = emulator.streamspace.add_session()
    agent = await client.agents.get(KUBERNETES)
    assert [(one.id, one.state) for one in agent.sessions] == [(session.id, "running")]
    assert agent.uptime_seconds is not None
    assert agent.uptime_seconds > timedelta(days=29)
    assert agent.capacity is not None
    assert agent.capacity.current_sessions == 13


async def _update_agent(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.agents.ref(DOCKER)
    for status in AgentStatus:
        assert (await ref.set_status(status)).status is status
    assert (await ref.drain()).agent_id == DOCKER


async def _stats(client: StreamSpace, emulator: Emulator) -> None:
    stats = await client.agents.stats()
    assert (stats.total_agents, stats.by_platform) == (2, {"kubernetes": 1, "docker": 1})
    assert stats.utilization is not None
    assert stats.utilization.sessions_available == 150 - 17


async def _create_session(client: StreamSpace, emulator: Emulator) -> None:
    for platform in Platform:
        for state in (SessionState.RUNNING, SessionState.HIBERNATED):
            session = await client.sessions.create(
                USER,
                "firefox-browser",
                platform=platform,
                state=state,
                resources=Resources(memory="1Gi", cpu="500m"),
                persistent_home=False,
                idle_timeout=timedelta(minutes=90),
                tags=["project-alpha"],
            )
            assert (session.state, session.platform) == ("pending", platform)
            assert session.resources == Resources(memory="1Gi", cpu="500m")
            assert (session.idle_timeout, session.persistent_home) == (timedelta(minutes=90), False)
            assert (await session.wait_until(state, poll=0.01)).tags == ("project-alpha",)


async def _list_sessions(client: StreamSpace, emulator: Emulator) -> None:
    emulator.streamspace.limits.enabled = False
    for number, state in enumerate(DOCUMENTED):
        emulator.streamspace.add_session(state=state, tags=("project-alpha", f"number-{number}"))
    for state in DOCUMENTED:
        if state != "terminating":  # which is over too soon to be looked at
            assert {session.state for session in await client.sessions.list(state=state).all()} == {
                state
            }
    await client.sessions.list(state="terminating").all()
    for sort in SessionSort:
        upwards, downwards = [
            [one.name for one in await client.sessions.list(sort=sort, order=order).all()]
            for order in (SortOrder.ASC, SortOrder.DESC)
        ]
        assert sorted(map(str, upwards)) == sorted(map(str, downwards))
    assert await client.sessions.list(user="nobody").all() == []
    assert await client.sessions.list(template="no such").all() == []
    assert await client.sessions.list(platform="docker", agent_id=DOCKER).all() == []
    (found,) = await client.sessions.list(tags=["project-alpha", "number-1"]).all()
    assert found.resources == Resources(memory="2Gi", cpu="1000m")
    assert found.vnc_url.endswith(f"/vnc-viewer/{found.id}")
    assert len(await client.sessions.list(page=2, limit=4).all()) == len(DOCUMENTED) - 4


async def _get_session(client: StreamSpace, emulator: Emulator) -> None:
    added = emulator.streamspace.add_session(tags=("project-alpha",))
    session = await client.sessions.get(added.id)
    assert session.status is not None
    assert session.status.pod_name is not None
    assert session.platform_metadata["namespace"] == session.namespace == "streamspace"
    assert session.last_activity == session.updated_at


async def _update_session(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.sessions.ref(emulator.streamspace.add_session().id)
    assert (await ref.hibernate()).state is SessionState.HIBERNATED
    assert (await ref.wake()).state is SessionState.RUNNING
    assert (await ref.terminate()).state is SessionState.TERMINATING
    terminated = (await ref.force_terminate()).status
    assert terminated is not None
    assert terminated.phase == "Terminated"


async def _delete_session(client: StreamSpace, emulator: Emulator) -> None:
    gently, forced = (client.sessions.ref(emulator.streamspace.add_session().id) for _ in range(2))
    await gently.delete()
    await forced.delete(force=True)
    assert (await forced.refresh()).state is SessionState.TERMINATED
    assert (await gently.wait_until("terminated", poll=0.01)).state is SessionState.TERMINATED


async def _logs(client: StreamSpace, emulator: Emulator) -> None:
    ref = client.sessions.ref(emulator.streamspace.add_session().id)
    emulator.clock.advance(10)
    lines = await ref.logs()
    assert len(lines) == 4
    assert await ref.logs(tail=1, timestamps=False) == (lines[-1].partition(" ")[2],)


async def _list_templates(client: StreamSpace, emulator: Emulator) -> None:
    names = [template.name for template in await client.templates.list().all()]
    assert names[0] == "firefox-browser"
    found = await client.templates.list(category="Web Browsers", page=2, limit=1).all()
    assert [template.name for template in found] == ["chromium-browser"]


async def _get_template(client: StreamSpace, emulator: Emulator) -> None:
    template = await client.templates.get("firefox-browser")
    assert template.idle_timeout == timedelta(minutes=30)
    assert template.default_resources is not None
    assert template.default_resources.storage == "10Gi"


async def _list_users(client: StreamSpace, emulator: Emulator) -> None:
    for role in ROLES:
        assert {user.role for user in await client.users.list(role=role).all()} == {role}
    assert [user.username for user in await client.users.list(page=2, limit=1).all()] == [USER]


async def _create_user(client: StreamSpace, emulator: Emulator) -> None:
    for role in ROLES:
        user = await client.users.create(
            f"new-{role}", "new@example.com", "correct horse", role=role
        )
        assert (user.role, user.active) == (role, True)


SCENARIOS: dict[str, Callable[[StreamSpace, Emulator], Awaitable[None]]] = {
    "auth.login": _login,
    "auth.logout": _logout,
    "agents.list": _list_agents,
    "agents.get": _get_agent,
    "agents.update": _update_agent,
    "agents.stats": _stats,
    "sessions.create": _create_session,
    "sessions.list": _list_sessions,
    "sessions.get": _get_session,
    "sessions.update": _update_session,
    "sessions.delete": _delete_session,
    "sessions.logs": _logs,
    "templates.list": _list_templates,
    "templates.get": _get_template,
    "users.list": _list_users,
    "users.create": _create_user,
}
PUBLISHED_SCENARIOS: dict[str, Callable[[StreamSpace, Emulator], Awaitable[None]]] = {
    "auth.login": published.login,
    "auth.refresh": published.refresh,
    "agents.list": published.list_agents,
    "agents.get": published.get_agent,
    "agents.delete": published.delete_agent,
    "agents.approve": published.approve,
    "agents.reject": published.reject,
    "agents.generate_key": published.generate_key,
    "agents.rotate_key": published.rotate_key,
    "agents.command": published.command,
    "sessions.create": published.create_session,
    "sessions.list": published.list_sessions,
    "sessions.get": published.get_session,
    "sessions.hibernate": published.hibernate,
    "sessions.wake": published.wake,
    "sessions.delete": published.delete_session,
    "sessions.set_tags": published.set_tags,
    "templates.list": published.list_templates,
    "templates.get": published.get_template,
    "templates.create": published.create_template,
    "users.list": published.list_users,
    "users.me": published.me,
    "users.create": published.create_user,
}
