"""Actions as data: a class for each, and JSON both ways, so that what was recorded can be replayed.

An action is checked when it is made: one that exists can be sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, ClassVar, Final, cast, get_args

import cattrs
from attrs import Attribute, field, frozen
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from vcloud._core.arguments import member, optional_member, whole_units
from vcloud._core.redaction.secretive import concealing, concealing_constructor
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
    "from_json",
    "to_json",
]

MILLISECOND: Final = timedelta(milliseconds=1)
MAX_SCROLL: Final = 500
#: The service clicks ten times in a second (measured with its xdotool), and is cut after 30
#: seconds.
MAX_CLICKS: Final = 250


def _between(low: int, high: int | None = None) -> Any:
    """A validator: a whole number, at least ``low`` and at most ``high``."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is None and attribute.default is None:
            return
        if type(value) is not int or value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"{low} to {high}"
            raise InvalidArgumentError(
                f"{attribute.name} must be a whole number, {limits}, not {value!r:.80}"
            )

    return check


def check_text(value: object, name: str) -> None:
    """Refuse what is no text to send, without repeating it.

    Raises:
        InvalidArgumentError: no text, an empty one, or one that is not valid unicode.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError(f"{name} must be a non-empty text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{name} is not valid unicode") from None


def _button(value: MouseButton | str | None) -> MouseButton | None:
    return optional_member(value, MouseButton, "button")


def _click_type(value: ClickType | str | None) -> ClickType | None:
    return optional_member(value, ClickType, "click_type")


def _direction(value: ScrollDirection | str) -> ScrollDirection:
    return member(value, ScrollDirection, "direction")


def _key_action(value: KeyAction | str | None) -> KeyAction | None:
    return optional_member(value, KeyAction, "key_action_type")


def _point(value: tuple[int, int]) -> Point:
    parts: Any = value
    # A recorded action has the wire's {"x": …, "y": …}.
    if isinstance(parts, Mapping) and set(parts) == {"x", "y"}:
        parts = parts["x"], parts["y"]
    if (
        not isinstance(parts, Sequence)
        or len(parts) != 2
        or any(type(part) is not int or part < 0 for part in parts)
    ):
        raise InvalidArgumentError(
            f"a point must be two whole numbers (x, y), at least 0, not {value!r:.80}"
        )
    return Point(*parts)


def _pause(value: timedelta | float) -> timedelta:
    return whole_units(value, MILLISECOND, "duration") * MILLISECOND


def _keys(value: str | Sequence[str]) -> str | tuple[str, ...]:
    given: Any = value
    names: tuple[Any, ...] = (
        (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence) else ()
    )
    if not names:
        raise InvalidArgumentError("keys must be the name of a key, or several names")
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            raise InvalidArgumentError(
                f"key {number} of {len(names)} is no key name, but a {type(name).__name__}"
            )
    translated = chords(names)
    return translated[0] if isinstance(given, str) else translated


class Recordable:
    """What all actions have."""

    __slots__ = ()

    #: The ``type`` that says on the wire, and in a recording, which one it is.
    tag: ClassVar[str]
    #: Whether what is sent or answered must not enter an error.
    sensitive: ClassVar[bool] = False


@frozen(kw_only=True)
class ClickMouse(Recordable):
    """``click_mouse``: press a mouse button, here or at a place.

    Attributes:
        x: pixels from the left; None, and ``y`` too: where the pointer is.
        y: pixels from the top.
        button: which one; None: the left one.
        num_of_clicks: how often, 1 to 250 (the service clicks ten times a second, and is cut after
            30 seconds); None: once. Half a click has no number, so it is not looked at there.
        click_type: the whole click, or only half of it; None: the whole.

    Raises:
        InvalidArgumentError: ``x`` without ``y`` or the reverse, which the service would ignore; or
            a number at which it always fails: a negative coordinate, no click, more clicks than it
            has time for.
    """

    tag: ClassVar[str] = "click_mouse"

    x: int | None = field(default=None, validator=_between(0))
    y: int | None = field(default=None, validator=_between(0))
    button: MouseButton | None = field(default=None, converter=_button)
    num_of_clicks: int | None = field(default=None, validator=_between(0))
    click_type: ClickType | None = field(default=None, converter=_click_type)

    def __attrs_post_init__(self) -> None:
        if (self.x is None) is not (self.y is None):
            raise InvalidArgumentError(
                "x and y belong together: the service ignores one without the other"
            )
        clicks = 1 if self.num_of_clicks is None else self.num_of_clicks
        if self.click_type in (None, ClickType.CLICK) and not 1 <= clicks <= MAX_CLICKS:
            raise InvalidArgumentError(
                f"num_of_clicks must be a whole number, 1 to {MAX_CLICKS}, not {clicks}"
            )


@frozen(kw_only=True)
class Scroll(Recordable):
    """``scroll``: turn the wheel.

    Attributes:
        direction: where to.
        amount: wheel clicks, 1 to 500. The service's words for it are pixels, but it acts as clicks and is clamped to
            that range (from the service's published source).
    """

    tag: ClassVar[str] = "scroll"

    direction: ScrollDirection = field(converter=_direction)
    amount: int = field(validator=_between(1, MAX_SCROLL))


@frozen
class MoveMouse(Recordable):
    """``move_mouse``: put the pointer somewhere; ``x`` and ``y`` in pixels, at least 0."""

    tag: ClassVar[str] = "move_mouse"

    x: int = field(validator=_between(0))
    y: int = field(validator=_between(0))


@frozen
class DragMouse(Recordable):
    """``drag_mouse``: press the left button at ``start``, release it at ``end``; both ``(x, y)`` in pixels, at least 0."""

    tag: ClassVar[str] = "drag_mouse"

    start: Point = field(converter=_point)
    end: Point = field(converter=_point)


@concealing_constructor
@frozen
class TypeText(Recordable):
    """``type``: enter text. It stays out of the repr and of errors, because it may be a password.

    It arrives as it is, line ends as Return: what the service cannot type is pressed as keys, and a
    long text is sent in pieces. See :meth:`~vcloud.providers.desktops.Controls.type`.

    Raises:
        InvalidArgumentError: no text, an empty one, a control character other than tab and line
            ends, or a lone surrogate.
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
        keys: one name, several joined with ``+``, or a sequence of them; translated to X key
            symbols when the action is made, so that ``PressKeys("ENTER").keys`` is ``Return``. See
            :meth:`~vcloud.providers.desktops.Controls.press`.
        key_action_type: the whole press, or only half of it; None: the whole. Where the service's
            action for half of it falls short, a shell command does it; see
            :meth:`~vcloud.providers.desktops.Controls.key_down`.

    Raises:
        InvalidArgumentError: one is no key; what comes near is in the text.
    """

    tag: ClassVar[str] = "press_keys"

    keys: str | tuple[str, ...] = field(converter=_keys)
    key_action_type: KeyAction | None = field(default=None, converter=_key_action, kw_only=True)


@frozen
class Wait(Recordable):
    """``wait``: let time pass on the desktop.

    The service is cut after 30 seconds, so a longer wait is sent in pieces.

    Attributes:
        duration: whole milliseconds, as seconds or timedelta; of any length.
    """

    tag: ClassVar[str] = "wait"

    duration: timedelta = field(converter=_pause)


@frozen
class TakeScreenshot(Recordable):
    """``screenshot``: an image of the screen."""

    tag: ClassVar[str] = "screenshot"
    # What is on a screen is nobody else's business.
    sensitive: ClassVar[bool] = True


@frozen
class GetCursorPosition(Recordable):
    """``get_cursor_position``: where the pointer is."""

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

ACTIONS: Final[tuple[type[Action], ...]] = get_args(Action)
_BY_TAG: Final = {action.tag: action for action in ACTIONS}


def _converter() -> cattrs.Converter:
    # Fields are checked by the classes, so they get what was recorded as it is.
    converter = cattrs.Converter(
        forbid_extra_keys=True,
        detailed_validation=False,
        omit_if_default=True,
        prefer_attrib_converters=True,
    )
    for kind in (int, str):
        converter.register_structure_hook(kind, lambda value, _: value)
    converter.register_unstructure_hook(Point, Point._asdict)
    converter.register_unstructure_hook(timedelta, lambda pause: pause // MILLISECOND)
    milliseconds = override(rename="ms", struct_hook=_milliseconds)
    converter.register_structure_hook(
        Wait,
        make_dict_structure_fn(
            Wait, converter, _cattrs_forbid_extra_keys=True, duration=milliseconds
        ),
    )
    converter.register_unstructure_hook(
        Wait, make_dict_unstructure_fn(Wait, converter, duration=milliseconds)
    )
    configure_tagged_union(Action, converter, tag_generator=attrgetter("tag"), tag_name="type")
    return converter


def _milliseconds(value: object, _: object) -> timedelta:
    longest = timedelta.max // MILLISECOND
    if type(value) is not int or not 0 <= value <= longest:
        raise InvalidArgumentError(f"ms must be a whole number, 0 to {longest}, not {value!r:.80}")
    return value * MILLISECOND


_CONVERTER: Final = _converter()
# A union is a type to cattrs, if not to a type checker.
_UNION: Final[Any] = Action


def to_json(action: Action) -> dict[str, Any]:
    """An action in the service's form, as it can be recorded: a JSON object with its ``type``.

    Sending it is for :meth:`~vcloud.providers.desktops.Controls.perform`: a text or a long wait
    takes several requests.

    Raises:
        InvalidArgumentError: it is no action.
    """
    if type(action) not in ACTIONS:
        raise InvalidArgumentError(
            f"not an action: {type(action).__name__}; to replay recorded JSON use from_json()"
        )
    return cast("dict[str, Any]", _CONVERTER.unstructure(action, _UNION))


@concealing
def from_json(recorded: Mapping[str, Any]) -> Action:
    """An action from the JSON object that :func:`to_json` made, or that an agent wrote.

    Raises:
        InvalidArgumentError: the type is not known, or a field is missing, unknown or not what it should be. An unknown
            field is refused rather than ignored, because the replay would do something else than was meant.
    """
    if not isinstance(recorded, Mapping):
        raise InvalidArgumentError(
            f"an action must be a JSON object, not {type(recorded).__name__}"
        )
    tag = recorded.get("type")
    if not isinstance(tag, str) or tag not in _BY_TAG:
        raise InvalidArgumentError(
            f"an action's type must be one of {', '.join(_BY_TAG)}, not {tag!r:.80}"
        )
    try:
        made: Action = _CONVERTER.structure(dict(recorded), _UNION)
    except ForbiddenExtraKeysError as error:
        raise InvalidArgumentError(
            f"{tag} knows no {', '.join(sorted(map(str, error.extra_fields)))}"
        ) from None
    except KeyError as error:
        raise InvalidArgumentError(f"{tag} needs {error.args[0]}") from None
    return made
