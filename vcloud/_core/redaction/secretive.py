"""Keeps secrets out of reprs, pickles and the frames of tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

#: Where Python's own modules are.
_PYTHON: Final = os.__file__.removesuffix("os.py")


class Secretive:
    """An object with a secret: its repr does not show it, and it cannot be pickled or copied."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a secret and cannot be pickled or copied: "
            "make a new one where it is needed"
        )


class Credentials(dict[str, str]):
    """Headers with credentials. Their repr has the names only: error reporters print variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self)})"

    #: Sentry shows the items of any mapping, unless it has this method.
    __sentry_repr__ = __repr__


def concealing(function: Callable[P, R]) -> Callable[P, R]:
    """Keep the arguments of a function out of the frames of the errors that it raises.

    Error reporters (rich, ``pytest -l``, Sentry) print the variables of each frame. So an error
    that this function raises has a single frame of the SDK, which no longer holds the arguments.
    Errors of the user's own code (an iterator, for example) keep the frames of that code.

    Args:
        function: a function or a coroutine function, one of whose arguments may be a secret.
    """
    if iscoroutinefunction(function):

        @wraps(function)
        async def concealed(*args: P.args, **kwargs: P.kwargs) -> Any:
            handled = sys.exception()
            try:
                return await function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised again
                args, kwargs = (), {}  # type: ignore[assignment]  # cgitb wants them to be there
                raise _without_frames(error, handled)  # noqa: B904 - it is the same one

        return concealed  # type: ignore[return-value]

    @wraps(function)
    def concealed_at_once(*args: P.args, **kwargs: P.kwargs) -> R:
        handled = sys.exception()
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again
            args, kwargs = (), {}  # type: ignore[assignment]  # cgitb wants them to be there
            raise _without_frames(error, handled)  # noqa: B904 - it is the same one

    return concealed_at_once


def concealing_constructor(cls: C) -> C:
    """The same for a constructor that a library generates."""
    cls.__init__ = concealing(cls.__init__)  # type: ignore[misc]
    return cls


def _without_frames(error: BaseException, handled: BaseException | None) -> BaseException:
    """An error and its causes, without the frames of the SDK and its libraries.

    Args:
        error: the error.
        handled: the error that the caller was handling when the function was called: it keeps its
            frames.
    """
    left, seen = [error], set[int]()
    while left:
        link = left.pop()
        if link is handled or id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = _of_the_user(link.__traceback__)
        left += [one for one in (link.__cause__, link.__context__) if one is not None]
        if isinstance(link, BaseExceptionGroup):
            left += link.exceptions
    return error


def _of_the_user(trace: TracebackType | None) -> TracebackType | None:
    """The end of a traceback, from where the SDK called the user's own code."""
    end = trace
    while trace is not None:
        following = trace.tb_next
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "vcloud":
            end = following
        trace = following
    return None if end is None or _is_of_a_library(end.tb_frame.f_code.co_filename) else end


def _is_of_a_library(file: str) -> bool:
    """Whether a file is not the user's code: Python's own, an installed package, made by attrs."""
    return (
        file.startswith(("<attrs generated", "<frozen ", _PYTHON))
        or "site-packages" in file
        or "dist-packages" in file
    )
