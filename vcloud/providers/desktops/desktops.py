"""Desktops: the handle with one method per verb, and the desktop as it was launched or fetched."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import attrs
import msgspec
from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.plain_json import loads
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceState
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Handle, set_origin
from vcloud._core.resources import resource
from vcloud._core.scalars import Instant
from vcloud._core.states import Lifecycle, Stateful
from vcloud.errors import NotFoundError
from vcloud.errors.text import word
from vcloud.providers.desktops.controls import Controls
from vcloud.providers.desktops.errors import NoStreamError
from vcloud.providers.desktops.models import DesktopStatus, StopAnswer

__all__ = ["Desktop", "DesktopRef", "LaunchedDesktop"]

#: A desktop in one of these never runs again.
TERMINAL_STATES: Final = frozenset(
    {DesktopStatus.TERMINATED, DesktopStatus.ERROR, DesktopStatus.COMPLETED}
)


@frozen(kw_only=True)
class DesktopRef(Controls, Stateful["Desktop", DesktopStatus]):
    """A desktop by its id: everything that can be done to it, without having fetched it."""

    _lifecycle: ClassVar = Lifecycle(
        "desktop", "status", DesktopStatus, terminal_states=TERMINAL_STATES
    )

    async def refresh(self) -> Desktop:
        """Fetch the desktop as it is now.  ``GET /desktop/{id}``

        Raises:
            InvalidRequestError: the id is no UUID (400).
            NotFoundError: there is no such desktop, or it is somebody else's.
        """
        return await self._session.fetch(
            Request("GET", f"/desktop/{path_segment(self.id)}", sensitive=True), DESKTOP
        )

    async def stop(self) -> None:
        """Stop the desktop for good; what was on it is lost.  ``POST /desktop/{id}/stop``

        May be repeated, as often as one likes (from the service's published source), so it is sent again when an answer
        is lost.

        Raises:
            NotFoundError: there is no such desktop, or it is somebody else's.
            ServerError: the id is no UUID (500), or the service broke.
        """
        try:
            await self._session.fetch(
                Request("POST", f"/desktop/{path_segment(self.id)}/stop", repeatable=True), STOPPED
            )
        except NotFoundError:
            self._forget()
            raise
        self._forget()

    def _forget(self) -> None:
        """It is over: ``instances()`` need not ask for it any more."""
        if (forget := self._session.forget) is not None:
            forget(self.id)

    async def connect_url(self) -> str:
        """The address at which a person sees the desktop and works on it; a secret.  ``GET /desktop/{id}``

        Raises:
            NoStreamError: there is none: the desktop is still pending, or it ended before it ran.
            NotFoundError: there is no such desktop.
            DecodeError: it is not safe to open: not https, say, or with a user before its host.
                The text does not repeat it.
        """
        desktop = await self.refresh()
        if desktop.stream_url is None:
            if desktop.status in TERMINAL_STATES:
                why = ", and never will: launch() makes a new one"
            elif desktop.status == DesktopStatus.PENDING:
                why = " yet: wait_until('running') first"
            else:
                why = ""
            status = self._session.hide(desktop.status)
            raise NoStreamError(
                f"desktop {word(self.id)} is {word(status)} and has no stream{why}", status=status
            )
        fault = fault_of_link(desktop.stream_url, allow_http=self._session.allow_http)
        if fault is not None:
            raise refused_link(f"stream_url for desktop {word(self.id)}", fault)
        return desktop.stream_url


@frozen(kw_only=True, field_transformer=none_when_absent)
class LaunchedDesktop(DesktopRef):
    """A desktop as the answer to a launch has it.

    Attributes:
        id: the desktop's id.
        status: what it was doing then, as a rule ``pending``; None when the service did not say.
    """

    status: DesktopStatus | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Desktop(DesktopRef):
    """A desktop as it was when it was fetched. When it is pickled, the stream's address stays behind.

    Attributes:
        id: the desktop's id.
        status: what it is doing.
        created_at: when it was launched.
        timeout_at: when it stops by itself.
        stream_url: where a person sees it and works on it; None while it is pending, and for good
            if it was stopped then. Anyone who has it can use the desktop, so it is treated as a
            secret: not in the repr, and not to be pickled. It is as the service sent it; to open
            it, or to put it into a page, take it from :meth:`connect_url`, which checks it.
    """

    status: DesktopStatus
    created_at: Instant | None
    timeout_at: Instant | None
    stream_url: str | None = field(repr=False)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        bare = attrs.evolve(self, stream_url=None)
        parts = loads(self._own_part(), dict[str, msgspec.Raw])
        set_origin(bare, (json_body({**parts, "stream_url": None}),))
        return Handle.__reduce__(bare)


_STATES: Final = {
    DesktopStatus.PENDING: InstanceState.STARTING,
    DesktopStatus.RUNNING: InstanceState.RUNNING,
    DesktopStatus.ERROR: InstanceState.FAILED,
    DesktopStatus.TERMINATED: InstanceState.STOPPED,
    DesktopStatus.COMPLETED: InstanceState.STOPPED,
}


def view(desktop: Desktop) -> Instance:
    """A desktop as an instance. It has no name but its id."""
    state = _STATES.get(desktop.status, InstanceState.UNKNOWN)
    started_at = desktop.created_at if state is InstanceState.RUNNING else None
    return Instance("desktops", desktop.id, desktop.id, state, None, started_at, desktop)


DESKTOP = resource(Desktop)
LAUNCHED = resource(LaunchedDesktop)
STOPPED: Shape[StopAnswer, None] = Shape(StopAnswer, lambda wire, session, body: None)
