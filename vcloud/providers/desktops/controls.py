"""Controls: what can be done on a desktop, with one method for each kind of action."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from attrs import frozen

from vcloud._core.codec import Shape
from vcloud._core.request import Request, json_body, segment
from vcloud._core.resource import Handle
from vcloud.errors import DecodeError, VCloudError
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
from vcloud.providers.desktops.errors import ActionsFailed
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

__all__ = ["Controls"]


def _result(answer: ActionAnswer) -> ActionResult:
    # The service always says what the action printed, even nothing (from its published source).
    if answer.output is None and answer.base64_image is None:
        raise DecodeError("the answer to an action has neither output nor image")
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
      after 30 seconds (502). An id that is no UUID is answered with 500, too.
    - :class:`~vcloud.TransportError`: no answer; ``outcome_unknown`` when it may have been done. No action is sent twice.

    What the document does not say about actions (their fields, limits and answers) is from the service's published source.
    """

    id: str

    async def perform(self, action: Action) -> ActionResult:
        """Do what an action says.  ``POST /desktop/{id}/computer-action``

        The other methods do it too, and hand out the part of the result that theirs has.

        Args:
            action: made by hand, or from a recording by :func:`~vcloud.providers.desktops.from_json`.

        Raises:
            DecodeError: a screenshot that is not base64.
        """
        body = json_body(to_json(action))
        path = f"/desktop/{segment(self.id)}/computer-action"
        return await self._session.fetch(
            Request("POST", path, body=body, sensitive=action.sensitive), ACTION_RESULT
        )

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
            count: how often, at least 0.
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

    async def type(self, text: str) -> None:
        """Enter a text, not empty, with the keyboard.  ``type``

        An apostrophe is mangled by the service, which hands the text to a shell (from its published source).
        The text, which may be a password, stays out of errors.
        """
        await self.perform(TypeText(text))

    async def press(self, *keys: str) -> None:
        """Press keys together: ``press("Return")``, ``press("ctrl+c")``, ``press("ctrl", "c")``.  ``press_keys``

        Args:
            keys: names of X key symbols. The service puts them into a shell command without quotes (from its published
                source), so anything but letters, digits, ``_``, ``+`` and ``-`` is refused before it is sent.
        """
        await self.perform(PressKeys(_one_or_all(keys)))

    async def key_down(self, *keys: str) -> None:
        """Press keys and hold them; names as for :meth:`press`.  ``press_keys``"""
        await self.perform(PressKeys(_one_or_all(keys), key_action_type=KeyAction.DOWN))

    async def key_up(self, *keys: str) -> None:
        """Release held keys; names as for :meth:`press`.  ``press_keys``"""
        await self.perform(PressKeys(_one_or_all(keys), key_action_type=KeyAction.UP))

    async def wait(self, duration: timedelta | float) -> None:
        """Let time pass on the desktop before the next action.  ``wait``

        Args:
            duration: whole milliseconds, as seconds or timedelta; under 30 seconds, where the service's gateway cuts an action.
        """
        await self.perform(Wait(duration))

    async def screenshot(self) -> Screenshot:
        """An image of the screen.  ``screenshot``

        Raises:
            DecodeError: the answer holds no image, or it is not base64.
        """
        result = await self.perform(TakeScreenshot())
        if result.screenshot is None:
            raise DecodeError(f"desktop {self.id}: the answer to a screenshot holds no image")
        return result.screenshot

    async def cursor_position(self) -> Point:
        """Where the pointer is.  ``get_cursor_position``

        Raises:
            DecodeError: the answer holds no position.
        """
        return parse_cursor_position((await self.perform(GetCursorPosition())).output or "")

    async def bash(self, command: str) -> str:
        """Run a shell command and return what it printed.  ``POST /desktop/{id}/bash-action``

        The service returns the standard output, or the error output when that is empty; the exit code is lost (from its
        published source). The command, which may hold a password, and its output stay out of errors.

        Args:
            command: not empty; it must end within 30 seconds, where the service's gateway cuts.

        Raises:
            InvalidArgumentError: it is empty.
            NotFoundError: there is no such desktop.
            ConflictError: the desktop is not running.
            ServerError: the gateway cut it (502), or the id is no UUID (500).
            TransportError: no answer; ``outcome_unknown`` when it may have run.
        """
        check_text(command, "command")
        request = Request(
            "POST",
            f"/desktop/{segment(self.id)}/bash-action",
            body=json_body({"command": command}),
            sensitive=True,
        )
        return await self._session.fetch(request, BASH_OUTPUT)


def _one_or_all(keys: tuple[str, ...]) -> str | tuple[str, ...]:
    return keys[0] if len(keys) == 1 else keys
