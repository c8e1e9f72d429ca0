"""Sessions, as the API document says."""

from __future__ import annotations

from typing import NoReturn

from vcloud._core.paging.search import first_that
from vcloud._core.request import Request, drop_none, json_body, path_segment, query
from vcloud._core.session import Session
from vcloud.providers.streamspace.models import SessionState, SessionUpdate
from vcloud.providers.streamspace.refusals import unsupported
from vcloud.providers.streamspace.session import DELETED, SESSION, SESSION_UPDATE, SESSIONS
from vcloud.providers.streamspace.session import Session as StreamSpaceSession
from vcloud.providers.streamspace.session_requests import NewSession, SessionFilters
from vcloud.providers.streamspace.wire import PagedList, listing


async def fetch(session: Session, id: str) -> StreamSpaceSession:
    """``GET /sessions/{session_id}``"""
    return await session.fetch(Request("GET", _path(id)), SESSION)


async def find(session: Session, name: str) -> StreamSpaceSession | None:
    """``GET /sessions``; there is no filter for names."""
    wanted = PagedList("/sessions", SESSIONS)
    pager = listing(session, lambda _: wanted, page=None, limit=100)
    return await first_that(pager, lambda found: found.name == name)


async def create(session: Session, wanted: NewSession) -> StreamSpaceSession:
    """``POST /sessions``"""
    if wanted.max_session_duration is not None:
        raise unsupported(
            session,
            "max_session_duration= for sessions.create()",
            "leave it out, and end the session yourself; idle_timeout= hibernates it",
        )
    body = drop_none(
        user=wanted.user,
        template=wanted.template,
        platform=wanted.platform,
        state=wanted.state,
        resources=wanted.resources,
        persistent_home=wanted.persistent_home,
        idle_timeout=wanted.idle_timeout,
        tags=wanted.tags,
    )
    request = Request("POST", "/sessions", body=json_body(body), bucket="create", starts=True)
    return await session.fetch(request, SESSION)


def listed(
    session: Session,  # noqa: ARG001 - the signature of both dialects
    filters: SessionFilters,
) -> PagedList[StreamSpaceSession]:
    """``GET /sessions``"""
    return PagedList(
        "/sessions",
        SESSIONS,
        {
            "user": filters.user,
            "template": filters.template,
            "platform": filters.platform,
            "agent_id": filters.agent_id,
            "state": filters.state,
            "tags": filters.tags,
            "sort": filters.sort,
            "order": filters.order,
        },
    )


async def hibernate(session: Session, id: str) -> SessionUpdate:
    """``PATCH /sessions/{session_id}``"""
    return await session.fetch(_change(id, SessionState.HIBERNATED), SESSION_UPDATE)


async def wake(session: Session, id: str) -> SessionUpdate:
    """``PATCH /sessions/{session_id}``"""
    return await session.fetch(_change(id, SessionState.RUNNING), SESSION_UPDATE)


async def terminate(session: Session, id: str) -> SessionUpdate:
    """``PATCH /sessions/{session_id}``"""
    return await session.fetch(_change(id, SessionState.TERMINATING), SESSION_UPDATE)


async def force_terminate(session: Session, id: str) -> SessionUpdate:
    """``PATCH /sessions/{session_id}``"""
    return await session.fetch(_change(id, SessionState.TERMINATED), SESSION_UPDATE)


async def delete(session: Session, id: str, *, force: bool) -> None:
    """``DELETE /sessions/{session_id}``"""
    request = Request("DELETE", _path(id), query({"force": force or None}))
    answer = await session.send(request)
    if answer.body:
        # A proxy's page may come with a status of success: read the body to tell it apart.
        session.read(request, answer, DELETED)


async def set_tags(session: Session, id: str, tags: tuple[str, ...]) -> NoReturn:  # noqa: ARG001
    """The document has no path for it."""
    raise unsupported(session, "way to change a session's tags", "give sessions.create() its tags=")


def _change(id: str, state: SessionState) -> Request:
    return Request("PATCH", _path(id), body=json_body({"state": state}))


def _path(id: str) -> str:
    return f"/sessions/{path_segment(id)}"
