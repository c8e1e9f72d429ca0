"""The desktop-action API: desktops for programs and agents, driven by mouse, keyboard and shell."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from vcloud._core.arguments import identifier, positive_seconds, seconds, whole_units
from vcloud._core.client import Client
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager, unpaged
from vcloud._core.request import Request, drop_none, json_body
from vcloud._core.resource import bind
from vcloud.errors import NotFoundError
from vcloud.providers.desktops.actions import MILLISECOND
from vcloud.providers.desktops.desktops import Desktop, DesktopRef, view
from vcloud.providers.desktops.errors import DIALECT
from vcloud.providers.desktops.launch import Launch, OpenDesktops, coroutine_function
from vcloud.providers.desktops.models import DesktopStatus

if TYPE_CHECKING:
    from vcloud._core.session import Session

__all__ = ["Desktops"]

SHORTEST: Final = timedelta(minutes=1)
DEFAULT_LIFETIME: Final = timedelta(hours=24)


class Desktops(Client):
    """The desktop-action API, with an :class:`~vcloud.APIKeyAuth`."""

    dialect = DIALECT
    default_base_url = "https://api.cyberdesk.io/v1"

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        # One that has other patience is attached anew, and still has the desktops of the first.
        if not hasattr(self, "_register"):
            self._register = OpenDesktops()
            session.forget = self._register.discard

    def instances(self) -> Pager[Instance]:
        """The desktops that this client launched and that are not over, in the view that all providers share.

        The service has no list of desktops, so each is fetched.  ``GET /desktop/{id}``
        """
        return unpaged(self._remembered).map(view)

    async def _remembered(self) -> list[Desktop]:
        found = await asyncio.gather(
            *[self._look(id) for id in self._register.ids()], return_exceptions=True
        )
        desktops: list[Desktop] = []
        for one in found:
            if isinstance(one, BaseException):
                raise one
            if one is not None:
                desktops.append(one)
        return desktops

    async def _look(self, id: str) -> Desktop | None:
        """Fetch one that was launched; forget it when it has come to its end."""
        try:
            desktop = await self.get(id)
        except NotFoundError:
            desktop = None
        if desktop is None or desktop.status in (DesktopStatus.TERMINATED, DesktopStatus.COMPLETED):
            self._register.discard(id)
            return None
        return desktop

    @coroutine_function
    def launch(
        self,
        timeout: timedelta | float | None = None,
        *,
        wait_timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> Launch:
        """Launch a desktop; sent again only if it provably was not done.  ``POST /desktop``

        ``desktop = await client.launch()`` returns at once a :class:`LaunchedDesktop`, which as a rule is still pending.
        ``async with client.launch() as desktop:`` waits until it is running, gives the fetched :class:`Desktop`, and stops
        it on the way out, after an error or a cancellation too. Either way, one that is cancelled
        while the service makes the desktop stops it; one that is cancelled in line is not sent.

        The stop on the way out waits in line as any call does. When the caller is cancelled, or the
        client closes, it goes ahead of all others, and all that is left to do takes
        ``cleanup_timeout`` of the :class:`~vcloud.Endpoint` at most. What could not be stopped is
        named, with its id, at ERROR in the log ``vcloud.desktops``, and in the error: a
        :class:`~vcloud.CleanupError`, or a note where another error than a cancellation is raised
        already. When the client closes over an open block, the desktop is stopped, and leaving the
        block does nothing more.

        That is so however the program ends, as long as Python runs. ``kill -9``, SIGTERM or SIGHUP
        without a handler, ``os._exit`` and a crash leave the desktop to its own ``timeout``, so give a
        short one. The SDK installs no handlers; the README has one for SIGTERM.

        It is a coroutine function to ``inspect``, so that it can be retried and mocked as such: a
        decorator that retries returns the first form only, and the method of an autospec is
        awaited.

        Args:
            timeout: after which the desktop stops by itself: at least a minute (the service answers 502 to less), whole
                milliseconds; seconds or timedelta. None: the service's default, 24 hours (both from its published source).
            wait_timeout: how long ``async with`` waits for it to run; seconds or timedelta.
            poll: between two looks while it waits; seconds or timedelta.

        Raises:
            InvalidArgumentError: a timeout below a minute, or no time to wait; nothing was sent.
            AuthenticationError: the API key is missing or not valid.
            ServerError: the service could not make one (500, 502).
            TransportError: with ``outcome_unknown``, when the answer was lost: the desktop may exist.
            RateLimitError: the service asks to wait for longer than ``max_retry_after``.
            CleanupError: it was cancelled, or its block was left, and the desktop may run on.
            ConfigurationError: the client is closed, or was closed meanwhile. A desktop that was
                made by then was stopped, and the text has its id.
            WaitFailed: (``async with``) it ended before it ran.
            WaitTimeout: (``async with``) it did not run in time.
        """
        milliseconds = (
            None
            if timeout is None
            else whole_units(timeout, MILLISECOND, "timeout", at_least=SHORTEST // MILLISECOND)
        )
        lifetime = seconds(DEFAULT_LIFETIME if timeout is None else timeout)
        positive_seconds(wait_timeout, "wait_timeout")
        positive_seconds(poll, "poll")
        body = json_body(drop_none(timeout_ms=milliseconds))
        request = Request("POST", "/desktop", body=body, starts=True)
        return Launch(
            self._session,
            request,
            self._register,
            lifetime=lifetime,
            wait_timeout=wait_timeout,
            poll=poll,
        )

    async def get(self, id: str | int) -> Desktop:
        """Fetch one desktop.  ``GET /desktop/{id}``

        Raises:
            InvalidRequestError: the id is no UUID (400).
            NotFoundError: there is no such desktop, or it is somebody else's.
        """
        return await self.ref(id).refresh()

    def ref(self, id: str | int) -> DesktopRef:
        """A handle to act through, without asking the service.

        Raises:
            InvalidArgumentError: what is given cannot be an id.
        """
        return bind(DesktopRef(id=identifier(id)), self._session)
