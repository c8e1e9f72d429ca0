"""What must not travel."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar
from urllib.parse import quote

import msgspec

if TYPE_CHECKING:
    from vcloud._core.request import Request, Response

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

#: Where Python's own modules are.
_PYTHON: Final = os.__file__.removesuffix("os.py")
#: Characters. A shorter credential is a word like any other, and blotting it out would spoil what the service says.
_SHORTEST: Final = 8


class Secretive:
    """Something that holds a secret: it has no telling repr and cannot be pickled."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a secret and cannot be pickled: make it anew where it is needed"
        )


class Credentials(dict[str, str]):
    """Headers that prove who sends. Reporters of errors print local variables, and of these only the names."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self)})"

    #: Sentry takes any mapping apart, unless it says by this how it is shown.
    __sentry_repr__ = __repr__


def concealing(function: Callable[P, R]) -> Callable[P, R]:
    """Keep what a function is given out of the frames of whatever it raises.

    Reporters of errors (rich, ``pytest -l``, Sentry) print the variables of each frame. So an error
    leaves this function with a single frame of the SDK, which has let go of the arguments. What
    code of the user's own raises in there (an iterator, say) keeps the frames of that code.

    Args:
        function: a function, or a coroutine function, one of whose arguments may be a secret.
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
    """The same for the constructor of a class that is written by a library."""
    cls.__init__ = concealing(cls.__init__)  # type: ignore[misc]
    return cls


def _without_frames(error: BaseException, handled: BaseException | None) -> BaseException:
    """An error, and what led to it, without the frames of the SDK and its libraries.

    Args:
        error: the error.
        handled: what was handled already when the function was called: somebody else's.
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
    """The end of a traceback, from where code of the user's own was called by the SDK."""
    end = trace
    while trace is not None:
        following = trace.tb_next
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == "vcloud":
            end = following
        trace = following
    return None if end is None or _is_of_a_library(end.tb_frame.f_code.co_filename) else end


def _is_of_a_library(file: str) -> bool:
    """Whether a file is no code of the user's: Python's own, an installed package, made by attrs."""
    return (
        file.startswith(("<attrs generated", "<frozen ", _PYTHON))
        or "site-packages" in file
        or "dist-packages" in file
    )


def echoless(response: Response, request: Request, sent: Mapping[str, str]) -> Response:
    """An answer as an error may quote it: without the credentials that were sent, which some services repeat.

    Args:
        response: the answer.
        request: what was asked; its body may be a login.
        sent: the headers that it was sent with.

    Returns:
        The answer itself when it repeats nothing.
    """
    heads = "\n".join(response.headers.values())
    found = {
        form for form in _forms(request, sent) if form.encode() in response.body or form in heads
    }
    if not found:
        return response
    # Here and not above: it hardly ever happens.
    from multidict import CIMultiDict  # noqa: PLC0415

    body, headers = response.body, CIMultiDict(response.headers)
    for form in sorted(found, key=len, reverse=True):
        body = body.replace(form.encode(), b"***")
        headers = CIMultiDict((name, value.replace(form, "***")) for name, value in headers.items())
    return type(response)(response.status, headers, body)


def _forms(request: Request, sent: Mapping[str, str]) -> Iterator[str]:
    """The secrets of a request, in the forms in which a text, an address, a JSON text, or one within another may have them."""
    values = [value for name, value in sent.items() if name != "Content-Type"]
    for secret in (
        *values,
        *(value.rpartition(" ")[2] for value in values),
        *sent_secrets(request),
    ):
        if len(secret) >= _SHORTEST:
            yield quote(secret, safe="")
            for form in (secret, _escaped(secret, ascii=False), _escaped(secret, ascii=True)):
                yield form
                yield _escaped(form, ascii=True)


def _escaped(text: str, *, ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii)[1:-1]


def sent_secrets(request: Request) -> tuple[str, ...]:
    """What a request sends that must not come back in an error: the password or token in its body."""
    if not request.sensitive or request.body is None:
        return ()
    sent = msgspec.json.decode(request.body)
    return tuple(
        text for name in ("password", "token") if isinstance(text := sent.get(name), str) and text
    )


def hidden(value: Any, secrets: tuple[str, ...]) -> Any:
    """What was answered, without the secrets that were sent: a validation message may quote one."""
    if not secrets:
        return value
    if isinstance(value, dict):
        return {key: hidden(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner, secrets) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value
