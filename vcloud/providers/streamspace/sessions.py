"""Sessions: applications that run for a user. The handle, the fetched session, the collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from attrs import field, frozen

from vcloud._core.arguments import identifier, optional_member, text
from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import plain
from vcloud._core.instances import Instance, InstanceHandle, InstanceKind
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.search import first_that
from vcloud._core.request import Request, drop_none, json_body, path_segment, query
from vcloud._core.resource import IdCollection
from vcloud._core.scalars import GoDuration, Id, Instant
from vcloud._core.states import Lifecycle
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agents import AgentRef
from vcloud.providers.streamspace.arguments import checked_tags, go_duration
from vcloud.providers.streamspace.dialects.installation import calls
from vcloud.providers.streamspace.instances import KIND, STATES
from vcloud.providers.streamspace.models import (
    TERMINAL_STATES,
    DeleteAnswer,
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SessionStatus,
    SessionUpdate,
    SortOrder,
)
from vcloud.providers.streamspace.realtime.session_ref import RealtimeSessionRef
from vcloud.providers.streamspace.spelling import NamedModel, WireModel
from vcloud.providers.streamspace.templates import TemplateRef
from vcloud.providers.streamspace.users import User
from vcloud.providers.streamspace.wire import Listing, listing, resource, resources

__all__ = ["Session", "SessionRef", "Sessions"]

INITIAL: Final = (SessionState.RUNNING, SessionState.HIBERNATED)


@frozen(kw_only=True)
class SessionRef(RealtimeSessionRef, InstanceHandle["Session", SessionState], WireModel):
    """A session by its id, with a method for each action on it; no request is needed to make it."""

    _kind: ClassVar[InstanceKind] = KIND
    _lifecycle: ClassVar = Lifecycle(
        "session", "state", SessionState, STATES, terminal_states=TERMINAL_STATES
    )

    _absent: ClassVar[Mapping[str, str]] = {
        "follow": "write logs(follow=True)",
        "forward": "did you mean forward_vnc or open_vnc?",
        "port_forward": "did you mean forward_vnc or open_vnc?",
        "tail": "write logs(tail=20), or logs(follow=True)",
        "tunnel": "did you mean forward_vnc or open_vnc?",
    }

    id: Id

    async def refresh(self) -> Session:
        """Fetch the session as it is now.  ``GET /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await (await calls(self._session)).sessions.fetch(self._session, self.id)

    async def hibernate(self) -> SessionUpdate:
        """Save the state of a running session, and give up its container.

        ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not running.
            ConflictError: it is terminating.
            CapacityError: its agent is offline.
        """
        return await self._change(SessionState.HIBERNATED)

    async def wake(self) -> SessionUpdate:
        """Wake a hibernated session.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not hibernated.
            ConflictError: it is terminating.
            CapacityError: its agent is offline, draining or full.
        """
        return await self._change(SessionState.RUNNING)

    async def terminate(self) -> SessionUpdate:
        """End a running or hibernated session gracefully.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is neither running nor hibernated.
            ConflictError: it is terminating already.
            CapacityError: its agent is offline.
        """
        return await self._change(SessionState.TERMINATING)

    async def force_terminate(self) -> SessionUpdate:
        """End the session at once, in any state.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: you are not an administrator.
        """
        return await self._change(SessionState.TERMINATED)

    async def delete(self, *, force: bool = False) -> None:
        """End the session, in any state.  ``DELETE /sessions/{session_id}``

        The document's answer is 204. The published server's answer, 202 with a body, is accepted
        too.

        Args:
            force: do not wait for a graceful shutdown.

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: ``force``, and you are not an administrator.
            CapacityError: its agent is offline.
        """
        request = Request("DELETE", self._path(), query({"force": force or None}))
        answer = await self._session.send(request)
        if answer.body:
            # A proxy's page may come with a status of success: read the body to tell it apart.
            self._session.read(request, answer, DELETED)

    async def start(self) -> SessionUpdate:
        """Wake it: :meth:`wake`, under the name that this action has for machines."""
        return await self.wake()

    async def stop(self) -> SessionUpdate:
        """Terminate it: :meth:`terminate`, as every :class:`~vcloud.Controllable` names it."""
        return await self.terminate()

    async def _change(self, state: SessionState) -> SessionUpdate:
        return await self._session.fetch(
            Request("PATCH", self._path(), body=json_body({"state": state})), SESSION_UPDATE
        )

    def _path(self, rest: str = "") -> str:
        return f"/sessions/{path_segment(self.id)}{rest}"


@frozen(kw_only=True, field_transformer=none_when_absent)
class Session(NamedModel, NullAsEmpty, SessionRef):
    """A session as it was when it was fetched.

    A list leaves some fields out: they are None or empty there, as said below.

    Attributes:
        id: its UUID; on the published server its name.
        name: its name, made by the service.
        namespace: the Kubernetes namespace; None in a list.
        user: its owner.
        template: the name of its template.
        platform: what it runs on.
        agent_id: the agent that runs it; None before one does.
        state: its state.
        resources: the limits of its resources.
        persistent_home: whether the user's home directory is kept after it; None in a list.
        idle_timeout: how long it may be idle before it hibernates; None in a list.
        tags: words to find it by.
        status: details of its state.
        platform_metadata: the platform's names for its parts; empty in a list.
        created_at: when it was created.
        updated_at: when it last changed.
        last_activity: when it was last used; None in a list.
    """

    _guesses: ClassVar[tuple[str, ...]] = ("cpu", "memory", "pod_ip", "pod_name")

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
        """The WebSocket address of the session's VNC stream, without the token.

        ``status.vnc_url`` is sometimes a path and sometimes a URL; this is always a URL. Before the
        service names one, it is the documented one.

        It is beside the API, not below it: for ``https://HOST/prefix/api/v1`` below
        ``wss://HOST/prefix``. That holds also when the service does not know the prefix, because a
        proxy adds it, and names a path at the host's root.

        Raises:
            DecodeError: the address that the service names is not safe to open: not wss, say, or
                with a user before its host. The error does not repeat it.
        """
        return super().vnc_url

    def as_instance(self) -> Instance:
        """The view that all providers share of this session; nothing is sent.

        It has no region: the region is its agent's, which the session does not name.
        """
        name = self.name or self.id
        state = self._lifecycle.shared_state(self.state)
        started_at = self.status.started_at if self.status is not None else None
        return Instance(KIND.provider, self.id, name, state, None, started_at, self)

    @property
    def _named_vnc_url(self) -> str | None:
        return self.status.vnc_url if self.status is not None else None


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


class Sessions(IdCollection[SessionRef]):
    """The sessions: your own, or all of them if you are an administrator."""

    _absent: ClassVar[Mapping[str, str]] = {"get_by_name": "did you mean find?"}

    _handle = SessionRef

    async def create(
        self,
        user: User | str,
        template: TemplateRef | str,
        *,
        platform: Platform | str | None = None,
        state: SessionState | str | None = None,
        resources: Resources | None = None,
        persistent_home: bool | None = None,
        idle_timeout: timedelta | float | None = None,
        tags: Sequence[str] | None = None,
    ) -> Session:
        """Create a session.  ``POST /sessions``

        It is pending at first: use :meth:`SessionRef.wait_until`. The request is never sent twice.

        Args:
            user: its owner, or the owner's ``username``.
            template: its template, one of :attr:`StreamSpace.templates`, or the template's name.
            platform: what it runs on; None: the service chooses.
            state: its first state, ``running`` or ``hibernated``; None: running.
            resources: the limits of its resources; None: those of the template.
            persistent_home: whether the home directory is kept after it; None: it is.
            idle_timeout: how long it may be idle before it hibernates, in whole seconds, at least
                one; seconds or timedelta. None: as the template says.
            tags: words to find it by.

        Raises:
            InvalidArgumentError: an empty name, an unknown platform, another state, an invalid
                quantity (``2 gigs``), a timeout that is not whole seconds, or a tag that is empty
                or has a comma, and so could never be found.
            NotFoundError: there is no such template (the document has 404 in its table and 400 in
                its example).
            InvalidRequestError: the service does not accept a value, or the template.
            ConflictError: there is a session of the same name.
            CapacityError: no agent of the platform is online, or has room.
            PermissionDeniedError: it is for another user, and you are not an administrator.
            TransportError: with ``outcome_unknown``, when the answer was lost: the session may
                exist.
        """
        # The service decides on states that this SDK does not know.
        unknown = isinstance(state, SessionState) and not state.known
        if state is not None and state not in INITIAL and not unknown:
            raise InvalidArgumentError(f"state must be one of {', '.join(INITIAL)}, not {state!r}")
        if not isinstance(resources, Resources | None):
            raise InvalidArgumentError(f"resources must be a Resources(...), not {resources!r}")
        body = drop_none(
            user=text(user, "user", User, "username"),
            template=text(template, "template", TemplateRef),
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
        user: User | str | None = None,
        template: TemplateRef | str | None = None,
        platform: Platform | str | None = None,
        agent_id: AgentRef | str | int | None = None,
        state: SessionState | str | None = None,
        tags: Sequence[str] | None = None,
        page: int | None = None,
        limit: int | None = None,
        sort: SessionSort | str | None = None,
        order: SortOrder | str | None = None,
    ) -> Pager[Session]:
        """List the sessions that match all given filters.  ``GET /sessions``

        Args:
            user: sessions of this user, or of this ``username``.
            template: sessions of this template, or of the one with this name.
            platform: sessions on this platform.
            agent_id: sessions on this agent, or on the one with this ``agent_id``.
            state: sessions in this state.
            tags: sessions with all these tags.
            page: the page to begin with; the first is 1.
            limit: sessions per page, at most 100; the service's default is 20.
            sort: the field to sort by; None: the time of creation.
            order: the sort order; None: descending.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, a tag that is empty or has a comma,
                or an unknown platform, state, sort or order.
            InvalidRequestError: the service does not know a value.
        """
        filters = {
            "user": user if isinstance(user, str | None) else text(user, "user", User, "username"),
            "template": template
            if isinstance(template, str | None)
            else text(template, "template", TemplateRef),
            "platform": optional_member(platform, Platform, "platform"),
            "agent_id": None
            if agent_id is None
            else identifier(agent_id, "agent_id", AgentRef, "agent_id"),
            "state": optional_member(state, SessionState, "state"),
            "tags": checked_tags(tags) or None if tags is not None else None,
            "sort": optional_member(sort, SessionSort, "sort"),
            "order": optional_member(order, SortOrder, "order"),
        }
        return listing(
            self._session, "/sessions", SESSIONS, page=page, limit=limit, filters=filters
        )

    async def find(self, name: str) -> Session | None:
        """The session with this name, or None.  ``GET /sessions``

        The service has no filter for names: pages of 100 are read until the session comes. As in
        any list, some of its fields are missing: :meth:`SessionRef.refresh` fetches all.

        Args:
            name: the whole name, in the same case.

        Raises:
            InvalidArgumentError: the name is blank.
            DecodeError: there is no such session among those that can be read.
        """
        wanted = text(name, "name")
        return await first_that(self.list(limit=100), lambda session: session.name == wanted)

    async def get(self, id: SessionRef | str | int) -> Session:
        """Fetch one session, with all its fields.  ``GET /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await self.ref(id).refresh()
