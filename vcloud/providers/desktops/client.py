"""The desktop-action API: desktops for programs and agents, driven by mouse, keyboard and shell."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, overload

from vcloud._core.arguments import identifier, positive_seconds, seconds, whole_units
from vcloud._core.client import Client
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager, unpaged
from vcloud._core.request import Request, drop_none, json_body
from vcloud._core.resource import bind
from vcloud._core.service import Service
from vcloud._core.wrong_arguments import explained
from vcloud.errors import InvalidArgumentError, NotFoundError
from vcloud.providers.desktops.actions import MILLISECOND
from vcloud.providers.desktops.coroutine_function import coroutine_function
from vcloud.providers.desktops.desktops import Desktop, DesktopRef
from vcloud.providers.desktops.errors import SERVICE
from vcloud.providers.desktops.launch import Launch
from vcloud.providers.desktops.models import DesktopStatus
from vcloud.providers.desktops.ping import ping
from vcloud.providers.desktops.registry import LaunchRegistry
from vcloud.providers.variables import DESKTOPS

if TYPE_CHECKING:
    from typing_extensions import deprecated

    from vcloud._core.environment import Variables
    from vcloud._core.session import Session

__all__ = ["Desktops"]

MIN_LIFETIME: Final = timedelta(minutes=1)
DEFAULT_LIFETIME: Final = timedelta(hours=24)
FORMER_NAME: Final = (
    "launch(timeout=) is deprecated: write lifetime=, the time after which the desktop stops"
)
#: The frames from ``launch`` to its caller: its own, and those of its two decorators.
CALLER: Final = 4


class Desktops(Client):
    """The desktop-action API, with an :class:`~vcloud.APIKeyAuth`."""

    _service: ClassVar[Service] = SERVICE
    _variables: ClassVar[Variables] = DESKTOPS
    _instance_handle = DesktopRef
    default_base_url: ClassVar[str | None] = "https://api.cyberdesk.io/v1"

    _absent: ClassVar[Mapping[str, str]] = {
        "all": "the API lists no desktops: instances() has those that this client launched",
        "desktops": "the API lists no desktops: instances() has those that this client launched",
        "list": "the API lists no desktops: instances() has those that this client launched",
    }

    def _attach(self, session: Session) -> None:
        super()._attach(session)
        # A copy of the client with other timeouts is attached anew, and shares these desktops.
        if not hasattr(self, "_registry"):
            self._registry = LaunchRegistry()
            session.forget = self._registry.discard

    def instances(self) -> Pager[Instance]:
        """Every desktop that this client launched and that has not ended, as an ``Instance``.

        The service has no list of desktops, so each is fetched.  ``GET /desktop/{id}``
        """
        return unpaged(self._fetch_launched).map(Desktop.as_instance)

    async def _ping(self, session: Session) -> None:
        await ping(session)

    async def _fetch_launched(self) -> list[Desktop]:
        found = await asyncio.gather(
            *[self._fetch_or_forget(id) for id in self._registry.ids()], return_exceptions=True
        )
        desktops: list[Desktop] = []
        for one in found:
            if isinstance(one, BaseException):
                raise one
            if one is not None:
                desktops.append(one)
        return desktops

    async def _fetch_or_forget(self, id: str) -> Desktop | None:
        """Fetch a launched desktop. Forget it, and return None, if it has ended."""
        try:
            desktop = await self.get(id)
        except NotFoundError:
            desktop = None
        if desktop is None or desktop.status in (DesktopStatus.TERMINATED, DesktopStatus.COMPLETED):
            self._registry.discard(id)
            return None
        return desktop

    if TYPE_CHECKING:

        @overload
        def launch(
            self,
            lifetime: timedelta | float | None = None,
            *,
            wait_timeout: timedelta | float = 300,
            poll: timedelta | float = 2,
        ) -> Launch: ...

        @overload
        @deprecated("write lifetime= instead of timeout=")
        def launch(
            self,
            *,
            timeout: timedelta | float | None,
            wait_timeout: timedelta | float = 300,
            poll: timedelta | float = 2,
        ) -> Launch: ...

    @coroutine_function
    @explained("launch")
    def launch(
        self,
        lifetime: timedelta | float | None = None,
        *,
        wait_timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
        timeout: timedelta | float | None = None,
    ) -> Launch:
        """Launch a desktop; retried only if it provably was not done.  ``POST /desktop``

        ``desktop = await client.launch()`` returns a :class:`LaunchedDesktop` at once; it is
        usually still pending. ``async with client.launch() as desktop:`` waits until the desktop is
        running, returns the fetched :class:`Desktop`, and stops it on leaving the block, also after
        an error or a cancellation. In both forms, a launch that is cancelled before it was sent is
        not sent. One that is cancelled later stops the desktop.

        On leaving the block, the stop waits for a slot and for rate limits as any call does. If the
        task was cancelled, or if the client is closing, the stop is sent before all other requests,
        and takes at most the ``cleanup_timeout`` of the :class:`~vcloud.Endpoint`. A desktop that
        could not be stopped is named, with its id, at ERROR in the log ``vcloud.desktops``, and in
        the error: a :class:`~vcloud.CleanupError`, or a note on an error that is raised already
        (other than a cancellation). If the client closes while a block is open, the desktop is
        stopped, and leaving the block does nothing more.

        This holds however the program ends, as long as Python runs. After ``kill -9``, SIGTERM or
        SIGHUP without a handler, ``os._exit`` or a crash, only the desktop's ``lifetime`` ends it,
        so pass a short one. The SDK installs no signal handlers; the README has one for
        SIGTERM.

        ``inspect`` takes this method for a coroutine function, so that decorators and mocks treat
        it as one: a decorator that retries supports the first form only, and the method of an
        autospec is awaited.

        Args:
            lifetime: the time after which the desktop stops by itself, seconds or timedelta: at
                least a minute (the service answers 502 to less), in whole milliseconds. None: the
                service's default, 24 hours (both from its published source).
            wait_timeout: how long ``async with`` waits until it is running; seconds or timedelta.
            poll: the polling interval of that wait; seconds or timedelta.
            timeout: the former name of ``lifetime``; deprecated.

        Raises:
            InvalidArgumentError: ``lifetime`` is below a minute, or given together with
                ``timeout``, or ``wait_timeout`` or ``poll`` is not positive; nothing was sent.
            AuthenticationError: the API key is missing or not valid.
            ServerError: the service could not make a desktop (500, 502).
            TransportError: with ``outcome_unknown`` if the answer was lost: the desktop may exist.
            RateLimitError: the service asks to wait for longer than ``max_retry_after``.
            CleanupError: the launch was cancelled, or its block was left, and the desktop may still
                be running.
            ConfigurationError: the client is closed, or was closed meanwhile. If a desktop had been
                made by then, it was stopped, and the message has its id.
            WaitFailed: (``async with``) it ended before it ran.
            WaitTimeout: (``async with``) it did not run in time.
        """
        name = "lifetime"
        if timeout is not None:
            if lifetime is not None:
                raise InvalidArgumentError(
                    "timeout is the former name of lifetime: give lifetime alone"
                )
            warnings.warn(FORMER_NAME, DeprecationWarning, stacklevel=CALLER)
            lifetime, name = timeout, "timeout"
        milliseconds = (
            None
            if lifetime is None
            else whole_units(lifetime, MILLISECOND, name, at_least=MIN_LIFETIME // MILLISECOND)
        )
        positive_seconds(wait_timeout, "wait_timeout")
        positive_seconds(poll, "poll")
        body = json_body(drop_none(timeout_ms=milliseconds))
        request = Request("POST", "/desktop", body=body, starts=True)
        return Launch(
            self._session,
            request,
            self._registry,
            lifetime=seconds(DEFAULT_LIFETIME if lifetime is None else lifetime),
            wait_timeout=wait_timeout,
            poll=poll,
        )

    async def get(self, id: DesktopRef | str | int) -> Desktop:
        """Fetch one desktop.  ``GET /desktop/{id}``

        Raises:
            InvalidRequestError: the id is not a UUID (400).
            NotFoundError: there is no such desktop, or it belongs to another user.
        """
        return await self.ref(id).refresh()

    def ref(self, id: DesktopRef | str | int) -> DesktopRef:
        """A handle to a desktop, without a request.

        Raises:
            InvalidArgumentError: ``id`` cannot be an id.
        """
        return bind(DesktopRef(id=identifier(id, "id", DesktopRef)), self._session)
