"""Calls the user's code: what it raises is logged, and affects nothing else."""

from __future__ import annotations

import logging
import traceback
import weakref
from collections.abc import Callable
from inspect import isawaitable
from typing import Final, TypeVar

from vcloud._core.log import Throttle
from vcloud._core.timing.clock import monotonic
from vcloud.errors.text import shortened

__all__ = ["FAILURE_INTERVAL", "Hook", "call_hook", "log_failure"]

T = TypeVar("T")

#: A user's function that is called with an event. It may be a coroutine function.
Hook = Callable[[T], object]

#: Seconds between two log lines about one observer or hook. It may raise for each attempt, and must
#: not fill a disk.
FAILURE_INTERVAL: Final = 60.0

_HOOK_FAILED: Final = "%s failed; its caller continues: %s%s"


async def call_hook(
    hook: Hook[T],
    value: T,
    name: str,
    logger: logging.Logger,
    clock: Callable[[], float] = monotonic,
) -> Exception | None:
    """Call a hook, and await its result if that is awaitable.

    Args:
        hook: the function.
        value: its argument.
        name: what the log calls it.
        logger: for what it raises.
        clock: monotonic seconds.

    Returns:
        what it raised, which is logged and not raised here; None when it raised nothing.
    """
    try:
        result = hook(value)
        if isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - it is the user's code
        log_failure(hook, name, error, logger=logger, now=clock(), form=_HOOK_FAILED, names=(name,))
        return error
    return None


def log_failure(
    culprit: object,
    role: str,
    error: Exception,
    *,
    logger: logging.Logger,
    now: float,
    form: str,
    names: tuple[str, ...],
) -> None:
    """Log on one line what the user's code raised, at most once a minute for each observer or hook.

    The line also has the traceback where the logger is enabled for DEBUG.

    Args:
        culprit: the observer or hook.
        role: what it was called as; one function may be several hooks.
        error: what it raised.
        logger: the provider's.
        now: monotonic seconds.
        form: the line, with a ``%s`` for each of the names, for the error, and for the number of
            failures that were not logged.
        names: for the line.
    """
    suppressed = _throttle_of(culprit, role).admit(now)
    if suppressed is None:
        return
    more = f"; {suppressed} more failures since the last such line" if suppressed else ""
    trace = error if logger.isEnabledFor(logging.DEBUG) else None
    logger.error(form, *names, _described(error), more, exc_info=trace)


#: By the identity of an observer or hook, because an observer may be unhashable, then by its role.
_THROTTLES: Final[dict[int, dict[str, Throttle]]] = {}


def _throttle_of(culprit: object, role: str) -> Throttle:
    """The throttle of an observer or hook, which all clients that have it share."""
    key = id(culprit)
    roles = _THROTTLES.get(key)
    if roles is None:
        try:
            forgotten = weakref.finalize(culprit, _THROTTLES.pop, key, None)
        except TypeError:
            # Objects with slots have no weak references: all of a class share one throttle.
            return _throttle_of(type(culprit), role)
        forgotten.atexit = False
        roles = _THROTTLES[key] = {}
    return roles.setdefault(role, Throttle(FAILURE_INTERVAL))


def _described(error: Exception) -> str:
    """What was raised, and where."""
    # Unlike str(error), this is safe if an exception's own __str__ raises.
    words = shortened("".join(traceback.format_exception_only(error)).strip())
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return words
    return f"{words} ({where.tb_frame.f_code.co_filename}:{where.tb_lineno})"
