"""What a type checker knows of StreamSpace. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, assert_type

from vcloud import BearerAuth, Endpoint, Instance, Pager, Stats, StreamSpace, VCloud
from vcloud.providers.streamspace import (
    Agent,
    AgentAction,
    AgentCapacity,
    AgentCommand,
    AgentKey,
    AgentRef,
    Agents,
    AgentSession,
    AgentStats,
    AgentStatus,
    AgentUpdate,
    ApprovalStatus,
    Login,
    LoginUser,
    LogStream,
    Platform,
    Resources,
    Session,
    SessionRef,
    Sessions,
    SessionState,
    SessionStatus,
    SessionUpdate,
    StreamingProtocol,
    Template,
    TemplateRef,
    TemplateResources,
    Templates,
    TemplateVNC,
    User,
    UserQuota,
    UserRole,
    Users,
    Utilization,
    VNCForward,
    VNCTunnel,
)


async def client(streamspace: StreamSpace) -> None:
    assert_type(streamspace.agents, Agents)
    assert_type(streamspace.sessions, Sessions)
    assert_type(streamspace.templates, Templates)
    assert_type(streamspace.users, Users)
    assert_type(streamspace.instances(), Pager[Instance])
    assert_type(streamspace.stats(), Stats)
    assert_type(streamspace.with_options(timeout=5), StreamSpace)
    assert_type(await streamspace.login("me", "password"), Login)
    assert_type(await streamspace.refresh_token(), Login)
    assert_type(await streamspace.logout(), None)
    assert_type(streamspace.dialect, Literal["documented", "published"] | None)
    assert_type(await streamspace.recognise(), Literal["documented", "published"])
    endpoint = Endpoint("https://host/api/v1", auth=BearerAuth("token"))
    StreamSpace(endpoint, dialect="published")
    StreamSpace("https://host/api/v1", auth=BearerAuth("token"), dialect=None, timeout=5)
    StreamSpace.from_env(dialect="documented")
    VCloud(streamspace=endpoint, streamspace_dialect="published")
    VCloud.from_env(streamspace_dialect="published")


async def collections(streamspace: StreamSpace) -> None:
    assert_type(await streamspace.sessions.create("me", "firefox", platform="docker"), Session)
    assert_type(streamspace.sessions.list(state="running", tags=["a"]), Pager[Session])
    assert_type(await streamspace.sessions.get("s-1"), Session)
    assert_type(await streamspace.sessions.find("name"), Session | None)
    assert_type(streamspace.sessions.ref("s-1"), SessionRef)
    assert_type(streamspace.agents.list(platform=Platform.DOCKER), Pager[Agent])
    assert_type(await streamspace.agents.get("a"), Agent)
    assert_type(await streamspace.agents.stats(), AgentStats)
    assert_type(streamspace.agents.ref("a"), AgentRef)
    assert_type(await streamspace.agents.ref("a").refresh(), Agent)
    assert_type(await streamspace.agents.ref("a").set_status("draining"), AgentUpdate)
    assert_type(await streamspace.agents.ref("a").drain(), AgentUpdate)
    assert_type(streamspace.templates.list(), Pager[Template])
    assert_type(await streamspace.templates.get("t"), Template)
    assert_type(streamspace.templates.ref("t"), TemplateRef)
    assert_type(await streamspace.templates.ref("t").refresh(), Template)
    assert_type(streamspace.users.list(role="admin"), Pager[User])
    assert_type(await streamspace.users.create("me", "me@example.com", "password"), User)


async def objects(
    streamspace: StreamSpace, user: User, template: Template, agent: Agent, session: Session
) -> None:
    assert_type(await streamspace.sessions.create(user, template), Session)
    assert_type(
        streamspace.sessions.list(user=user, template=template, agent_id=agent), Pager[Session]
    )
    assert_type(streamspace.sessions.ref(session), SessionRef)
    assert_type(streamspace.agents.ref(agent), AgentRef)
    assert_type(await streamspace.templates.get(template), Template)
    await streamspace.sessions.create(session, template)  # type: ignore[arg-type]


async def sessions(session: SessionRef) -> None:
    assert_type(await session.refresh(), Session)
    assert_type(await session.hibernate(), SessionUpdate)
    assert_type(await session.wake(), SessionUpdate)
    assert_type(await session.terminate(), SessionUpdate)
    assert_type(await session.force_terminate(), SessionUpdate)
    assert_type(await session.delete(force=True), None)
    assert_type(await session.set_tags(["a"]), tuple[str, ...])
    assert_type(await session.start(), SessionUpdate)
    assert_type(await session.stop(), SessionUpdate)
    assert_type(await session.wait_until(SessionState.RUNNING), Session)
    assert_type(await session.connect_url(), str)
    assert_type(session.vnc_url, str)


async def logs(session: SessionRef, follow: bool) -> None:
    assert_type(await session.logs(), tuple[str, ...])
    assert_type(session.logs(follow=True), LogStream)
    async with session.logs(follow=True, tail=10) as stream:
        assert_type(stream, LogStream)
        async for line in stream:
            assert_type(line, str)
        assert_type(await stream.aclose(), None)


async def vnc(session: SessionRef) -> None:
    async with session.open_vnc(first_bytes=timedelta(seconds=5)) as tunnel:
        assert_type(tunnel, VNCTunnel)
        assert_type(tunnel.opened, bool)
        assert_type(tunnel.close_code, int | None)
        assert_type(tunnel.close_reason, str)
        assert_type(tunnel.unsent, int)
        assert_type(await tunnel.read(), bytes)
        assert_type(await tunnel.write(b"bytes"), None)
        assert_type(await tunnel.finish(), None)
        assert_type(await tunnel.aclose(), None)
        async for data in tunnel:
            assert_type(data, bytes)
    async with session.forward_vnc(5900, on_error=print, first_bytes=10) as forward:
        assert_type(forward, VNCForward)
        assert_type(forward.host, str)
        assert_type(forward.port, int)
        assert_type(forward.connections, int)
        assert_type(forward.errors, tuple[Exception, ...])
        assert_type(forward.refused, int)
        assert_type(await forward.aclose(), None)


def session_fields(value: Session) -> None:
    assert_type(value.id, str)
    assert_type(value.name, str | None)
    assert_type(value.namespace, str | None)
    assert_type(value.user, str | None)
    assert_type(value.template, str | None)
    assert_type(value.platform, Platform | None)
    assert_type(value.agent_id, str | None)
    assert_type(value.state, SessionState | None)
    assert_type(value.resources, Resources | None)
    assert_type(value.persistent_home, bool | None)
    assert_type(value.idle_timeout, timedelta | None)
    assert_type(value.max_session_duration, timedelta | None)
    assert_type(value.streaming_protocol, StreamingProtocol | None)
    assert_type(value.tags, tuple[str, ...])
    assert_type(value.status, SessionStatus | None)
    assert_type(value.platform_metadata, dict[str, Any])
    assert_type(value.created_at, datetime | None)
    assert_type(value.updated_at, datetime | None)
    assert_type(value.last_activity, datetime | None)
    assert_type(value.vnc_url, str)
    assert_type(value.raw, dict[str, Any])


def session_status_fields(value: SessionStatus) -> None:
    assert_type(value.phase, str | None)
    assert_type(value.message, str | None)
    assert_type(value.pod_ip, str | None)
    assert_type(value.vnc_url, str | None)
    assert_type(value.pod_name, str | None)
    assert_type(value.container_id, str | None)
    assert_type(value.started_at, datetime | None)


def session_update_fields(value: SessionUpdate) -> None:
    assert_type(value.id, str)
    assert_type(value.state, SessionState)
    assert_type(value.status, SessionStatus | None)
    assert_type(value.updated_at, datetime | None)
    assert_type(value.command_id, str | None)
    assert_type(value.message, str | None)


def agent_fields(value: Agent) -> None:
    assert_type(value.agent_id, str)
    assert_type(value.id, str | None)
    assert_type(value.platform, Platform | None)
    assert_type(value.region, str | None)
    assert_type(value.status, AgentStatus | None)
    assert_type(value.capacity, AgentCapacity | None)
    assert_type(value.metadata, dict[str, Any])
    assert_type(value.websocket_conn_id, str | None)
    assert_type(value.last_heartbeat, datetime | None)
    assert_type(value.uptime_seconds, timedelta | None)
    assert_type(value.sessions, tuple[AgentSession, ...])
    assert_type(value.created_at, datetime | None)
    assert_type(value.updated_at, datetime | None)
    assert_type(value.approval_status, ApprovalStatus | None)
    assert_type(value.approved_at, datetime | None)
    assert_type(value.approved_by, str | None)
    assert_type(value.raw, dict[str, Any])


async def administration(agent: AgentRef, templates: Templates, users: Users) -> None:
    assert_type(await agent.approve(), AgentKey)
    assert_type(await agent.reject(), None)
    assert_type(await agent.generate_key(), AgentKey)
    assert_type(await agent.rotate_key(), AgentKey)
    command = agent.command(AgentAction.STOP_SESSION, "session", payload={"sessionId": "session"})
    assert_type(await command, AgentCommand)
    assert_type(await agent.delete(), None)
    assert_type(await templates.create("name", 1, manifest={}, tags=["a"]), Template)
    assert_type(await users.me(), User)
    assert_type(await users.create("name", "a@b.c", "password", full_name="Name"), User)


def agent_key_fields(value: AgentKey) -> None:
    assert_type(value.agent_id, str)
    assert_type(value.api_key, str)
    assert_type(value.created_at, datetime | None)


def agent_command_fields(value: AgentCommand) -> None:
    assert_type(value.id, str | None)
    assert_type(value.command_id, str)
    assert_type(value.agent_id, str | None)
    assert_type(value.session_id, str | None)
    assert_type(value.action, AgentAction | None)
    assert_type(value.status, str | None)
    assert_type(value.created_at, datetime | None)


def agent_capacity_fields(value: AgentCapacity) -> None:
    assert_type(value.max_cpu, float | None)
    assert_type(value.max_memory, float | None)
    assert_type(value.max_sessions, int | None)
    assert_type(value.current_sessions, int | None)
    assert_type(value.cpu, str | None)
    assert_type(value.memory, str | None)
    assert_type(value.storage, str | None)


def agent_session_fields(value: AgentSession) -> None:
    assert_type(value.id, str | None)
    assert_type(value.name, str | None)
    assert_type(value.user, str | None)
    assert_type(value.template, str | None)
    assert_type(value.state, SessionState | None)


def agent_stats_fields(value: AgentStats) -> None:
    assert_type(value.total_agents, int)
    assert_type(value.online_agents, int | None)
    assert_type(value.offline_agents, int | None)
    assert_type(value.draining_agents, int | None)
    assert_type(value.by_platform, dict[str, int | None])
    assert_type(value.total_capacity, AgentCapacity | None)
    assert_type(value.utilization, Utilization | None)


def agent_update_fields(value: AgentUpdate) -> None:
    assert_type(value.id, str | None)
    assert_type(value.agent_id, str)
    assert_type(value.status, AgentStatus)
    assert_type(value.updated_at, datetime | None)


def utilization_fields(value: Utilization) -> None:
    assert_type(value.percentage, float | None)
    assert_type(value.sessions_available, int | None)


def template_fields(value: Template) -> None:
    assert_type(value.name, str)
    assert_type(value.id, str)
    assert_type(value.display_name, str | None)
    assert_type(value.category, str | None)
    assert_type(value.description, str | None)
    assert_type(value.base_image, str | None)
    assert_type(value.default_resources, TemplateResources | None)
    assert_type(value.vnc, TemplateVNC | None)
    assert_type(value.environment, dict[str, Any])
    assert_type(value.persistent_home, bool | None)
    assert_type(value.idle_timeout, timedelta | None)
    assert_type(value.icon_url, str | None)
    assert_type(value.tags, tuple[str, ...])
    assert_type(value.created_at, datetime | None)
    assert_type(value.updated_at, datetime | None)
    assert_type(value.repository_id, int | None)
    assert_type(value.app_type, str | None)
    assert_type(value.manifest, Any)
    assert_type(value.install_count, int | None)
    assert_type(value.raw, dict[str, Any])


def template_resources_fields(value: TemplateResources) -> None:
    assert_type(value.memory, str | None)
    assert_type(value.cpu, str | None)
    assert_type(value.storage, str | None)


def template_vnc_fields(value: TemplateVNC) -> None:
    assert_type(value.enabled, bool | None)
    assert_type(value.port, int | None)
    assert_type(value.resolution, str | None)
    assert_type(value.color_depth, int | None)


def resources_fields(value: Resources) -> None:
    assert_type(value.memory, str | None)
    assert_type(value.cpu, str | None)


def user_fields(value: User) -> None:
    assert_type(value.id, str)
    assert_type(value.username, str | None)
    assert_type(value.email, str | None)
    assert_type(value.role, UserRole | None)
    assert_type(value.active, bool | None)
    assert_type(value.created_at, datetime | None)
    assert_type(value.last_login, datetime | None)
    assert_type(value.full_name, str | None)
    assert_type(value.provider, str | None)
    assert_type(value.updated_at, datetime | None)
    assert_type(value.quota, UserQuota | None)
    assert_type(value.groups, tuple[str, ...])
    assert_type(value.raw, dict[str, Any])


def user_quota_fields(value: UserQuota) -> None:
    assert_type(value.max_sessions, int | None)
    assert_type(value.max_cpu, str | None)
    assert_type(value.max_memory, str | None)
    assert_type(value.max_storage, str | None)
    assert_type(value.used_sessions, int | None)
    assert_type(value.used_cpu, str | None)
    assert_type(value.used_memory, str | None)
    assert_type(value.used_storage, str | None)


def login_fields(value: Login) -> None:
    assert_type(value.token, str)
    assert_type(value.user, LoginUser | None)
    assert_type(value.expires_at, datetime | None)


def login_user_fields(value: LoginUser) -> None:
    assert_type(value.id, str | None)
    assert_type(value.username, str | None)
    assert_type(value.email, str | None)
    assert_type(value.role, UserRole | None)
    assert_type(value.created_at, datetime | None)
