"""What the text of an error is made of.

Imports no more of the package than its texts, so that its errors can use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final
from weakref import WeakSet

from vcloud.errors.text import printable, shortened

__all__ = ["MAX_TEXT", "MAX_URL", "UNKNOWN", "adds", "escaping", "short_number"]

#: Part of the text of every error with ``outcome_unknown``.
UNKNOWN: Final = "whether the service carried it out is unknown, so look before you repeat it"
#: Characters of an error's text, and of each note. What a service says in them is shorter; this is
#: for what would be forgotten, and for the names of many machines.
MAX_TEXT: Final = 16 * 1024
#: Characters of ``APIError.url``: an id of the service's may be in it.
MAX_URL: Final = 2000


#: Functions that give an error's text or repr as :func:`printable` shows it.
_ESCAPING: Final[WeakSet[Callable[[Any], str]]] = WeakSet()


def escaping(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same text or repr of an error, as it may be printed."""
    if show in _ESCAPING:
        return show

    @wraps(show)
    def shown(error: Any) -> str:
        return printable(show(error))

    _ESCAPING.add(shown)
    return shown


def short_number(code: int | str | None) -> int | str | None:
    """A code as it is, or the beginning of one that no service counts to, as a text."""
    if isinstance(code, int) and code.bit_length() > 64:
        return shortened(hex(code), 40)
    return code


_WORD: Final = re.compile(r"\w+")
#: Words without which a meaning says the same.
_FILLERS: Final = frozenset({"a", "an", "are", "for", "in", "is", "it", "of", "the", "this", "was"})


def adds(meaning: str, message: str) -> bool:
    """Whether the meaning of a code says something that the service's own words do not."""
    said = set(_WORD.findall(message.lower()))
    return not said >= set(_WORD.findall(meaning.lower())) - _FILLERS
