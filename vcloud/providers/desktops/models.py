"""What desktops and their actions are made of: enumerations, values, and the wire's answers."""

from __future__ import annotations

import binascii
import re
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.scalars import OpenEnum
from vcloud.errors import DecodeError

__all__ = [
    "ActionResult",
    "ClickType",
    "DesktopStatus",
    "KeyAction",
    "MouseButton",
    "Point",
    "Screenshot",
    "ScrollDirection",
    "parse_cursor_position",
]


class DesktopStatus(OpenEnum):
    """What a desktop is doing."""

    #: It is being made.
    PENDING = "pending"
    #: It takes actions.
    RUNNING = "running"
    #: It was stopped, or its time ran out.
    TERMINATED = "terminated"
    #: It broke.
    ERROR = "error"
    #: Known to the service's database (from its published source).
    COMPLETED = "completed"


class BashStatus(OpenEnum):
    """What the answer to a command says of itself."""

    SUCCESS = "success"


# Requests alone carry these four, and the service refuses any other value, so a typing error is caught before it is sent.


class MouseButton(StrEnum):
    """A button of the mouse."""

    LEFT = "left"
    RIGHT = "right"
    MIDDLE = "middle"


class ClickType(StrEnum):
    """What is done with a button."""

    CLICK = "click"
    DOWN = "down"
    UP = "up"


class ScrollDirection(StrEnum):
    """Where the wheel turns."""

    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"


class KeyAction(StrEnum):
    """What is done with keys."""

    PRESS = "press"
    DOWN = "down"
    UP = "up"


class Point(NamedTuple):
    """A place on the screen, in pixels from its upper left corner. A plain ``(x, y)`` equals it."""

    x: int
    y: int


@frozen(kw_only=True)
class Screenshot:
    """An image of the screen.

    Attributes:
        data: the image file's bytes; the service sends a JPEG (from its published source).
        media_type: what the bytes themselves say: ``image/jpeg``, ``image/png``, else ``application/octet-stream``.
    """

    data: bytes = field(repr=False)
    media_type: str

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the image to a file, replacing what is there; returns the path."""
        file = Path(path)
        file.write_bytes(self.data)
        return file


@frozen(kw_only=True)
class ActionResult:
    """What an action came to; which of the three there is depends on the action.

    Attributes:
        output: what it printed; for a cursor position, see :func:`parse_cursor_position`.
        error: what it printed to its error output although it succeeded.
        screenshot: the image of a screenshot.
    """

    output: str | None = None
    error: str | None = None
    screenshot: Screenshot | None = None


_SIGNATURES: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_CURSOR: Final = re.compile(r"\s*X=(-?[0-9]{1,9})\s+Y=(-?[0-9]{1,9})(?:\s|$)")


def read_screenshot(base64_image: str) -> Screenshot:
    """An image as the service sends it: base64.

    Raises:
        DecodeError: it is not base64, or empty.
    """
    try:
        data = binascii.a2b_base64(base64_image, strict_mode=True)
    except ValueError as error:
        raise DecodeError(f"the screenshot is not base64 ({error})") from None
    if not data:
        raise DecodeError("the screenshot is empty")
    media_type = next(
        (name for start, name in _SIGNATURES if data.startswith(start)), "application/octet-stream"
    )
    return Screenshot(data=data, media_type=media_type)


def parse_cursor_position(output: str) -> Point:
    r"""Where the pointer is, from the text ``X=500\nY=300\nSCREEN=0\nWINDOW=123`` (from the service's published source).

    Raises:
        DecodeError: there is no such position in it.
    """
    found = _CURSOR.match(output)
    if found is None:
        raise DecodeError(f"no cursor position in {output[:120]!r}")
    return Point(int(found[1]), int(found[2]))


# -- the wire's answers ----------------------------------------------------------------------------------------------


@frozen(kw_only=True, eq=False, repr=False)
class Reply:
    """An answer without an id: under an HTTP success it may be a refusal, in two forms."""

    success: Any = None

    @property
    def refuses(self) -> bool:
        """Whether it is a refusal. Each class has its own ``status``, or none."""
        return self.success is False or getattr(self, "status", None) == "error"


@frozen(kw_only=True, eq=False, repr=False)
class ActionAnswer(Reply):
    """``POST /desktop/{id}/computer-action``."""

    status: Any = None
    output: str | None = None
    error: str | None = None
    base64_image: str | None = field(default=None, repr=False)


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class BashAnswer(Reply):
    """``POST /desktop/{id}/bash-action``."""

    status: BashStatus | None = None
    output: str | None = field(repr=False)


@frozen(kw_only=True, eq=False, repr=False)
class StopAnswer(Reply):
    """``POST /desktop/{id}/stop``."""

    status: DesktopStatus

    @property
    def refuses(self) -> bool:
        """Whether it refuses, or says that the desktop goes on. A new status may mean its end."""
        going_on = (DesktopStatus.PENDING, DesktopStatus.RUNNING, DesktopStatus.ERROR)
        return self.success is False or self.status in going_on
