"""Cancellations that came before anything of a request was sent."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

# On the exception itself, which every frame passes on: a subclass would not do, because
# asyncio.timeout of Python 3.11 compares the class.
_MARK: Final = "_vcloud_unsent"


def mark_unsent(stopped: CancelledError, awaited: str) -> None:
    """Say that a request was given up before its connection was there.

    Args:
        stopped: the cancellation.
        awaited: what did not come about, in words.
    """
    setattr(stopped, _MARK, awaited)


def unsent(error: BaseException | None) -> str | None:
    """What did not come about before this gave up a request; None: it may have been sent.

    Args:
        error: a cancellation, or a ``TimeoutError`` that was made of one.
    """
    if isinstance(error, TimeoutError) and isinstance(error.__cause__, CancelledError):
        error = error.__cause__
    awaited: str | None = getattr(error, _MARK, None)
    return awaited
