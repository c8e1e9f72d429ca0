"""Controls: what can be done on a desktop, with one method for each kind of action."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from attrs import frozen

from vcloud._core.decoding.shape import Shape
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, json_body, path_segment
from vcloud._core.resource import Handle
from vcloud._core.session import Session
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
    to_json,
)
from vcloud.providers.desktops.errors import (
    ActionsFailed,
    complaint,
    failed_command,
    say_typed,
)
from vcloud.providers.desktops.models import (
    ActionAnswer,
    ActionResult,
    BashAnswer,
    BashStatus,
    ClickType,
    KeyAction,
    MouseButton,
    Point,
    Screenshot,
    ScrollDirection,
    parse_cursor_position,
    read_screenshot,
)
from vcloud.providers.desktops.requests import (
    COMMAND,
    TIMEOUT,
    ActionRequest,
    action_requests,
    hold_request,
)

__all__ = ["Controls"]


def _result(answer: ActionAnswer) -> ActionResult:
    # The service always says what the action printed, even nothing (from its published source).
    if answer.output is None and answer.base64_image is None:
        raise DecodeError("the answer to an action has neither output nor base64_image")
    screenshot = None if answer.base64_image is None else read_screenshot(answer.base64_image)
    return ActionResult(output=answer.output, error=answer.error, screenshot=screenshot)


ACTION_RESULT: Shape[ActionAnswer, ActionResult] = Shape(
    ActionAnswer, lambda wire, session, body: _result(wire)
)


def _output(answer: BashAnswer) -> str:
    # The one or the other shows that it is the answer to a command; what printed nothing may leave its output out.
    if answer.output is None and answer.status is not BashStatus.SUCCESS:
        raise DecodeError("the answer is not what the contract says: it has no output")
    return answer.output or ""


BASH_OUTPUT: Shape[BashAnswer, str] = Shape(BashAnswer, lambda wire, session, body: _output(wire))


@frozen(kw_only=True)
class Controls(Handle):
    """A desktop's mouse, keyboard, screen and shell.

    Every action is ``POST /desktop/{id}/computer-action``, and every one of them raises:

    - :class:`~vcloud.InvalidArgumentError`: an argument that cannot work; nothing was sent.
    - :class:`~vcloud.ConflictError`: the desktop is not running.
    - :class:`~vcloud.NotFoundError`: there is no such desktop, or it is somebody else's.
    - :class:`~vcloud.ServerError`: the action failed (its exit code is ``details["exit_code"]``), or the gateway cut it
      after 30 seconds (502, ``outcome_unknown``: what was cut goes on). An id that is no UUID is
      answered with 500, too.
    - :class:`~vcloud.TransportError`: no answer; ``outcome_unknown`` when it may have been done. No action is sent twice.

    Where no ``timeout`` was chosen, an attempt gets 45 seconds, so that the service's own answer to
    what it cuts arrives.

    What the document does not say about actions (their fields, limits and answers) is from the service's published source.
    """

    id: str

    @concealing
    async def perform(self, action: Action) -> ActionResult:
        """Do what an action says.  ``POST /desktop/{id}/computer-action``

        The other methods do it too, and hand out the part of the result that theirs has. Most
        actions are one request; a text and a long wait are several, one after the other until one
        fails, within one ``deadline``.

        Args:
            action: made by hand, or from a recording by :func:`~vcloud.providers.desktops.from_json`.

        Returns:
            What its last request came to.

        Raises:
            DecodeError: a screenshot that is not base64.
            VCloudError: of a text, with ``typed``: see :meth:`type`.
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
                    say_typed(error, typed, len(action.text))
                raise
            typed += request.characters
        return result

    async def _send(
        self, request: ActionRequest, session: Session, ends: float | None, *, sensitive: bool
    ) -> ActionResult:
        """Send one of the requests of an action, all of which end by the same time."""
        path = f"/desktop/{path_segment(self.id)}/{request.path}"
        if ends is not None:
            left = ends - session.clock()
            if left <= 0:
                passed = f"the deadline of {session.deadline:g} s passed before all of it was sent"
                raise RequestTimeout(f"desktops: POST {session.base_url}{path}: {passed}")
            session = session.with_options(deadline=left)
        sent = Request("POST", path, body=json_body(request.body), sensitive=sensitive)
        if request.path != COMMAND:
            return await session.fetch(sent, ACTION_RESULT)
        if said := complaint(await session.fetch(sent, BASH_OUTPUT)):
            said = session.hide(said)
            raise failed_command(said, sent, session.base_url + path)
        return ActionResult(output="")

    @concealing
    async def perform_all(self, actions: Iterable[Action]) -> tuple[ActionResult, ...]:
        """Do one action after the other, until one fails.

        Returns:
            Their results, in order.

        Raises:
            InvalidArgumentError: one of them is no action; nothing was sent.
            ActionsFailed: one failed; carries which one, why, and the results of those before it.
        """
        todo = tuple(actions)
        for action in todo:
            to_json(action)
        results: list[ActionResult] = []
        for index, action in enumerate(todo):
            try:
                results.append(await self.perform(action))
            except VCloudError as error:
                message = f"action {index} of {len(todo)} ({action.tag}) failed, those after it were not sent: {error}"
                raise ActionsFailed(
                    message, index=index, results=tuple(results), error=error
                ) from error
        return tuple(results)

    async def click(
        self,
        x: int | None = None,
        y: int | None = None,
        *,
        button: MouseButton | str = MouseButton.LEFT,
        count: int = 1,
    ) -> None:
        """Click.  ``click_mouse``

        Args:
            x: pixels from the left; without ``x`` and ``y``, where the pointer is.
            y: pixels from the top.
            button: ``left``, ``right`` or ``middle``.
            count: how often, 1 to 250: the service clicks ten times a second, and is cut after 30
                seconds.
        """
        await self.perform(ClickMouse(x=x, y=y, button=button, num_of_clicks=count))

    async def double_click(
        self,
        x: int | None = None,
        y: int | None = None,
        *,
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
        *,
        button: MouseButton | str = MouseButton.LEFT,
    ) -> None:
        """Press a button and hold it; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.perform(ClickMouse(x=x, y=y, button=button, click_type=ClickType.DOWN))

    async def mouse_up(
        self,
        x: int | None = None,
        y: int | None = None,
        *,
        button: MouseButton | str = MouseButton.LEFT,
    ) -> None:
        """Release a held button; arguments as for :meth:`click`.  ``click_mouse``"""
        await self.perform(ClickMouse(x=x, y=y, button=button, click_type=ClickType.UP))

    async def scroll(self, direction: ScrollDirection | str, amount: int) -> None:
        """Turn the mouse wheel where the pointer is.  ``scroll``

        Args:
            direction: ``up``, ``down``, ``left`` or ``right``.
            amount: wheel clicks, 1 to 500. The service speaks of pixels, but it turns the wheel so often and clamps the
                number to that range (from its published source).
        """
        await self.perform(Scroll(direction=direction, amount=amount))

    async def move(self, x: int, y: int) -> None:
        """Put the pointer somewhere, in pixels from the upper left corner.  ``move_mouse``"""
        await self.perform(MoveMouse(x, y))

    async def drag(self, start: Point | tuple[int, int], end: Point | tuple[int, int]) -> None:
        """Drag with the left button, from ``(x, y)`` to ``(x, y)``, in pixels.  ``drag_mouse``"""
        await self.perform(DragMouse(start, end))

    @concealing
    async def type(self, text: str) -> None:
        r"""Enter a text with the keyboard, so that it arrives as it is.  ``type``, ``press_keys``

        The service itself runs a part of some texts as a command, drops others or takes them for
        options (from its published source, and measured). What it cannot type is therefore pressed:
        apostrophes, a ``-`` at the beginning, capitals such as ``Ä``, and line ends (``\n``,
        ``\r\n`` and ``\r`` are one Return each). The rest is typed, in pieces of at most 250
        characters, because the service takes some 30 ms for each and is cut after 30 seconds. So
        one call may be many requests. None is sent after one that failed, and ``deadline`` is for
        all of them.

        A character that the desktop's keyboard lacks (``é`` on an American one) is put on a spare
        key by the service for as long as it is typed, and a program that is busy may miss it
        (measured). Keys that are held do not apply to a text: the service releases them while it
        types, and presses them again.

        Args:
            text: not empty. Tabs and line ends are the only control characters that can be typed.

        Raises:
            InvalidArgumentError: it is empty, or holds another control character or a lone
                surrogate; nothing was sent.
            VCloudError: any of the above; its ``typed`` says how many characters were confirmed, as
                does its text, which never says which: they may be a password. If there are any,
                ``outcome_unknown`` is set, because the whole text must not simply be sent again.
                The piece that failed may have been typed in part.
        """
        await self.perform(TypeText(text))

    @concealing
    async def press(self, *keys: str) -> None:
        """Press keys together.  ``press_keys``

        ``press("enter")``, ``press("ctrl+c")`` and ``press("ctrl", "c")`` are such calls. A key is a single character (``/``, ``+``, ``é``), a name that people use, in any case of
        letters (``ENTER``, ``esc``, ``PageDown``, ``arrowleft``, ``cmd``, ``f5``), or an X key
        symbol (``Return``, ``KP_Enter``, ``U20AC``). ``cmd``, ``meta`` and ``win`` are ``super``,
        ``option`` is ``alt``. The case of a letter counts only where it stands
        alone: ``Ctrl+S`` is ``ctrl+s``; with Shift it is ``ctrl+shift+s``.

        Keys that are held do not apply to it: the service releases them, and presses them again
        afterwards. Give all keys of a chord to one call, or use :meth:`key_down` and :meth:`key_up`
        for each of them.

        Args:
            keys: one or more; they are translated to X key symbols, because the service ignores
                other names and reports success (measured).

        Raises:
            InvalidArgumentError: one is no key; what comes near is in the text.
        """
        await self.perform(PressKeys(_one_or_all(keys)))

    @concealing
    async def key_down(self, *keys: str) -> None:
        """Press keys and hold them; names as for :meth:`press`.  ``POST /desktop/{id}/bash-action``

        Held keys apply to mouse actions (Shift and a click, say) and to other keys that are pressed
        with :meth:`key_down`; not to :meth:`press` and :meth:`type`. They are held until
        :meth:`key_up`.

        This runs ``xdotool keydown`` on the desktop. The service's own action for it releases what
        is held while it works, and releases no modifier (measured); so a
        :class:`~vcloud.providers.desktops.PressKeys` that is given to :meth:`perform` goes on with
        this command where the action falls short.

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
        """Let time pass on the desktop before the next action.  ``wait``

        Args:
            duration: whole milliseconds, as seconds or timedelta. The service is cut after 30
                seconds, so a longer one is sent in pieces, within one ``deadline``.
        """
        await self.perform(Wait(duration))

    async def screenshot(self) -> Screenshot:
        """An image of the screen.  ``screenshot``

        Raises:
            DecodeError: the answer holds no image, or it is not base64.
        """
        result = await self.perform(TakeScreenshot())
        if result.screenshot is None:
            raise DecodeError(f"desktop {word(self.id)}: the answer to a screenshot holds no image")
        return result.screenshot

    async def cursor_position(self) -> Point:
        """Where the pointer is.  ``get_cursor_position``

        Raises:
            DecodeError: the answer holds no position.
        """
        said = (await self.perform(GetCursorPosition())).output or ""
        # An error quotes it.
        return parse_cursor_position(self._session.hide(said))

    @concealing
    async def bash(self, command: str) -> str:
        """Run a shell command and return what it printed.  ``POST /desktop/{id}/bash-action``

        The service returns the standard output, or the error output when that is blank, without
        white space at both ends; the exit code is lost (from its published source). Output that
        must be exact can be printed with ``base64``. The command, which may hold a password, and
        its output stay out of errors.

        Args:
            command: not empty, without NUL; it must end within 30 seconds, where the service's
                gateway cuts.

        Raises:
            InvalidArgumentError: it is empty, or holds a NUL, which no command can.
            NotFoundError: there is no such desktop.
            ConflictError: the desktop is not running.
            ServerError: the gateway cut it (502, ``outcome_unknown``: it goes on), or the id is no
                UUID (500).
            TransportError: no answer; ``outcome_unknown`` when it may have run.
        """
        check_text(command, "command")
        if "\0" in command:
            raise InvalidArgumentError("command holds a NUL, which no command can")
        request = Request(
            "POST",
            f"/desktop/{path_segment(self.id)}/{COMMAND}",
            body=json_body({"command": command}),
            sensitive=True,
        )
        return await self._session.with_default_timeout(TIMEOUT).fetch(request, BASH_OUTPUT)


def _one_or_all(keys: tuple[str, ...]) -> str | tuple[str, ...]:
    return keys[0] if len(keys) == 1 else keys
