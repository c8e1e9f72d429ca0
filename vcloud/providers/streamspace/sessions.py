"""Sessions: applications that run for a user. The handle with one method per verb, the fetched session, and the collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from attrs import field, frozen

from vcloud._core.arguments import identifier, optional_member, text
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import plain
from vcloud._core.instances import Instance, InstanceState
from vcloud._core.paging.pager import Pager
from vcloud._core.request import Request, drop_none, json_body, path_segment, query
from vcloud._core.resource import Collection, bind
from vcloud._core.scalars import GoDuration, Id, Instant
from vcloud._core.states import Lifecycle, Stateful
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.models import (
    DeleteAnswer,
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SessionStatus,
    SessionUpdate,
    SortOrder,
    named,
)
from vcloud.providers.streamspace.realtime.handle import Realtime, below
from vcloud.providers.streamspace.wire import (
    Listing,
    WireModel,
    checked_tags,
    go_duration,
    listing,
    resource,
    resources,
)

__all__ = ["Session", "SessionRef", "Sessions"]

#: From these no other state is reached.
TERMINAL_STATES: Final = (SessionState.TERMINATED, SessionState.FAILED)
INITIAL: Final = (SessionState.RUNNING, SessionState.HIBERNATED)


@frozen(kw_only=True)
class SessionRef(Realtime, Stateful["Session", SessionState], WireModel):
    """A session by its id: everything that can be done to it, without having fetched it."""

    _lifecycle: ClassVar = Lifecycle(
        "session", "state", SessionState, terminal_states=frozenset(TERMINAL_STATES)
    )

    id: Id

    async def refresh(self) -> Session:
        """Fetch the session as it is now.  ``GET /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await self._session.fetch(Request("GET", self._path()), SESSION)

    async def hibernate(self) -> SessionUpdate:
        """Save the running session's state and give up its container.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not running.
            ConflictError: it is terminating.
            CapacityError: its agent is offline.
        """
        return await self._change(SessionState.HIBERNATED)

    async def wake(self) -> SessionUpdate:
        """Let the hibernated session go on.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not hibernated.
            ConflictError: it is terminating.
            CapacityError: its agent is offline, draining or full.
        """
        return await self._change(SessionState.RUNNING)

    async def terminate(self) -> SessionUpdate:
        """End the running or hibernated session in good order.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is neither running nor hibernated.
            ConflictError: it is terminating already.
            CapacityError: its agent is offline.
        """
        return await self._change(SessionState.TERMINATING)

    async def force_terminate(self) -> SessionUpdate:
        """End the session at once, whatever its state.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: you are no administrator.
        """
        return await self._change(SessionState.TERMINATED)

    async def delete(self, *, force: bool = False) -> None:
        """End the session, whatever its state.  ``DELETE /sessions/{session_id}``

        The document's answer is 204; the published server's, 202 with a body, will do too.

        Args:
            force: do not wait for it to shut down in good order.

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: ``force``, and you are no administrator.
            CapacityError: its agent is offline.
        """
        request = Request("DELETE", self._path(), query({"force": force or None}))
        answer = await self._session.send(request)
        if answer.body:
            # A success that is a proxy's page is none.
            self._session.read(request, answer, DELETED)

    async def start(self) -> SessionUpdate:
        """:meth:`wake`, by the name that the verb has for machines."""
        return await self.wake()

    async def stop(self) -> SessionUpdate:
        """:meth:`terminate`, by the name that every :class:`~vcloud.Controllable` has."""
        return await self.terminate()

    async def _change(self, state: SessionState) -> SessionUpdate:
        return await self._session.fetch(
            Request("PATCH", self._path(), body=json_body({"state": state})), SESSION_UPDATE
        )

    def _path(self, rest: str = "") -> str:
        return f"/sessions/{path_segment(self.id)}{rest}"


@frozen(kw_only=True, field_transformer=none_when_absent)
class Session(NullAsEmpty, SessionRef):
    """A session as it was when it was fetched.

    Attributes:
        id: its UUID; on the published server its name.
        name: its name, made by the service.
        namespace: the Kubernetes namespace; like all that a list leaves out, None there.
        user: whose it is.
        template: what runs in it.
        platform: what it runs on.
        agent_id: which agent runs it; None before one does.
        state: where it is in its life.
        resources: what it may use.
        persistent_home: whether the user's home directory outlives it; None in a list.
        idle_timeout: how long it may be idle before it hibernates; None in a list.
        tags: words to find it by.
        status: what goes on inside.
        platform_metadata: what the platform calls its parts; empty but in a single session.
        created_at: when it was asked for.
        updated_at: when it last changed.
        last_activity: when it was last used; None but in a single session.
    """

    name: str | None
    namespace: str | None = None
    user: str | None
    template: str | None
    platform: Platform | None
    agent_id: str | None
    state: SessionState | None
    resources: Resources | None
    persistent_home: bool | None = None
    idle_timeout: GoDuration | None = None
    tags: ListOf[str] = ()
    status: SessionStatus | None
    platform_metadata: MappingOf[Any] = field(factory=dict, hash=False)
    created_at: Instant | None
    updated_at: Instant | None
    last_activity: Instant | None = None

    @property
    def vnc_url(self) -> str:
        """Where its picture is served while it runs: a WebSocket, without the token that opens it.

        ``status.vnc_url`` is sometimes a path and sometimes a whole URL; this is always whole. Before the service names
        one, it is where the document says it will be.

        It is beside the API, not below it: for ``https://HOST/prefix/api/v1`` below ``wss://HOST/prefix``, also when
        the service, which a proxy before it does not tell of the prefix, names a path at the host's root.

        Raises:
            DecodeError: the address that the service names is not safe to open: not wss, say, or
                with a user before its host. The text does not repeat it.
        """
        return super().vnc_url

    def _vnc_address(self) -> str:
        named = self.status.vnc_url if self.status is not None else None
        return below(self._root, named) if named else super()._vnc_address()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        adapted = super()._adapt(named(value))
        # Go writes an empty text where nothing was set.
        if adapted.get("idle_timeout") == "":
            adapted["idle_timeout"] = None
        return adapted


@frozen(kw_only=True, eq=False, repr=False)
class SessionList(Listing):
    """``GET /sessions``."""

    key: ClassVar[str] = "sessions"

    sessions: list[Session] | None = None
    items: list[Session] | None = None


SESSION = resource(Session)
SESSIONS = resources(SessionList, Session)
SESSION_UPDATE = plain(SessionUpdate)
DELETED = plain(DeleteAnswer)


class Sessions(Collection):
    """The sessions: your own, or everybody's if you are an administrator."""

    async def create(
        self,
        user: str,
        template: str,
        *,
        platform: Platform | str | None = None,
        state: SessionState | str | None = None,
        resources: Resources | None = None,
        persistent_home: bool | None = None,
        idle_timeout: timedelta | float | None = None,
        tags: Sequence[str] | None = None,
    ) -> Session:
        """Ask for a session, which is pending for a while (:meth:`SessionRef.wait_until`); never sent twice.  ``POST /sessions``

        Args:
            user: whose it is.
            template: the name of what runs in it, one of :attr:`StreamSpace.templates`.
            platform: what it runs on; None: the service chooses.
            state: ``running`` or ``hibernated`` at first; None: running.
            resources: what it may use; None: what the template says.
            persistent_home: whether the home directory outlives it; None: it does.
            idle_timeout: how long it may be idle before it hibernates, in whole seconds, at least one; seconds or
                timedelta. None: what the template says.
            tags: words to find it by.

        Raises:
            InvalidArgumentError: an empty name, another platform or state, a quantity that is none (``2 gigs``), a timeout that is
                not whole seconds, or a tag that is empty or has a comma, and so could never be found.
            NotFoundError: there is no such template (the document has 404 in its table and 400 in its example).
            InvalidRequestError: the service does not accept a value, or the template.
            ConflictError: there is a session of the same name.
            CapacityError: no agent of the platform is online, or has room.
            PermissionDeniedError: it is for another user, and you are no administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost: the session may exist.
        """
        # A state that this SDK does not know is for the service to judge.
        unknown = isinstance(state, SessionState) and not state.known
        if state is not None and state not in INITIAL and not unknown:
            raise InvalidArgumentError(f"state must be one of {', '.join(INITIAL)}, not {state!r}")
        if not isinstance(resources, Resources | None):
            raise InvalidArgumentError(f"resources must be a Resources(...), not {resources!r}")
        body = drop_none(
            user=text(user, "user"),
            template=text(template, "template"),
            platform=optional_member(platform, Platform, "platform"),
            state=optional_member(state, SessionState, "state"),
            resources=None if resources is None else resources.to_wire(),
            persistent_home=persistent_home,
            idle_timeout=None
            if idle_timeout is None
            else go_duration(idle_timeout, "idle_timeout"),
            tags=None if tags is None else checked_tags(tags),
        )
        return await self._session.fetch(
            Request("POST", "/sessions", body=json_body(body), bucket="create", starts=True),
            SESSION,
        )

    def list(
        self,
        *,
        user: str | None = None,
        template: str | None = None,
        platform: Platform | str | None = None,
        agent_id: str | int | None = None,
        state: SessionState | str | None = None,
        tags: Sequence[str] | None = None,
        page: int | None = None,
        limit: int | None = None,
        sort: SessionSort | str | None = None,
        order: SortOrder | str | None = None,
    ) -> Pager[Session]:
        """The sessions that match.  ``GET /sessions``

        Args:
            user: of this user.
            template: of this template.
            platform: on this platform.
            agent_id: on this agent.
            state: in this state.
            tags: with these tags; sent comma-joined.
            page: the page to begin with; the service begins with 1.
            limit: sessions per page, at most 100; the service takes 20.
            sort: what to order by; None: when they were created.
            order: which end comes first; None: the last.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, a tag that is empty or has a comma, or a platform, state,
                sort or order that there is not.
            InvalidRequestError: the service does not know a value.
        """
        filters = {
            "user": user,
            "template": template,
            "platform": optional_member(platform, Platform, "platform"),
            "agent_id": None if agent_id is None else identifier(agent_id, "agent_id"),
            "state": optional_member(state, SessionState, "state"),
            "tags": checked_tags(tags) or None if tags is not None else None,
            "sort": optional_member(sort, SessionSort, "sort"),
            "order": optional_member(order, SortOrder, "order"),
        }
        return listing(
            self._session, "/sessions", SESSIONS, page=page, limit=limit, filters=filters
        )

    async def get(self, id: str | int) -> Session:
        """Fetch one session, with all that a list leaves out.  ``GET /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await self.ref(id).refresh()

    def ref(self, id: str | int) -> SessionRef:
        """A handle to act through, without asking the service.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        return bind(SessionRef(id=identifier(id)), self._session)


_STATES: Final = {
    SessionState.PENDING: InstanceState.STARTING,
    SessionState.WAKING: InstanceState.STARTING,
    SessionState.RUNNING: InstanceState.RUNNING,
    SessionState.HIBERNATING: InstanceState.HIBERNATED,
    SessionState.HIBERNATED: InstanceState.HIBERNATED,
    SessionState.TERMINATING: InstanceState.STOPPING,
    SessionState.FAILED: InstanceState.FAILED,
}


def view(session: Session) -> Instance | None:
    """A session as an instance; none when it is over for good. Its region is its agent's, which it does not say."""
    if session.state == SessionState.TERMINATED:
        return None
    unknown = InstanceState.UNKNOWN
    state = unknown if session.state is None else _STATES.get(session.state, unknown)
    started_at = session.status.started_at if session.status is not None else None
    name = session.name or session.id
    return Instance("streamspace", session.id, name, state, None, started_at, session)
