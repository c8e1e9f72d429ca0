"""A session: an application that runs for a user. The handle, and the fetched session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import field, frozen

from vcloud._core.decoding.models import ListOf, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import plain
from vcloud._core.instances import Instance, InstanceHandle, InstanceKind
from vcloud._core.scalars import GoDuration, Id, Instant
from vcloud._core.session import Session as CoreSession
from vcloud._core.states import Lifecycle
from vcloud.providers.streamspace.arguments import checked_tags
from vcloud.providers.streamspace.installation import calls, calls_or_none
from vcloud.providers.streamspace.instances import KIND, STATES
from vcloud.providers.streamspace.models import (
    TERMINAL_STATES,
    UNREPORTED,
    DeleteAnswer,
    Platform,
    Resources,
    SessionState,
    SessionStatus,
    SessionUpdate,
    StreamingProtocol,
)
from vcloud.providers.streamspace.realtime.session_ref import RealtimeSessionRef
from vcloud.providers.streamspace.session_requests import NewSession, SessionFilters
from vcloud.providers.streamspace.spelling import NamedModel, WireModel
from vcloud.providers.streamspace.wire import (
    Listing,
    PagedList,
    WholeList,
    resource,
    resources,
)

__all__ = ["Session", "SessionCalls", "SessionRef"]


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

        It is never what a cache of the published server has: once an answer carried ``X-Cache``,
        each request has a query parameter that varies.

        Raises:
            NotFoundError: there is no such session, or it is another user's.
            UnsupportedError: the published server has no path to an id with ``/`` or ``..``, here
                and in every method; nothing was sent.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.fetch(self._session, self.id)

    async def hibernate(self) -> SessionUpdate:
        """Save the state of a running session, and give up its container.

        ``PATCH /sessions/{session_id}``; on the published server ``PUT
        /sessions/{name}/hibernate``. There the session is ``hibernating`` until its agent reports,
        and a command that is made while the agent is away is lost.

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not running.
            ConflictError: it is terminating, or no agent has it.
            CapacityError: its agent is offline.
            TransportError: with ``outcome_unknown``, when the answer was lost. It is not sent
                again.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.hibernate(self._session, self.id)

    async def wake(self) -> SessionUpdate:
        """Wake a hibernated session.

        ``PATCH /sessions/{session_id}``; on the published server ``PUT /sessions/{name}/wake``.
        There the session is ``waking`` until its agent reports.

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is not hibernated.
            ConflictError: it is terminating, or no agent has it.
            CapacityError: its agent is offline, draining or full.
            TransportError: with ``outcome_unknown``, when the answer was lost. It is not sent
                again.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.wake(self._session, self.id)

    async def terminate(self) -> SessionUpdate:
        """End a running or hibernated session gracefully.

        ``PATCH /sessions/{session_id}``; on the published server ``DELETE /sessions/{name}``, which
        ends a session in any state. There it is ``terminating`` until its agent reports, and stays
        on the list.

        Raises:
            NotFoundError: there is no such session.
            InvalidTransitionError: it is neither running nor hibernated.
            ConflictError: it is terminating already (on the published server also when it has
                terminated), or no agent has it.
            CapacityError: its agent is offline.
            TransportError: with ``outcome_unknown``, when the answer was lost. It is not sent
                again.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.terminate(self._session, self.id)

    async def force_terminate(self) -> SessionUpdate:
        """End the session at once, in any state.  ``PATCH /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: you are not an administrator.
            UnsupportedError: the published server has no way to do it; nothing was sent.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.force_terminate(self._session, self.id)

    async def delete(self, *, force: bool = False) -> None:
        """End the session, in any state.  ``DELETE /sessions/{session_id}``

        A session that is terminating, or has terminated, is left as it is. The published server's
        agent ends it; :meth:`terminate` says more.

        Args:
            force: do not wait for a graceful shutdown.

        Raises:
            NotFoundError: there is no such session.
            PermissionDeniedError: ``force``, and you are not an administrator.
            ConflictError: no agent has it, on the published server.
            CapacityError: its agent is offline.
            UnsupportedError: ``force``, which the published server has no way for; nothing was
                sent.
        """
        by: SessionCalls = (await calls(self._session)).sessions
        await by.delete(self._session, self.id, force=force)

    async def set_tags(self, tags: Sequence[str]) -> tuple[str, ...]:
        """Replace the session's tags.  ``PATCH /sessions/{session_id}/tags``

        Only the published server has this, and it shows tags in no other answer. An agent gets the
        tags that :meth:`Sessions.create` was given, not these.

        Args:
            tags: words to find it by; an empty sequence takes all away.

        Returns:
            the tags as the server has them now.

        Raises:
            InvalidArgumentError: a tag is empty or has a comma.
            NotFoundError: there is no such session.
            UnsupportedError: the installation answers as the document says; nothing was sent.
        """
        given = checked_tags(tags)
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.set_tags(self._session, self.id, given)

    async def start(self) -> SessionUpdate:
        """Wake it: :meth:`wake`, under the name that this action has for machines."""
        return await self.wake()

    async def stop(self) -> SessionUpdate:
        """Terminate it: :meth:`terminate`, as every :class:`~vcloud.Controllable` names it."""
        return await self.terminate()

    def _explained(self, last: Session) -> str:
        by = calls_or_none(self._session)
        if by is None or by.name != "published" or last.state not in UNREPORTED:
            return ""
        leaves = "" if last.state == SessionState.TERMINATING else ", and only terminate() leads on"
        return (
            f"this installation's agent may never report the end of {last.state}: StreamSpace's own"
            f" agents do not{leaves}"
        )


@frozen(kw_only=True, field_transformer=none_when_absent)
class Session(NamedModel, NullAsEmpty, SessionRef):
    """A session as it was when it was fetched.

    A list leaves some fields out: they are None or empty there, as said below. The published server
    has no ``agent_id``, ``updated_at``, ``status.message`` and ``status.started_at``; its answer to
    a create also has no ``platform``, ``created_at`` and ``streaming_protocol``, which
    :meth:`refresh` fetches.

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
        max_session_duration: the longest time that it may last. Only the published server has it,
            and only passes it on to the agent: nothing there ends a session by it.
        streaming_protocol: how it shows its desktop; None if the service does not say. Only
            the published server says so.
        tags: words to find it by. The published server shows them only in the answer to a create.
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
    max_session_duration: GoDuration | None = None
    streaming_protocol: StreamingProtocol | None = None
    tags: ListOf[str] = ()
    status: SessionStatus | None
    platform_metadata: MappingOf[Any] = field(factory=dict, hash=False)
    created_at: Instant | None
    updated_at: Instant | None
    last_activity: Instant | None = None

    def __attrs_post_init__(self) -> None:
        # As any model's, in 0.15 us instead of 0.45: it runs for each session of a list
        # (python -m tests.benchmarks overhead).
        if None in (self.tags, self.platform_metadata):
            NullAsEmpty.__attrs_post_init__(self)

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


class SessionCalls(Protocol):
    """What each dialect has a function for: the calls of :class:`Sessions` and its handles."""

    async def fetch(self, session: CoreSession, id: str, /) -> Session:
        """The session as it is now."""
        ...

    async def find(self, session: CoreSession, name: str, /) -> Session | None:
        """The session with this name, or None."""
        ...

    async def create(self, session: CoreSession, wanted: NewSession, /) -> Session:
        """Create a session."""
        ...

    def listed(
        self, session: CoreSession, filters: SessionFilters, /
    ) -> PagedList[Session] | WholeList[Session]:
        """What to ask for the list of these sessions."""
        ...

    async def hibernate(self, session: CoreSession, id: str, /) -> SessionUpdate:
        """Hibernate a session."""
        ...

    async def wake(self, session: CoreSession, id: str, /) -> SessionUpdate:
        """Wake a session."""
        ...

    async def terminate(self, session: CoreSession, id: str, /) -> SessionUpdate:
        """End a session gracefully."""
        ...

    async def force_terminate(self, session: CoreSession, id: str, /) -> SessionUpdate:
        """End a session at once."""
        ...

    async def delete(self, session: CoreSession, id: str, /, *, force: bool) -> None:
        """End a session, in any state."""
        ...

    async def set_tags(
        self, session: CoreSession, id: str, tags: tuple[str, ...], /
    ) -> tuple[str, ...]:
        """Replace a session's tags."""
        ...
