"""Sessions, as the published server reads and answers them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Final, NoReturn

import msgspec
from msgspec import UnsetType

from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.decoding.spelled import Spelled, spelled, spells
from vcloud._core.request import Request, drop_none, json_body
from vcloud._core.resources import Opened
from vcloud._core.scalars import GoDurationOrEmpty, Id, Instant, Integer
from vcloud._core.session import Session
from vcloud.errors import ConflictError, NotFoundError, VCloudError
from vcloud.providers.streamspace.dialects.published.answer import Answer, foreign
from vcloud.providers.streamspace.dialects.published.freshness import fetch_fresh
from vcloud.providers.streamspace.dialects.published.paths import is_reachable, segment
from vcloud.providers.streamspace.errors import StreamSpaceCode
from vcloud.providers.streamspace.models import (
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SessionStatus,
    SessionUpdate,
    SortOrder,
    StreamingProtocol,
)
from vcloud.providers.streamspace.refusals import check_query_value, unsupported
from vcloud.providers.streamspace.session import Session as StreamSpaceSession
from vcloud.providers.streamspace.session import SessionList
from vcloud.providers.streamspace.session_requests import NewSession, SessionFilters
from vcloud.providers.streamspace.wire import Listing, WholeList, listing, resource, resources


@spells(SessionStatus)
class StatusAnswer(Spelled, rename="camel", kw_only=True):
    """The ``status`` of a session. Its ``url`` leads nowhere."""

    optional: ClassVar = frozenset({"message", "last_activity", "pod_name"})
    unread: ClassVar = frozenset({"url"})

    phase: str | None = None
    message: str | None = None
    pod_name: str | None = None
    last_activity: Instant | None = None


@spells(StreamSpaceSession)
class SessionAnswer(Answer, rename="camel", kw_only=True):
    """A session, in ``GET /sessions/{name}``, in lists, and in the answer to a create.

    ``maxSessionDuration`` and ``idleTimeout`` are empty without a limit.
    """

    optional: ClassVar = frozenset({"resources"})
    unread: ClassVar = frozenset({"activeConnections", "streamingPort", "streamingPath"})

    id: Id = msgspec.field(name="name")
    namespace: str | None = None
    user: str | None = None
    template: str | None = None
    platform: Platform | None = None
    state: SessionState | None = None
    resources: Resources | None = None
    persistent_home: bool | None = None
    idle_timeout: GoDurationOrEmpty | None = None
    max_session_duration: GoDurationOrEmpty | None = None
    streaming_protocol: StreamingProtocol | None = None
    status: StatusAnswer | None = None
    created_at: Instant | None = None
    documented: msgspec.Raw | UnsetType = foreign("id")

    #: The server identifies a session by its name.
    name = property(attrgetter("id"))

    @property
    def last_activity(self) -> datetime | None:
        """It is among the details of the state."""
        return None if self.status is None else self.status.last_activity


@spells(StreamSpaceSession)
class CreatedSession(SessionAnswer, rename="camel", kw_only=True):
    """The answer to a create: with tags, without the platform and times."""

    optional: ClassVar = frozenset({"platform", "created_at", "streaming_protocol", "resources"})

    tags: tuple[str, ...] | None = None


@spells(SessionList)
class SessionsAnswer(Answer, kw_only=True):
    """``GET /sessions``."""

    item_fields: ClassVar = ("sessions",)

    sessions: list[SessionAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = foreign("pagination")


class CommandAnswer(Answer, rename="camel", kw_only=True):
    """The answer to a change of a session's state, which an agent was told to make."""

    id: Id = msgspec.field(name="name")
    command_id: str | None = None
    message: str | None = None


class TaggedSession(Spelled, rename=None, kw_only=True):
    """The answer to a change of a session's tags: the database's row, in snake_case."""

    optional: ClassVar = frozenset({"tags"})
    unread: ClassVar = frozenset(
        {
            "active_connections",
            "agent_id",
            "app_type",
            "cluster_id",
            "cpu",
            "created_at",
            "idle_timeout",
            "last_activity",
            "last_connection",
            "last_disconnect",
            "max_session_duration",
            "memory",
            "namespace",
            "org_id",
            "persistent_home",
            "platform",
            "pod_name",
            "state",
            "streaming_path",
            "streaming_port",
            "streaming_protocol",
            "team_id",
            "template_name",
            "updated_at",
            "url",
            "user_id",
        }
    )

    id: Id
    tags: tuple[str, ...] | None = None


SESSION: Final = resource(spelled(StreamSpaceSession, SessionAnswer))
#: The answer to a create.
CREATED: Final = resource(spelled(StreamSpaceSession, CreatedSession))
SESSIONS: Final[Shape[Listing, Opened[StreamSpaceSession]]] = resources(
    spelled(SessionList, SessionsAnswer), StreamSpaceSession
)
#: The answer to a change of a session.
COMMAND: Final = plain(CommandAnswer)
#: The answer to a change of a session's tags.
TAGGED: Final[Shape[TaggedSession, tuple[str, ...]]] = Shape(
    TaggedSession, lambda wire, session, body: wire.tags or ()
)

#: What a list can be sorted by here.
_SORTS: Final = (SessionSort.CREATED_AT, SessionSort.USER, SessionSort.STATE)


async def fetch(session: Session, id: str) -> StreamSpaceSession:
    """``GET /sessions/{name}``"""
    return await fetch_fresh(session, _path(session, id), SESSION)


async def find(session: Session, name: str) -> StreamSpaceSession | None:
    """``GET /sessions/{name}``, because a name is an id; a name that no path can hold is listed."""
    if not is_reachable(name) or name in {".", "by-tags"}:
        wanted = WholeList("/sessions", SESSIONS, keep=lambda found: found.name == name)
        return await listing(session, lambda _: wanted, page=None, limit=None).first()
    try:
        return await fetch(session, name)
    except NotFoundError:
        return None


async def create(session: Session, wanted: NewSession) -> StreamSpaceSession:
    """``POST /sessions``, and for the tags ``PATCH /sessions/{name}/tags``"""
    for name, value, instead in (
        ("platform", wanted.platform, "the server itself chooses; leave it out"),
        ("state", wanted.state, "leave it out, and hibernate() the session when it is running"),
    ):
        if value is not None:
            raise unsupported(session, f"{name}= for sessions.create()", instead)
    body = drop_none(
        user=wanted.user,
        template=wanted.template,
        resources=wanted.resources,
        persistentHome=wanted.persistent_home,
        idleTimeout=wanted.idle_timeout,
        maxSessionDuration=wanted.max_session_duration,
        tags=wanted.tags,
    )
    request = Request("POST", "/sessions", body=json_body(body), bucket="create", starts=True)
    made = await session.fetch(request, CREATED)
    if wanted.tags:
        # The create gives them to the agent and does not keep them.
        try:
            await set_tags(session, made.id, wanted.tags)
        except VCloudError as error:
            error.created = made
            raise
    return made


def listed(session: Session, filters: SessionFilters) -> WholeList[StreamSpaceSession]:
    """``GET /sessions``; what the server does not do itself is done here."""
    if filters.agent_id is not None:
        raise unsupported(
            session, "agent_id= for sessions.list()", "it does not say which agent runs a session"
        )
    if filters.tags is not None:
        raise unsupported(
            session, "tags= for sessions.list()", "it shows no tags; keep their sessions' ids"
        )
    if filters.sort is not None and filters.sort not in _SORTS:
        raise unsupported(
            session,
            f"sort={str(filters.sort)!r} for sessions.list()",
            f"sort by {', '.join(_SORTS)}, or sort the items",
        )
    if filters.user is not None:
        _check_user(session, filters.user)
    sort = filters.sort or (SessionSort.CREATED_AT if filters.order is not None else None)
    return WholeList(
        "/sessions",
        SESSIONS,
        {"user": filters.user},
        keep=_keep(filters),
        sort=None if sort is None else _by(sort),
        descending=filters.order != SortOrder.ASC,
    )


async def hibernate(session: Session, id: str) -> SessionUpdate:
    """``PUT /sessions/{name}/hibernate``"""
    return await _change(
        session, "PUT", f"{_path(session, id)}/hibernate", SessionState.HIBERNATING
    )


async def wake(session: Session, id: str) -> SessionUpdate:
    """``PUT /sessions/{name}/wake``"""
    return await _change(session, "PUT", f"{_path(session, id)}/wake", SessionState.WAKING)


async def terminate(session: Session, id: str) -> SessionUpdate:
    """``DELETE /sessions/{name}``"""
    return await _change(session, "DELETE", _path(session, id), SessionState.TERMINATING)


async def force_terminate(session: Session, id: str) -> NoReturn:  # noqa: ARG001
    """No path of the server ends a session at once."""
    raise unsupported(
        session, "way to end a session at once", "terminate() ends it in any state, by its agent"
    )


async def delete(session: Session, id: str, *, force: bool) -> None:
    """``DELETE /sessions/{name}``; one that is ending already is left as it is."""
    if force:
        raise unsupported(session, "force= for delete()", "leave it out, its agent ends it")
    try:
        await session.fetch(Request("DELETE", _path(session, id)), COMMAND)
    except ConflictError as error:
        if error.code != StreamSpaceCode.SESSION_TERMINATING:
            raise


async def set_tags(session: Session, id: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """``PATCH /sessions/{name}/tags``"""
    request = Request(
        "PATCH", f"{_path(session, id)}/tags", body=json_body({"tags": tags}), repeatable=True
    )
    return await session.fetch(request, TAGGED)


async def _change(session: Session, method: str, path: str, then: SessionState) -> SessionUpdate:
    # Repeated after a lost answer, it would be refused for what it did itself.
    answer = await session.fetch(Request(method, path, once=True), COMMAND)
    return SessionUpdate(
        id=answer.id,
        # The answer does not name the state on the way.
        state=then,
        status=None,
        updated_at=None,
        command_id=answer.command_id,
        message=answer.message,
    )


def _check_user(session: Session, user: str) -> None:
    instead = "leave it out, and compare each session's user"
    if not user:
        raise unsupported(session, "list of the sessions of user=''", instead)
    check_query_value(session, user, "user", instead)


def _keep(filters: SessionFilters) -> Callable[[StreamSpaceSession], bool] | None:
    """Whether a session belongs to a list, as far as the server does not look at it."""
    state, template, platform = filters.state, filters.template, filters.platform
    if state is None and template is None and platform is None:
        return None
    return lambda session: (
        (state is None or session.state == state)
        and (template is None or session.template == template)
        and (platform is None or session.platform == platform)
    )


def _by(sort: SessionSort) -> Callable[[StreamSpaceSession], Any]:
    """The value of a session that a list is sorted by; sessions without one come as the least."""
    value = attrgetter(sort)

    def key(session: StreamSpaceSession) -> tuple[bool, Any]:
        found = value(session)
        return found is not None, found

    return key


def _path(session: Session, id: str) -> str:
    instead = "find() lists it, and no other call reaches a name with / or .."
    return f"/sessions/{segment(session, id, 'session', instead)}"
