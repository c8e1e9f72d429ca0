"""What a type checker knows of StreamSpace. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, assert_type

from vcloud import Pager, StreamSpace
from vcloud.providers.streamspace import (
    Agent,
    AgentRef,
    AgentStats,
    AgentUpdate,
    Login,
    LogStream,
    Platform,
    Resources,
    Session,
    SessionRef,
    SessionState,
    SessionUpdate,
    Template,
    TemplateRef,
    User,
    VNCForward,
    VNCTunnel,
)


async def collections(streamspace: StreamSpace) -> None:
    assert_type(streamspace.sessions.list(), Pager[Session])
    assert_type(await streamspace.sessions.get("s-1"), Session)
    assert_type(streamspace.sessions.ref("s-1"), SessionRef)
    assert_type(streamspace.agents.list(), Pager[Agent])
    assert_type(streamspace.agents.ref("a"), AgentRef)
    assert_type(await streamspace.agents.stats(), AgentStats)
    assert_type(await streamspace.agents.ref("a").drain(), AgentUpdate)
    assert_type(streamspace.templates.list(), Pager[Template])
    assert_type(streamspace.templates.ref("t"), TemplateRef)
    assert_type(streamspace.users.list(), Pager[User])
    assert_type(await streamspace.login("me", "password"), Login)
    assert_type(await streamspace.logout(), None)


async def verbs(session: SessionRef) -> None:
    assert_type(await session.hibernate(), SessionUpdate)
    assert_type(await session.wake(), SessionUpdate)
    assert_type(await session.terminate(), SessionUpdate)
    assert_type(await session.delete(), None)
    assert_type(await session.wait_until(SessionState.RUNNING), Session)
    assert_type(await session.connect_url(), str)
    assert_type(session.open_vnc(), VNCTunnel)
    assert_type(session.forward_vnc(), VNCForward)
    assert_type(await session.logs(), tuple[str, ...])
    assert_type(session.logs(follow=True), LogStream)
    async for line in session.logs(follow=True):
        assert_type(line, str)


async def fields(session: Session) -> None:
    assert_type(session.id, str)
    assert_type(session.state, SessionState | None)
    assert_type(session.platform, Platform | None)
    assert_type(session.resources, Resources | None)
    assert_type(session.idle_timeout, timedelta | None)
    assert_type(session.tags, tuple[str, ...])
    assert_type(session.platform_metadata, dict[str, Any])
    assert_type(session.created_at, datetime | None)
    assert_type(session.vnc_url, str)
