"""The enumerations and values of desktops and their actions, and the service's answers."""

from __future__ import annotations

import binascii
import re
from enum import StrEnum
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.model import Model
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
    """The status of a desktop."""

    #: It is being started.
    PENDING = "pending"
    #: It can be used.
    RUNNING = "running"
    #: It was stopped, or its time ran out.
    TERMINATED = "terminated"
    #: It failed.
    ERROR = "error"
    #: In the service's database (from its published source).
    COMPLETED = "completed"


class BashStatus(OpenEnum):
    """The ``status`` in the answer to a command."""

    SUCCESS = "success"


# Only requests have these four enumerations, and the service refuses any other value. So a wrong
# value is refused before it is sent.


class MouseButton(StrEnum):
    """A button of the mouse."""

    LEFT = "left"
    RIGHT = "right"
    MIDDLE = "middle"


class ClickType(StrEnum):
    """What to do with a mouse button."""

    CLICK = "click"
    DOWN = "down"
    UP = "up"


class ScrollDirection(StrEnum):
    """In which direction to scroll."""

    UP = "up"
    DOWN = "down"
    LEFT = "left"
    RIGHT = "right"


class KeyAction(StrEnum):
    """What to do with keys."""

    PRESS = "press"
    DOWN = "down"
    UP = "up"


class Point(NamedTuple):
    """A position on the screen, in pixels from its upper left. Equal to a plain ``(x, y)``."""

    x: int
    y: int


@frozen(kw_only=True)
class Screenshot(Model):
    """An image of the screen.

    Attributes:
        data: the image file's bytes; the service sends a JPEG (from its published source).
        media_type: recognised from the bytes: ``image/jpeg``, ``image/png``, or else
            ``application/octet-stream``.
    """

    data: bytes = field(repr=False)
    media_type: str

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the image to a file, which is replaced if it exists. Returns the path."""
        file = Path(path)
        file.write_bytes(self.data)
        return file


@frozen(kw_only=True)
class ActionResult(Model):
    """The result of an action. The kind of action decides which of the three attributes are set.

    Attributes:
        output: what the action printed; for a cursor position, see :func:`parse_cursor_position`.
        error: what the action printed to standard error although it succeeded.
        screenshot: the image of a screenshot.
    """

    output: str | None = None
    error: str | None = None
    screenshot: Screenshot | None = None


_SIGNATURES: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))
_CURSOR: Final = re.compile(r"\s*X=(-?[0-9]{1,9})\s+Y=(-?[0-9]{1,9})(?:\s|$)")


def read_screenshot(base64_image: str) -> Screenshot:
    """The image in an answer, which is base64.

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
    r"""The position in the output ``X=500\nY=300\nSCREEN=0\nWINDOW=123``.

    The form is from the service's published source.

    Raises:
        DecodeError: the output has no such position.
    """
    found = _CURSOR.match(output)
    if found is None:
        raise DecodeError(f"no cursor position in {output[:120]!r}")
    return Point(int(found[1]), int(found[2]))


# The service's answers.


@frozen(kw_only=True, eq=False, repr=False)
class Reply:
    """An answer without an id. With an HTTP success it may still be an error, in two forms."""

    success: Any = None

    @property
    def refuses(self) -> bool:
        """Whether it is an error. Each class has its own ``status``, or none."""
        return self.success is False or getattr(self, "status", None) == "error"


@frozen(kw_only=True, eq=False, repr=False)
class ActionAnswer(Reply):
    """``POST /desktop/{id}/computer-action``."""

    status: Any = None
    output: str | None = None
    error: str | None = None
    base64_image: str | None = field(default=None, repr=False)

    def result(self) -> ActionResult:
        """The result of the action.

        Raises:
            DecodeError: it has neither output nor an image, or the image is not base64.
        """
        # The service always sends what was printed, even nothing (from its published source).
        if self.output is None and self.base64_image is None:
            raise DecodeError("the answer to an action has neither output nor base64_image")
        image = self.base64_image
        screenshot = None if image is None else read_screenshot(image)
        return ActionResult(output=self.output, error=self.error, screenshot=screenshot)


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class BashAnswer(Reply):
    """``POST /desktop/{id}/bash-action``."""

    status: BashStatus | None = None
    output: str | None = field(repr=False)

    def text(self) -> str:
        """What the command printed.

        Raises:
            DecodeError: it is not the answer to a command.
        """
        # Either field shows that it is. A command that printed nothing may have no output.
        if self.output is None and self.status is not BashStatus.SUCCESS:
            raise DecodeError(
                "the answer to a command has neither output nor the status of a success"
            )
        return self.output or ""


@frozen(kw_only=True, eq=False, repr=False)
class StopAnswer(Reply):
    """``POST /desktop/{id}/stop``."""

    status: DesktopStatus

    @property
    def refuses(self) -> bool:
        """Whether it is an error, or the desktop still runs. An unknown status may mean its end."""
        not_ended = (DesktopStatus.PENDING, DesktopStatus.RUNNING, DesktopStatus.ERROR)
        return self.success is False or self.status in not_ended
