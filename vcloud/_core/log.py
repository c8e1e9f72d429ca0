"""The loggers of the SDK. What they write is printable, whatever texts from outside it holds."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from traceback import TracebackException
from typing import Final

from vcloud.errors.text import printable

__all__ = ["Throttle", "printable_logger"]

_CAUSED: Final = "The above exception was the direct cause of the following exception:"
_MEANWHILE: Final = "During handling of the above exception, another exception occurred:"


def printable_logger(name: str) -> logging.Logger:
    """The logger of this name, of which every record is one line, and its traceback printable.

    A record that needs no escape keeps its format and its arguments, so that tools can group by
    them, and its traceback is left to the handlers' formatters.

    Args:
        name: such as ``vcloud.computers``.
    """
    made = logging.getLogger(name)
    made.addFilter(_PRINTABLE)  # adds it once
    return made


class Throttle:
    """Lets one record of a kind into the log in each interval, and counts those that it keeps out.

    Args:
        interval: seconds between two records.
    """

    __slots__ = ("_interval", "_next", "_suppressed")

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = -math.inf
        self._suppressed = 0

    def admit(self, now: float) -> int | None:
        """Whether a record may be written now.

        Args:
            now: monotonic seconds.

        Returns:
            how many were kept out since the last one that was written; None: this is kept out too.
        """
        if now < self._next:
            self._suppressed += 1
            return None
        self._next = now + self._interval
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class _Printable(logging.Filter):
    """Escapes the message of a record, and the texts of the exceptions in its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (shown := printable(message)) != message:
            record.msg, record.args = shown, None
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            found = TracebackException.from_exception(error)
            text = _traceback(found, printable)
            if text != _traceback(found, str):
                # Formatters take it instead of formatting the traceback (logging.Formatter.format).
                record.exc_text = text
        return True


_PRINTABLE: Final = _Printable()


def _traceback(found: TracebackException, show: Callable[[str], str]) -> str:
    """A traceback as Python prints it; each text in it is what ``show`` makes of it."""
    return "\n".join(_lines(found, show))


def _lines(found: TracebackException, show: Callable[[str], str]) -> Iterator[str]:
    chain = [(found, "")]
    while True:
        latest = chain[-1][0]
        if latest.__cause__ is not None:
            chain.append((latest.__cause__, _CAUSED))
        elif latest.__context__ is not None and not latest.__suppress_context__:
            chain.append((latest.__context__, _MEANWHILE))
        else:
            break
    for one, leads_to in reversed(chain):
        if one.stack:
            yield "Traceback (most recent call last):"
        for frame in one.stack.format():
            yield from map(show, frame.removesuffix("\n").split("\n"))
        # The text of an exception comes whole, however many lines it has; a note by its lines.
        for text in one.format_exception_only():
            yield show(text.removesuffix("\n"))
        for inner in one.exceptions or ():
            yield from (f"  | {line}" for line in _lines(inner, show))
        if leads_to:
            yield from ("", leads_to, "")
