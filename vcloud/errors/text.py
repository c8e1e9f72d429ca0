"""Texts from outside, made safe to print.

The words of a service, a gateway, a handler or a file may hold characters that act on a terminal,
forge lines of a log or reverse a text. Data keeps them; printed text goes through
:func:`printable`. Imports nothing of the package, so that its errors can use it.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

__all__ = ["MAX_WORD", "printable", "shortened", "word"]

#: Characters of a service's id, state or other name in an error's text. A UUID has 36.
MAX_WORD: Final = 200

_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    r"""The text on one line, with a visible escape for each unprintable character.

    Escaped are control characters (such as those that begin ANSI and OSC sequences), format
    characters (bidirectional overrides, zero-width ones), line and paragraph separators, lone
    surrogates, and characters that Unicode has not assigned. The escapes are those of Python:
    ``\\n``, ``\\x1b``, ``\\u202e``. The result can be encoded as UTF-8.

    Args:
        text: any text. A printable text is returned as it is.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or category(one) == "Zs" else _escaped(one) for one in text
    )


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    point = ord(character)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def shortened(text: str, most: int = 1000) -> str:
    """A text from outside, of bounded length.

    Args:
        text: any text.
        most: characters that are kept. A longer text is followed by its length.
    """
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def word(name: object) -> str:
    """An id, a state or another name from outside, for use within an error's text.

    Args:
        name: the name; an object other than a string is shown as ``str`` shows it.
    """
    return shortened(name if isinstance(name, str) else str(name), MAX_WORD)
