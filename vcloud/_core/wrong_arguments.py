"""Arguments that do not fit: the error names the argument that was meant, or what to write.

Python's own error names neither. All of it runs after a call has failed, so a call that fits pays
one more frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from vcloud._core.suggestions import did_you_mean, joined, shown_name
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from inspect import Signature

__all__ = [
    "WrongArgumentsError",
    "call_mistake",
    "check_keywords",
    "explained",
    "explained_constructor",
    "unknown_keyword",
]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class WrongArgumentsError(ConfigurationError, TypeError):
    """An unknown keyword, or a missing argument. Python's own error for these is a TypeError."""


def unknown_keyword(
    callee: str, name: str, known: Iterable[str], instead: Mapping[str, str] = _NOTHING
) -> str:
    """The message for a keyword that a callable does not take: the nearest ones, and all.

    Args:
        callee: what was called, such as ``Endpoint``.
        name: the wrong keyword.
        known: the keywords that it takes.
        instead: by a wrong keyword, what to do instead of giving it.
    """
    said = f"{callee} has no argument {shown_name(name)}"
    if name in instead:
        return f"{said}: {instead[name]}"
    names = tuple(known)
    question = did_you_mean(name, names)
    takes = joined(names) if names else "no arguments"
    return f"{said}: {f'{question} ' if question else ''}{callee} takes {takes}"


def check_keywords(
    callee: str,
    given: Iterable[str],
    known: Iterable[str],
    instead: Mapping[str, str] = _NOTHING,
) -> None:
    """Refuse keywords that a callable does not take, where it takes ``**options``.

    Args:
        callee: what was called, such as ``Endpoint``.
        given: the keywords of the call.
        known: the keywords that it takes.
        instead: by a wrong keyword, what to do instead of giving it.

    Raises:
        WrongArgumentsError: one of them is unknown.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise WrongArgumentsError(unknown_keyword(callee, name, names, instead))


def call_mistake(
    signature: Signature,
    callee: str,
    args: Sequence[object],
    kwargs: Iterable[str],
    instead: Mapping[str, str] = _NOTHING,
) -> str | None:
    """What is wrong with the arguments of a call, and what to write; None if they fit.

    It shows no value, which may be a secret.

    Args:
        signature: of what was called.
        callee: its name.
        args: the positional arguments.
        kwargs: the names of the keyword arguments.
        instead: by a wrong keyword, what to do instead of giving it.
    """
    call = _Call(signature, callee, len(args), tuple(kwargs))
    if any(one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL) for one in call.parameters):
        return None
    return call.unknown(instead) or call.by_position() or call.twice() or call.missing()


class _Call:
    """A call whose arguments do not fit."""

    def __init__(
        self, signature: Signature, callee: str, count: int, given: tuple[str, ...]
    ) -> None:
        self.parameters = tuple(signature.parameters.values())
        self._callee = callee
        self._count = count
        self._given = given
        self._names = tuple(one.name for one in self.parameters)
        self._positional = tuple(
            one.name for one in self.parameters if one.kind is not one.KEYWORD_ONLY
        )

    def unknown(self, instead: Mapping[str, str]) -> str | None:
        """A keyword that is not an argument."""
        for name in self._given:
            if name not in self._names:
                return unknown_keyword(self._callee, name, self._names, instead)
        return None

    def by_position(self) -> str | None:
        """More positional arguments than it takes."""
        if self._count <= len(self._positional):
            return None
        left = [name for name in self._names if name not in self._given]
        if self._count > len(left):
            takes = f"takes {joined(self._names)} only" if self._names else "takes no arguments"
            return f"{self._callee} {takes}: {self._count} were given by position"
        meant = left[: self._count]
        named = [name for name in meant if name not in self._positional]
        return f"{self._callee} takes {joined(named)} by name: write {self._written(meant)}"

    def twice(self) -> str | None:
        """An argument that was given by position and by name."""
        names = [name for name in self._positional[: self._count] if name in self._given]
        return f"{self._callee} got {joined(names)} by position and by name" if names else None

    def missing(self) -> str | None:
        """Arguments without a default that were not given."""
        filled = {*self._given, *self._positional[: self._count]}
        required = [one.name for one in self.parameters if one.default is one.empty]
        missing = [name for name in required if name not in filled]
        if not missing:
            return None
        wanted = [name for name in self._names if name in filled or name in missing]
        return f"{self._callee} needs {joined(missing)}: write {self._written(wanted)}"

    def _written(self, names: Sequence[str]) -> str:
        parts = [f"{name}=..." for name in names]
        return f"{self._callee}({', '.join(parts)})"


def explained(
    callee: str,
    *,
    error: type[Exception] = WrongArgumentsError,
    instead: Mapping[str, str] = _NOTHING,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of methods: arguments that do not fit are answered with what to write.

    The signature stays. An error that the method itself raises stays, too. It is for methods that
    no request passes: each call has one more frame.

    Args:
        callee: what is called, as the message names it.
        error: the class of the error.
        instead: by a wrong keyword, what to do instead of giving it.
    """

    def mistake(function: Callable[..., object], args: Any, kwargs: Any) -> str | None:
        from inspect import Signature, signature  # noqa: PLC0415 - only a mistake needs it

        _, *rest = signature(function).parameters.values()
        return call_mistake(Signature(rest), callee, args[1:], kwargs, instead)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                try:
                    return await function(*args, **kwargs)
                except TypeError:
                    if (said := mistake(function, args, kwargs)) is None:
                        raise
                args, kwargs = (), {}  # type: ignore[assignment]  # as below
                raise error(said)

            return awaited  # type: ignore[return-value]

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except TypeError:
                if (said := mistake(function, args, kwargs)) is None:
                    raise
            # A variable of a frame may be printed, and an argument may be a secret.
            args, kwargs = (), {}  # type: ignore[assignment]
            # Outside of the handler: Python's own words would stand above these.
            raise error(said)

        return called

    return decorate


def explained_constructor(
    callee: str,
    *,
    error: type[Exception] = WrongArgumentsError,
    instead: Mapping[str, str] = _NOTHING,
) -> Callable[[C], C]:
    """:func:`explained`, for the constructor that attrs writes for a class."""

    def decorate(cls: C) -> C:
        cls.__init__ = explained(callee, error=error, instead=instead)(cls.__init__)  # type: ignore[misc]
        return cls

    return decorate
