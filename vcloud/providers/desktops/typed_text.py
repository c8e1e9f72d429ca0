"""A text as the actions that enter it, so that it arrives as it is and no part of it runs.

The service puts a text into a single-quoted word of a shell command, and escapes an apostrophe
wrongly: what stands between two of them would run. A text that begins with ``-`` is taken for
options. A line feed is typed as a key symbol that editors drop. A Latin-1 capital that the keyboard
lacks arrives as a small letter. All of these are therefore pressed as keys.

Source: the service's published source, and measurements with xdotool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from vcloud.errors import InvalidArgumentError
from vcloud.providers.desktops.keys import character_key

__all__ = ["LONGEST", "Entry", "check_typed", "entries"]

#: Characters in one request. The service types one in some 30 ms, is cut after 30 s, and goes on
#: typing then.
LONGEST: Final = 250
#: A line end; one character that has to be pressed (an apostrophe, a Latin-1 capital); or what is
#: typed as it is.
_PART: Final = re.compile(
    r"(?P<line_end>\r\n|\r|\n)|(?P<pressed>['\xc0-\xd6\xd8-\xde])|[^\r\n'\xc0-\xd6\xd8-\xde]+"
)
#: The control characters, without tab and line ends: no key enters them, and some do something
#: else.
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
        InvalidArgumentError: it holds a control character; the text is not repeated.
    """
    if _CONTROL.search(text):
        raise InvalidArgumentError(
            "text holds a control character, which cannot be typed: only tabs and line ends can; "
            "press() presses keys such as Escape and Delete"
        )


def entries(text: str, longest: int = LONGEST) -> Iterator[Entry]:
    """The actions that enter a text, in order; together they enter every character once.

    Args:
        text: one that :func:`check_typed` lets pass.
        longest: how many characters one action may type.
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
