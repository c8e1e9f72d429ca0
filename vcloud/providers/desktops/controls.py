"""The controls of a desktop: one method for each kind of action."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from attrs import frozen

from vcloud._core.decoding.shape import Shape
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Handle
from vcloud._core.session import Session
from vcloud._core.wrong_arguments import explained
from vcloud.errors import DecodeError, InvalidArgumentError, RequestTimeout, VCloudError
from vcloud.errors.text import word
from vcloud.providers.desktops.actions import (
    Action,
    ClickMouse,
    DragMouse,
    GetCursorPosition,
    MoveMouse,
    PressKeys,
    Scroll,
    TakeScreenshot,
    TypeText,
    Wait,
    check_text,
)
from vcloud.providers.desktops.errors import (
    ActionsFailed,
    add_typed,
    failed_command,
    failure_message,
)
from vcloud.providers.desktops.models import (
    ActionAnswer,
    ActionResult,
    BashAnswer,
    ClickType,
    KeyAction,
    MouseButton,
    Point,
    Screenshot,
    ScrollDirection,
    parse_cursor_position,
)
from vcloud.providers.desktops.recording import to_json
from vcloud.providers.desktops.requests import (
    COMMAND,
    TIMEOUT,
    ActionRequest,
    action_requests,
    hold_request,
)

__all__ = ["Controls"]


ACTION_RESULT: Shape[ActionAnswer, ActionResult] = Shape(
    ActionAnswer, lambda wire, session, body: wire.result()
)
BASH_OUTPUT: Shape[BashAnswer, str] = Shape(BashAnswer, lambda wire, session, body: wire.text())


@frozen(kw_only=True)
class Controls(Handle):
    """The mouse, keyboard, screen and shell of a desktop.

    Every action is ``POST /desktop/{id}/computer-action``, and may raise:

    - :class:`~vcloud.InvalidArgumentError`: an argument is not allowed; nothing was sent.
    - :class:`~vcloud.ConflictError`: the desktop is not running.
    - :class:`~vcloud.NotFoundError`: there is no such desktop, or it belongs to another user.
    - :class:`~vcloud.ServerError`: the action failed (its exit code is ``details["exit_code"]``),
      or the gateway cut it off after 30 seconds (502, ``outcome_unknown``: the desktop continues
      it). The service also answers 500 to an id that is not a UUID.
    - :class:`~vcloud.TransportError`: no answer; ``outcome_unknown`` if it may have been done. No
      action is sent twice.

    The default timeout of an attempt is 45 seconds here, so that the gateway's answer arrives.

    The fields, limits and answers of actions that the document does not describe are from the
    service's published source.
    """

    id: str

    @concealing
    async def perform(self, action: Action) -> ActionResult:
        """Perform an action.  ``POST /desktop/{id}/computer-action``

        The other methods use this, and return their part of the result. Most actions are one
        request. A text and a long wait are several requests, which are sent one after the other
        until one fails, within one ``deadline``.

        Args:
            action: one that you made, or that :func:`~vcloud.providers.desktops.from_json` made of
                a recording.

        Returns:
            The result of its last request.

        Raises:
            DecodeError: a screenshot is not base64.
            VCloudError: for a text, with ``typed``: see :meth:`type`.
        """
        to_json(action)
        session = self._session.with_default_timeout(TIMEOUT)
        ends = None if session.deadline is None else session.clock() + session.deadline
        result, typed = ActionResult(), 0
        for request in action_requests(action, timeout=session.timeout):
            try:
                result = await self._send(request, session, ends, sensitive=action.sensitive)
            except VCloudError as error:
                if isinstance(action, TypeText):
                    add_typed(error, typed, len(action.text))
                raise
            typed += request.characters
        return result

    async def _send(
        self, request: ActionRequest, session: Session, ends: float | None, *, sensitive: bool
    ) -> ActionResult:
        """Send one request of an action. All of them have the same deadline."""
        path = f"/desktop/{path_segment(self.id)}/{request.path}"
        if ends is not None:
            left = ends - session.clock()
            if left <= 0:
                passed = (
                    f"the deadline of {session.deadline:g} s passed before all requests were sent"
                )
                raise RequestTimeout(f"desktops: POST {session.base_url}{path}: {passed}")
            session = session.with_options(deadline=left)
        sent = Request("POST", path, body=json_body(request.body), sensitive=sensitive)
        if request.path != COMMAND:
            return await session.fetch(sent, ACTION_RESULT)
        if message := failure_message(await session.fetch(sent, BASH_OUTPUT)):
            raise failed_command(session.hide(message), sent, session.base_url + path)
        return ActionResult(output="")

    @concealing
    async def perform_all(self, actions: Iterable[Action]) -> tuple[ActionResult, ...]:
        """Perform one action after the other, until one fails.

        Returns:
            Their results, in order.

        Raises:
            InvalidArgumentError: one of them is not an action; nothing was sent.
            ActionsFailed: one failed. It has the index and the error of that action, and the
                results of those before it.
        """
        todo = tuple(actions)
        for action in todo:
            to_json(action)
        results: list[ActionResult] = []
        for index, action in enumerate(todo):
            try:
                results.append(await self.perform(action))
            except VCloudError as error:
                raise ActionsFailed(
                    f"action {index} of {len(todo)} ({action.tag}) failed, "
                    f"those after it were not sent: {error}",
                    index=index,
                    results=tuple(results),
                    error=error,
                ) from error
        return tuple(results)

    @explained("click")
    async def click(
        self,
        x: int | None = None,
        y: int | None = None,
        button: MouseButton | str = MouseButton.LEFT,
        *,
        count: int = 1,
    ) -> None:
        """Click.  ``click_mouse``

        Args:
            x: pixels from the left; without ``x`` and ``y``, at the position of the pointer.
            y: pixels from the top.
            button: ``left``, ``right`` or ``middle``.
            count: how often, 1 to 250: the service clicks ten times a second, and its gateway cuts
                a request off after 30 seconds.
        """
        await self.perform(ClickMouse(x=x, y=y, button=button, count=count))

    async def double_click(
        self,
        x: int | None = None,
        y: int | None = None,
        button: MouseButton | str = MouseButton.LEFT,
    ) -> None:
        """Click twice; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.click(x, y, button=button, count=2)

    async def right_click(self, x: int | None = None, y: int | None = None) -> None:
        """Click with the right button; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.click(x, y, button=MouseButton.RIGHT)

    async def mouse_down(
        self,
        x: int | None = None,
        y: int | None = None,
        button: MouseButton | str = MouseButton.LEFT,
    ) -> None:
        """Press a button and hold it; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.perform(ClickMouse(x=x, y=y, button=button, click_type=ClickType.DOWN))

    async def mouse_up(
        self,
        x: int | None = None,
        y: int | None = None,
        button: MouseButton | str = MouseButton.LEFT,
    ) -> None:
        """Release a held button; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.perform(ClickMouse(x=x, y=y, button=button, click_type=ClickType.UP))

    @explained("scroll")
    async def scroll(self, direction: ScrollDirection | str, amount: int) -> None:
        """Turn the mouse wheel at the position of the pointer.  ``scroll``

        Args:
            direction: ``up``, ``down``, ``left`` or ``right``.
            amount: wheel clicks, 1 to 500. The documents call them pixels, but the service takes
                the number as clicks and clamps it to that range (from its published source).
        """
        await self.perform(Scroll(direction=direction, amount=amount))

    async def move(self, x: int, y: int) -> None:
        """Move the pointer to ``x`` and ``y``, in pixels from the upper left.  ``move_mouse``"""
        await self.perform(MoveMouse(x, y))

    @explained("drag")
    async def drag(self, start: Point | tuple[int, int], end: Point | tuple[int, int]) -> None:
        """Drag with the left button, from ``(x, y)`` to ``(x, y)``, in pixels.  ``drag_mouse``"""
        await self.perform(DragMouse(start, end))

    @concealing
    async def type(self, text: str) -> None:
        r"""Enter a text with the keyboard, unchanged.  ``type``, ``press_keys``

        The service runs parts of some texts as commands, drops others or takes them for options
        (from its published source, and measured). So some characters are pressed as keys instead:
        apostrophes, a ``-`` at the beginning, capitals such as ``Ä``, and line ends (``\n``,
        ``\r\n`` and ``\r`` are one Return each). The rest is typed, in pieces of at most 250
        characters, because the service needs some 30 ms for each and its gateway cuts a request off
        after 30 seconds. So one call may be many requests. After one has failed, no other is sent.
        They share one ``deadline``.

        If the desktop's keyboard does not have a character (``é`` on an American one), the service
        puts it on a spare key while it types it, and a program that is busy may miss it (measured).
        Held keys do not apply to a text: the service releases them while it types, and presses them
        again afterwards.

        Args:
            text: not empty. Tabs and line ends are the only control characters that can be typed.

        Raises:
            InvalidArgumentError: the text is empty, or has another control character or a lone
                surrogate; nothing was sent.
            VCloudError: any of the above. Its ``typed`` and its message say how many characters
                were confirmed. The message never contains them, because they may be a password. If
                there are any, ``outcome_unknown`` is set, because sending the whole text again
                would repeat them. The piece that failed may have been typed in part.
        """
        await self.perform(TypeText(text))

    @concealing
    async def press(self, *keys: str) -> None:
        """Press keys together.  ``press_keys``

        For example ``press("enter")``, ``press("ctrl+c")`` or ``press("ctrl", "c")``. A key is a
        single character (``/``, ``+``, ``é``), a common name in upper or lower case (``ENTER``,
        ``esc``, ``PageDown``, ``arrowleft``, ``cmd``, ``f5``), or an X key symbol (``Return``,
        ``KP_Enter``, ``U20AC``). ``cmd``, ``meta`` and ``win`` are ``super``, ``option`` is
        ``alt``. The case of a letter counts only without a modifier: ``Ctrl+S`` is ``ctrl+s``; with
        Shift it is ``ctrl+shift+s``.

        Held keys do not apply to this call: the service releases them, and presses them again
        afterwards. Pass all keys of a chord to one call, or use :meth:`key_down` and
        :meth:`key_up` for each of them.

        Args:
            keys: one or more. They are translated to X key symbols, because the service ignores
                other names and reports success (measured).

        Raises:
            InvalidArgumentError: a name is not a key's. The message has the nearest names.
        """
        await self.perform(PressKeys(_one_or_all(keys)))

    @concealing
    async def key_down(self, *keys: str) -> None:
        """Press keys and hold them; names as for :meth:`press`.  ``POST /desktop/{id}/bash-action``

        Held keys apply to mouse actions (such as Shift and a click) and to other keys that are
        pressed with :meth:`key_down`, but not to :meth:`press` and :meth:`type`. They are held
        until :meth:`key_up`.

        This runs ``xdotool keydown`` on the desktop. The service's own action releases held keys
        while it works, and does not release modifiers (measured). So :meth:`perform` runs this
        command too, for a :class:`~vcloud.providers.desktops.PressKeys` that holds or releases.

        Raises:
            ServerError: the desktop's shell could not do it.
        """
        await self._hold(keys, KeyAction.DOWN)

    @concealing
    async def key_up(self, *keys: str) -> None:
        """Release held keys; as for :meth:`key_down`.  ``POST /desktop/{id}/bash-action``"""
        await self._hold(keys, KeyAction.UP)

    async def _hold(self, keys: tuple[str, ...], kind: KeyAction) -> None:
        request = hold_request(PressKeys(_one_or_all(keys)).keys, kind)
        session = self._session.with_default_timeout(TIMEOUT)
        await self._send(request, session, None, sensitive=False)

    async def wait(self, duration: timedelta | float) -> None:
        """Wait on the desktop before the next action.  ``wait``

        Args:
            duration: whole milliseconds, as seconds or timedelta. The gateway cuts a request off
                after 30 seconds, so a longer wait is sent in pieces, within one ``deadline``.
        """
        await self.perform(Wait(duration))

    async def screenshot(self) -> Screenshot:
        """An image of the screen.  ``screenshot``

        Raises:
            DecodeError: the answer has no image, or it is not base64.
        """
        result = await self.perform(TakeScreenshot())
        if result.screenshot is None:
            raise DecodeError(f"desktop {word(self.id)}: the answer to a screenshot has no image")
        return result.screenshot

    async def cursor_position(self) -> Point:
        """The position of the pointer.  ``get_cursor_position``

        Raises:
            DecodeError: the answer has no position.
        """
        output = (await self.perform(GetCursorPosition())).output or ""
        # Hide secrets first, because an error quotes the output.
        return parse_cursor_position(self._session.hide(output))

    @concealing
    async def bash(self, command: str) -> str:
        """Run a shell command and return what it printed.  ``POST /desktop/{id}/bash-action``

        The service returns the standard output, or the error output if that is blank, without
        white space at both ends. The exit code is lost (from its published source). To get the
        exact output, encode it with ``base64``. Errors contain neither the command, which may have
        a password in it, nor its output.

        Args:
            command: not empty, without NUL. It must end within 30 seconds, when the service's
                gateway cuts it off.

        Raises:
            InvalidArgumentError: the command is empty, or has a NUL.
            NotFoundError: there is no such desktop.
            ConflictError: the desktop is not running.
            ServerError: the gateway cut it off (502, ``outcome_unknown``: the command continues),
                or the id is not a UUID (500).
            TransportError: no answer; ``outcome_unknown`` if it may have run.
        """
        check_text(command, "command")
        if "\0" in command:
            raise InvalidArgumentError(
                "command must not have a NUL character: a shell command cannot contain one"
            )
        request = Request(
            "POST",
            f"/desktop/{path_segment(self.id)}/{COMMAND}",
            body=json_body({"command": command}),
            sensitive=True,
        )
        return await self._session.with_default_timeout(TIMEOUT).fetch(request, BASH_OUTPUT)


def _one_or_all(keys: tuple[str, ...]) -> str | tuple[str, ...]:
    return keys[0] if len(keys) == 1 else keys
