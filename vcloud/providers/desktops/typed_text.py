"""Splits a text into actions, so that it arrives unchanged and no part of it runs as a command.

The service puts a text into a single-quoted word of a shell command, and escapes apostrophes
wrongly: the text between two of them would run. A text that begins with ``-`` would be taken for
options. A line feed is typed as a key symbol that editors drop. A Latin-1 capital that the keyboard
does not have arrives as a small letter. So all of these are pressed as keys.

Source: the service's published source, and measurements with xdotool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from vcloud.errors import InvalidArgumentError
from vcloud.providers.desktops.keys import character_key

__all__ = ["MAX_CHARACTERS", "Entry", "check_typed", "entries"]

#: Characters in one request. The service needs some 30 ms for each. After 30 s its gateway cuts the
#: request off, but the service continues typing.
MAX_CHARACTERS: Final = 250
#: A line end; one character that must be pressed (an apostrophe, a Latin-1 capital); or text that
#: can be typed.
_PART: Final = re.compile(
    r"(?P<line_end>\r\n|\r|\n)|(?P<pressed>['\xc0-\xd6\xd8-\xde])|[^\r\n'\xc0-\xd6\xd8-\xde]+"
)
#: The control characters except tab and line ends. No key enters them, and some have side effects.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Entry(NamedTuple):
    """One of the actions that enter a text.

    Attributes:
        characters: how many characters of the text it enters.
        text: what it types; empty when it presses keys.
        keys: what it presses, for :class:`PressKeys`.
    """

    characters: int
    text: str = ""
    keys: str = ""


def check_typed(text: str) -> None:
    """Refuse a text that no keyboard can enter.

    Raises:
        InvalidArgumentError: it has a control character. The message does not contain the text.
    """
    if _CONTROL.search(text):
        raise InvalidArgumentError(
            "text must not have control characters other than tabs and line ends: they cannot be "
            "typed; press() presses keys such as Escape and Delete"
        )


def entries(text: str, longest: int = MAX_CHARACTERS) -> Iterator[Entry]:
    """The actions that enter a text, in order; together they enter every character once.

    Args:
        text: one that :func:`check_typed` accepts.
        longest: the number of characters that one action may type.
    """
    for part in _PART.finditer(text):
        if part["line_end"]:
            yield Entry(len(part[0]), keys="Return")
        elif part["pressed"]:
            yield Entry(1, keys=character_key(part[0]))
        else:
            yield from _typed(part[0], longest)


def _typed(text: str, longest: int) -> Iterator[Entry]:
    at = 0
    while at < len(text):
        if text[at] == "-":
            yield Entry(1, keys="minus")
            at += 1
        else:
            piece = text[at : at + longest]
            yield Entry(len(piece), text=piece)
            at += len(piece)
