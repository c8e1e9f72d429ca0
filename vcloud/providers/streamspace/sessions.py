"""The sessions: applications that run for a user. The collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

from vcloud._core.arguments import text
from vcloud._core.paging.pager import Pager
from vcloud._core.resource import IdCollection
from vcloud.providers.streamspace.agents import AgentRef
from vcloud.providers.streamspace.calls import Calls
from vcloud.providers.streamspace.installation import calls
from vcloud.providers.streamspace.models import (
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SortOrder,
)
from vcloud.providers.streamspace.session import Session, SessionCalls, SessionRef
from vcloud.providers.streamspace.session_requests import new_session, session_filters
from vcloud.providers.streamspace.templates import TemplateRef
from vcloud.providers.streamspace.users import User
from vcloud.providers.streamspace.wire import PagedList, WholeList, listing

__all__ = ["Session", "SessionRef", "Sessions"]


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
        max_session_duration: timedelta | float | None = None,
        tags: Sequence[str] | None = None,
    ) -> Session:
        """Create a session.  ``POST /sessions``

        It is pending at first: use :meth:`SessionRef.wait_until`. The request is never sent twice.

        On the published server ``tags`` need a second request, ``PATCH /sessions/{name}/tags``: the
        first one only gives them to the agent. If that fails, the session runs, and
        ``error.created`` has it.

        Args:
            user: its owner, or the owner's ``username``. On the published server only its built-in
                administrator can have sessions.
            template: its template, one of :attr:`StreamSpace.templates`, or the template's name.
            platform: what it runs on; None: the service chooses. Not on the published server.
            state: its first state, ``running`` or ``hibernated``; None: running. Not on the
                published server.
            resources: the limits of its resources; None: those of the template.
            persistent_home: whether the home directory is kept after it; None: it is.
            idle_timeout: how long it may be idle before it hibernates, in whole seconds, at least
                one; seconds or timedelta. None: as the template says. The published server only
                passes it on to the agent: nothing there acts on it.
            max_session_duration: the longest time that it may last, likewise. Only the published
                server has it, and it too only passes it on.
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
            UnsupportedError: what the installation has no way for, as said above; nothing was sent.
            TransportError: with ``outcome_unknown``, when the answer was lost: the session may
                exist.
        """
        wanted = new_session(
            user=user,
            template=template,
            platform=platform,
            state=state,
            resources=resources,
            persistent_home=persistent_home,
            idle_timeout=idle_timeout,
            max_session_duration=max_session_duration,
            tags=tags,
        )
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.create(self._session, wanted)

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

        The published server sends all sessions at once, terminated ones too, the newest first, and
        looks at ``user`` only: the other filters and the sort order are applied here. With its
        cache on, the list may be up to 30 seconds old; :meth:`SessionRef.refresh` never is.

        Args:
            user: sessions of this user, or of this ``username``.
            template: sessions of this template, or of the one with this name.
            platform: sessions on this platform.
            agent_id: sessions on this agent, or on the one with this ``agent_id``. Not on the
                published server.
            state: sessions in this state.
            tags: sessions with all these tags. Not on the published server.
            page: the page to begin with; the first is 1. Not on the published server.
            limit: sessions per page, at most 100; the service's default is 20. On the published
                server it is only the size of ``pages()``; without it there is one page.
            sort: the field to sort by; None: the time of creation. The published server does not
                say ``updated_at``.
            order: the sort order; None: descending.

        Raises:
            InvalidArgumentError: a page or limit out of bounds, a tag that is empty or has a comma,
                or an unknown platform, state, sort or order.
            InvalidRequestError: the service does not know a value.
            UnsupportedError: an argument that the published server has no way for, or a ``user``
                that its filter of query values refuses (one with ``--`` or ``;``, say). Raised by
                the first iteration, before anything is sent.
        """
        filters = session_filters(
            user=user,
            template=template,
            platform=platform,
            agent_id=agent_id,
            state=state,
            tags=tags,
            sort=sort,
            order=order,
        )
        session = self._session

        def wanted(by: Calls) -> PagedList[Session] | WholeList[Session]:
            sessions: SessionCalls = by.sessions
            return sessions.listed(session, filters)

        return listing(session, wanted, page=page, limit=limit)

    async def find(self, name: str) -> Session | None:
        """The session with this name, or None.  ``GET /sessions``

        The service has no filter for names: pages of 100 are read until the session comes. As in
        any list, some of its fields are missing: :meth:`SessionRef.refresh` fetches all. On the
        published server the name is the id: ``GET /sessions/{name}``.

        Args:
            name: the whole name, in the same case.

        Raises:
            InvalidArgumentError: the name is blank.
            DecodeError: there is no such session among those that can be read.
        """
        wanted = text(name, "name")
        by: SessionCalls = (await calls(self._session)).sessions
        return await by.find(self._session, wanted)

    async def get(self, id: SessionRef | str | int) -> Session:
        """Fetch one session, with all its fields.  ``GET /sessions/{session_id}``

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await self.ref(id).refresh()
