"""Marks on cancellations that came before anything of a request was sent."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

# An attribute of the exception, which every frame passes on. A subclass would not do, because
# asyncio.timeout of Python 3.11 compares the class.
_MARK: Final = "_vcloud_unsent"


def mark_unsent(stopped: CancelledError, awaited: str) -> None:
    """Mark a cancellation: the request had no connection yet.

    Args:
        stopped: the cancellation.
        awaited: what was missing, in words.
    """
    setattr(stopped, _MARK, awaited)


def unsent(error: BaseException | None) -> str | None:
    """What was missing when a request was cancelled; None: it may have been sent.

    Args:
        error: a cancellation, or a ``TimeoutError`` that was made of one.
    """
    if isinstance(error, TimeoutError) and isinstance(error.__cause__, CancelledError):
        error = error.__cause__
    awaited: str | None = getattr(error, _MARK, None)
    return awaited
