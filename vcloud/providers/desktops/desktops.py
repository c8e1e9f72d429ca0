"""Desktops: the handle with one method per verb, and the desktop that was launched or fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import attrs
import msgspec
from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.plain_json import loads
from vcloud._core.decoding.shape import Shape
from vcloud._core.instances import Instance, InstanceHandle, InstanceKind, InstanceState
from vcloud._core.links import fault_of_link, refused_link
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Handle, set_origin
from vcloud._core.resources import resource
from vcloud._core.scalars import Instant
from vcloud._core.states import Lifecycle
from vcloud.errors import NotFoundError
from vcloud.errors.text import word
from vcloud.providers.desktops.controls import Controls
from vcloud.providers.desktops.errors import NoStreamError
from vcloud.providers.desktops.instances import KIND, STATES
from vcloud.providers.desktops.models import DesktopStatus, StopAnswer

__all__ = ["Desktop", "DesktopRef", "LaunchedDesktop"]

#: A desktop in one of these states never runs again.
TERMINAL_STATES: Final = frozenset(
    {DesktopStatus.TERMINATED, DesktopStatus.ERROR, DesktopStatus.COMPLETED}
)


@frozen(kw_only=True)
class DesktopRef(Controls, InstanceHandle["Desktop", DesktopStatus]):
    """A desktop by its id. It has all methods, without fetching the desktop."""

    _kind: ClassVar[InstanceKind] = KIND
    _lifecycle: ClassVar = Lifecycle(
        "desktop", "status", DesktopStatus, STATES, terminal_states=TERMINAL_STATES
    )

    #: What pyautogui 0.9.54, e2b_desktop 2.7.2 and scrapybara 2.5.3 call a desktop's methods.
    _guesses: ClassVar[tuple[str, ...]] = (
        *("commands", "doubleClick", "drag_to", "get_cursor_position", "hscroll", "keyDown"),
        *("keyUp", "mouseDown", "mouseUp", "move_to", "position", "vscroll"),
    )
    _absent: ClassVar[Mapping[str, str]] = {
        **KIND.instead,
        "act": "did you mean perform?",
        "action": "did you mean perform?",
        "capture": "did you mean screenshot?",
        "computer": "did you mean perform?",
        "delete": "did you mean stop?",
        "do": "did you mean perform?",
        "extend": "the API cannot change a lifetime; write launch(lifetime=...)",
        "get_stream_url": "write (await handle.refresh()).stream_url",
        "get_url": "did you mean connect_url?",
        "hold": "did you mean key_down?",
        "hotkey": "did you mean press?",
        "hover": "did you mean move?",
        "keyboard": "did you mean type, press, key_down or key_up?",
        "leftclick": "did you mean click?",
        "middle_click": 'write click(x, y, button="middle")',
        "mouse_press": "did you mean mouse_down?",
        "mouse_release": "did you mean mouse_up?",
        "restart": "a desktop never starts again: desktops.launch() makes a new one",
        "send_keys": "did you mean type or press?",
        "set_timeout": "the API cannot change a lifetime; write launch(lifetime=...)",
        "shortcut": "did you mean press?",
        "sleep": "did you mean wait?",
        "triple_click": "write click(x, y, count=3)",
        "typewrite": "did you mean type?",
        "write": "did you mean type?",
    }

    async def refresh(self) -> Desktop:
        """Fetch the desktop as it is now.  ``GET /desktop/{id}``

        Raises:
            InvalidRequestError: the id is not a UUID (400).
            NotFoundError: there is no such desktop, or it belongs to another user.
        """
        return await self._session.fetch(
            Request("GET", f"/desktop/{path_segment(self.id)}", sensitive=True), DESKTOP
        )

    async def stop(self) -> None:
        """Stop the desktop for good; its data is lost.  ``POST /desktop/{id}/stop``

        Stopping a desktop twice does no harm (from the service's published source), so this is
        retried if an answer is lost.

        Raises:
            NotFoundError: there is no such desktop, or it belongs to another user.
            ServerError: the id is not a UUID (500), or the service failed.
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
        """Report to the client that the desktop has ended: ``instances()`` need not fetch it."""
        if (forget := self._session.forget) is not None:
            forget(self.id)

    async def connect_url(self) -> str:
        """The URL at which a person sees and uses the desktop; a secret.  ``GET /desktop/{id}``

        Raises:
            NoStreamError: there is none: the desktop is still pending, or it ended before it ran.
            NotFoundError: there is no such desktop.
            DecodeError: the URL is not safe to open: for example, it is not https, or has a user
                before its host. The message does not contain the URL.
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
    """A desktop as it is in the answer to a launch.

    Attributes:
        id: the desktop's id.
        status: its status then, usually ``pending``; None if the service did not send one.
    """

    status: DesktopStatus | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Desktop(DesktopRef):
    """A desktop as it was when it was fetched. Pickling it leaves out ``stream_url``.

    Attributes:
        id: the desktop's id.
        status: its status.
        created_at: when it was launched.
        timeout_at: when it stops by itself.
        stream_url: the URL at which a person sees and uses it; None while it is pending, and also
            later if it was stopped while pending. Anyone who has it can use the desktop, so it is
            a secret: it is not in the repr, and is not pickled. It is as the service sent it. To
            open it or to put it into a page, use :meth:`connect_url`, which checks it.
    """

    _guesses: ClassVar[tuple[str, ...]] = ("expires_at",)

    status: DesktopStatus
    created_at: Instant | None
    timeout_at: Instant | None
    stream_url: str | None = field(repr=False)

    def as_instance(self) -> Instance:
        """The view that all providers share of this desktop; nothing is sent.

        It has no name but its id.
        """
        state = self._lifecycle.shared_state(self.status)
        started_at = self.created_at if state is InstanceState.RUNNING else None
        return Instance(KIND.provider, self.id, self.id, state, None, started_at, self)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        bare = attrs.evolve(self, stream_url=None)
        parts = loads(self._own_part(), dict[str, msgspec.Raw])
        set_origin(bare, (json_body({**parts, "stream_url": None}),))
        return Handle.__reduce__(bare)


DESKTOP = resource(Desktop)
LAUNCHED = resource(LaunchedDesktop)
STOPPED: Shape[StopAnswer, None] = Shape(StopAnswer, lambda wire, session, body: None)
