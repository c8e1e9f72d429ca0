"""The loggers of the SDK. Their records are printable, whatever texts they contain."""

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
    """The logger of this name. Each of its records is one line, with a printable traceback.

    A record that needs no escaping keeps its format and arguments, so that tools can group by them,
    and its traceback is left to the formatters of the handlers.

    Args:
        name: such as ``vcloud.computers``.
    """
    made = logging.getLogger(name)
    made.addFilter(_PRINTABLE)  # adds it once
    return made


class Throttle:
    """Admits one log record of a kind in each interval, and counts the others.

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
            how many were suppressed since the last one; None: this one is suppressed too.
        """
        if now < self._next:
            self._suppressed += 1
            return None
        self._next = now + self._interval
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class _Printable(logging.Filter):
    """Escapes the message of a record, and the texts of exceptions in its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (shown := printable(message)) != message:
            record.msg, record.args = shown, None
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            found = TracebackException.from_exception(error)
            text = _traceback(found, printable)
            if text != _traceback(found, str):
                # Formatters use it instead of the traceback (logging.Formatter.format).
                record.exc_text = text
        return True


_PRINTABLE: Final = _Printable()


def _traceback(found: TracebackException, show: Callable[[str], str]) -> str:
    """A traceback as Python prints it, with each text passed through ``show``."""
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
        # An exception is one text, however many lines it has; a note is one text for each line.
        for text in one.format_exception_only():
            yield show(text.removesuffix("\n"))
        for inner in one.exceptions or ():
            yield from (f"  | {line}" for line in _lines(inner, show))
        if leads_to:
            yield from ("", leads_to, "")
