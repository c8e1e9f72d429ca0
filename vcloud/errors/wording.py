"""Parts of error messages.

Imports only ``vcloud.errors.text``, so that the errors can use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final
from weakref import WeakSet

from vcloud.errors.text import printable, shortened

__all__ = ["MAX_TEXT", "MAX_URL", "UNKNOWN", "adds", "clock", "escaping", "short_number"]

#: Part of the text of every error with ``outcome_unknown``.
UNKNOWN: Final = "whether the service carried it out is unknown, so look before you repeat it"
#: Characters of an error's text, and of each note. The words of a service are bounded where they
#: enter it; this bounds everything else, such as the names of many machines.
MAX_TEXT: Final = 16 * 1024
#: Characters of ``APIError.url``, which may hold an id from the service.
MAX_URL: Final = 2000


#: Functions whose result is printable already.
_ESCAPING: Final[WeakSet[Callable[[Any], str]]] = WeakSet()


def escaping(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same ``__str__`` or ``__repr__`` of an error, with a printable result."""
    if show in _ESCAPING:
        return show

    @wraps(show)
    def shown(error: Any) -> str:
        return printable(show(error))

    _ESCAPING.add(shown)
    return shown


def short_number(code: int | str | None) -> int | str | None:
    """A code as it is; of one with more than 64 bits the beginning, as a string."""
    if isinstance(code, int) and code.bit_length() > 64:
        return shortened(hex(code), 40)
    return code


def clock(difference: timedelta) -> str:
    """What a difference of the clocks means, which is too large to be corrected.

    Args:
        difference: by how much an answer's ``Date`` is ahead of this machine's clock.
    """
    side = "behind" if difference > timedelta() else "ahead of"
    return (
        f"this machine's clock is {abs(difference)} {side} the Date of the answer, and more than a "
        "day is not corrected: set this machine's clock, or, if it is right, find what sent that "
        "Date (a proxy?)"
    )


_WORD: Final = re.compile(r"\w+")
#: Words that do not change a meaning.
_FILLERS: Final = frozenset({"a", "an", "are", "for", "in", "is", "it", "of", "the", "this", "was"})


def adds(meaning: str, message: str) -> bool:
    """Whether the meaning of a code adds something to the service's own words."""
    said = set(_WORD.findall(message.lower()))
    return not said >= set(_WORD.findall(meaning.lower())) - _FILLERS
