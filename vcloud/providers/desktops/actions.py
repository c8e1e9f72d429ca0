"""Actions as data: a class for each kind.

An action is checked when it is made, so every action object can be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, get_args

from attrs import Attribute, field, frozen

from vcloud._core.arguments import member, optional_member, whole_units
from vcloud._core.model import Model
from vcloud._core.redaction.secretive import concealing_constructor
from vcloud.errors import InvalidArgumentError
from vcloud.providers.desktops.keys import chords
from vcloud.providers.desktops.models import (
    ClickType,
    KeyAction,
    MouseButton,
    Point,
    ScrollDirection,
)
from vcloud.providers.desktops.typed_text import check_typed

__all__ = [
    "Action",
    "ClickMouse",
    "DragMouse",
    "GetCursorPosition",
    "MoveMouse",
    "PressKeys",
    "Scroll",
    "TakeScreenshot",
    "TypeText",
    "Wait",
]

MILLISECOND: Final = timedelta(milliseconds=1)
MAX_SCROLL: Final = 500
#: The service clicks ten times a second (measured with its xdotool), and its gateway cuts a request
#: off after 30 seconds.
MAX_CLICKS: Final = 250


def _between(low: int, high: int | None = None) -> Any:
    """A validator: a whole number, at least ``low`` and at most ``high``."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None or attribute.default is not None:
            _check_between(value, attribute.name, low, high)

    return check


def _check_between(value: object, name: str, low: int, high: int | None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        point = "; to give a point, write *point" if isinstance(value, tuple) else ""
        raise InvalidArgumentError(
            f"{name} must be a whole number, {limits}, not {value!r:.80}{point}"
        )


def check_count(count: object, click_type: object, name: str) -> None:
    """Refuse a number of clicks with which the service always fails.

    Args:
        count: the number; None: it was not given.
        click_type: what is done with the button. The service ignores the number if it only presses
            or releases it.
        name: the name of the number in the error.

    Raises:
        InvalidArgumentError: it is not a whole number, or out of bounds.
    """
    if count is not None and click_type in (None, ClickType.CLICK):
        _check_between(count, name, 1, MAX_CLICKS)
    elif count is not None:
        _check_between(count, name, 0, None)


def check_text(value: object, name: str) -> None:
    """Refuse a value that is not a string to send. The message does not contain it.

    Raises:
        InvalidArgumentError: it is not a string, is empty, or is not valid Unicode.
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise InvalidArgumentError(f"{name} must not be empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(
            f"{name} must be valid Unicode: it has a lone surrogate"
        ) from None


def _button(value: MouseButton | str | None) -> MouseButton | None:
    return optional_member(value, MouseButton, "button")


def _click_type(value: ClickType | str | None) -> ClickType | None:
    return optional_member(value, ClickType, "click_type")


def _direction(value: ScrollDirection | str) -> ScrollDirection:
    return member(value, ScrollDirection, "direction")


def _key_action(value: KeyAction | str | None) -> KeyAction | None:
    return optional_member(value, KeyAction, "key_action_type")


def _start(value: tuple[int, int]) -> Point:
    return _point(value, "start")


def _end(value: tuple[int, int]) -> Point:
    return _point(value, "end")


def _point(value: tuple[int, int], name: str) -> Point:
    parts: Any = value
    # A recorded action has {"x": …, "y": …}, as the request does.
    if isinstance(parts, Mapping) and set(parts) == {"x", "y"}:
        parts = parts["x"], parts["y"]
    if (
        not isinstance(parts, Sequence)
        or len(parts) != 2
        or any(type(part) is not int or part < 0 for part in parts)
    ):
        raise InvalidArgumentError(
            f"{name} must be two whole numbers (x, y), at least 0, not {value!r:.80}"
        )
    return Point(*parts)


def _pause(value: timedelta | float) -> timedelta:
    return whole_units(value, MILLISECOND, "duration") * MILLISECOND


def _keys(value: str | Sequence[str]) -> str | tuple[str, ...]:
    given: Any = value
    if not isinstance(given, str | Sequence):
        raise InvalidArgumentError(
            f"keys must be the name of a key, or several names, not {type(given).__name__}"
        )
    names: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not names:
        raise InvalidArgumentError("keys must be the name of a key, or several names, not none")
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            raise InvalidArgumentError(
                f"key {number} of {len(names)} must be a string, not {type(name).__name__}"
            )
    translated = chords(names)
    return translated[0] if isinstance(given, str) else translated


class Recordable(Model):
    """The base class of all actions."""

    __slots__ = ()

    #: The ``type`` of the action in a request and in a recording.
    tag: ClassVar[str]
    #: Whether neither the request nor the answer may appear in an error.
    sensitive: ClassVar[bool] = False

    def to_dict(self) -> dict[str, Any]:
        """The action as plain JSON values, its kind as ``type``; what is typed is left out.

        :func:`to_json` writes an action that can be repeated.
        """
        return {"type": self.tag, **super().to_dict()}


@frozen(kw_only=True)
class ClickMouse(Recordable):
    """``click_mouse``: click a mouse button, or only press or release it.

    Attributes:
        x: pixels from the left; None, and ``y`` too: at the position of the pointer.
        y: pixels from the top.
        button: which button; None: the left one.
        count: how often, 1 to 250 (the service clicks ten times a second, and its gateway cuts it
            off after 30 seconds); None: once. Ignored if the button is only pressed or released.
            Requests and recordings have it as ``num_of_clicks``.
        click_type: click, press or release; None: click.

    Raises:
        InvalidArgumentError: ``x`` without ``y`` or the reverse, which the service would ignore; or
            a number with which the service always fails: a negative coordinate, no click, or more
            clicks than it has time for.
    """

    tag: ClassVar[str] = "click_mouse"

    x: int | None = field(default=None, validator=_between(0))
    y: int | None = field(default=None, validator=_between(0))
    button: MouseButton | None = field(default=None, converter=_button)
    count: int | None = None
    click_type: ClickType | None = field(default=None, converter=_click_type)

    def __attrs_post_init__(self) -> None:
        if (self.x is None) is not (self.y is None):
            raise InvalidArgumentError(
                "x and y must be given together: the service ignores one without the other"
            )
        check_count(self.count, self.click_type, "count")


@frozen
class Scroll(Recordable):
    """``scroll``: turn the mouse wheel.

    Attributes:
        direction: in which direction.
        amount: wheel clicks, 1 to 500. The documents call them pixels, but the service takes the
            number as clicks and clamps it to that range (from its published source).
    """

    tag: ClassVar[str] = "scroll"

    direction: ScrollDirection = field(converter=_direction)
    amount: int = field(validator=_between(1, MAX_SCROLL))


@frozen
class MoveMouse(Recordable):
    """``move_mouse``: move the pointer to ``x`` and ``y``, in pixels, at least 0."""

    tag: ClassVar[str] = "move_mouse"

    x: int = field(validator=_between(0))
    y: int = field(validator=_between(0))


@frozen
class DragMouse(Recordable):
    """``drag_mouse``: press the left button at ``start`` and release it at ``end``.

    Both are ``(x, y)`` in pixels, at least 0.
    """

    tag: ClassVar[str] = "drag_mouse"

    start: Point = field(converter=_start)
    end: Point = field(converter=_end)


@concealing_constructor
@frozen
class TypeText(Recordable):
    """``type``: enter text. It is not in the repr or in errors, because it may be a password.

    The text arrives unchanged, with line ends as Return: characters that the service cannot type
    are pressed as keys, and a long text is sent in pieces. See
    :meth:`~vcloud.providers.desktops.Controls.type`.

    Raises:
        InvalidArgumentError: it is not a string, is empty, or has a lone surrogate or a control
            character other than tab and line ends.
    """

    tag: ClassVar[str] = "type"
    sensitive: ClassVar[bool] = True

    text: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        check_text(self.text, "text")
        check_typed(self.text)


@concealing_constructor
@frozen
class PressKeys(Recordable):
    """``press_keys``: press keys together, or hold or release them.

    Attributes:
        keys: one name, several joined with ``+``, or a sequence of them. They are translated to X
            key symbols when the action is made, so that ``PressKeys("ENTER").keys`` is ``Return``.
            See :meth:`~vcloud.providers.desktops.Controls.press`.
        key_action_type: press and release, only press, or only release; None: press and release. A
            shell command does what the service's own action cannot; see
            :meth:`~vcloud.providers.desktops.Controls.key_down`.

    Raises:
        InvalidArgumentError: a name is not a key's. The message has the nearest names.
    """

    tag: ClassVar[str] = "press_keys"

    keys: str | tuple[str, ...] = field(converter=_keys)
    key_action_type: KeyAction | None = field(default=None, converter=_key_action, kw_only=True)


@frozen
class Wait(Recordable):
    """``wait``: wait on the desktop.

    The gateway cuts a request off after 30 seconds, so a longer wait is sent in pieces.

    Attributes:
        duration: whole milliseconds, as seconds or timedelta; of any length.
    """

    tag: ClassVar[str] = "wait"

    duration: timedelta = field(converter=_pause)


@frozen
class TakeScreenshot(Recordable):
    """``screenshot``: an image of the screen."""

    tag: ClassVar[str] = "screenshot"
    # The screen may show anything.
    sensitive: ClassVar[bool] = True


@frozen
class GetCursorPosition(Recordable):
    """``get_cursor_position``: the position of the pointer."""

    tag: ClassVar[str] = "get_cursor_position"


Action = (
    ClickMouse
    | Scroll
    | MoveMouse
    | DragMouse
    | TypeText
    | PressKeys
    | Wait
    | TakeScreenshot
    | GetCursorPosition
)
"""One thing to do on a desktop."""

#: The classes.
ACTIONS: Final[tuple[type[Action], ...]] = get_args(Action)
