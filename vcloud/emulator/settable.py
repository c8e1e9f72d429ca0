"""State that tests set: checked words and names, and errors that say what there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, overload

K = TypeVar("K", str, int)
V = TypeVar("V")
D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R")


def known_word(word: str, known: Iterable[str], name: str) -> str:
    """The word, if it is one of these.

    Raises:
        ValueError: it is not; the text has the words that there are.
    """
    words = tuple(known)
    if word in words:
        return str(word)
    hint = _near(word, words)
    raise ValueError(f"{name} must be one of {', '.join(words)}, not {word!r:.80}{hint}")


def seconds_of(value: timedelta | float, name: str) -> float:
    """A duration of 0 or more, in seconds.

    Raises:
        ValueError: it is not one.
    """
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {value!r:.80}")
    if not math.isfinite(found) or found < 0:
        raise ValueError(f"{name} must be 0 or more, not {value!r:.80}")
    return float(found)


def check_keywords(callee: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keywords that a function does not take.

    Raises:
        TypeError: one is not known; the text has the nearest, and all that there are.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise TypeError(
                f"{callee} got an unexpected keyword argument {name!r:.80}{_near(name, names)}; "
                f"it takes {', '.join(names)}"
            )


def naming_nearest(function: Callable[P, R]) -> Callable[P, R]:
    """The same constructor; an argument that it does not take is answered with the nearest."""

    @wraps(function)
    def checked(*args: P.args, **given: P.kwargs) -> R:
        known = list(signature(function).parameters)[1:]
        check_keywords(f"{type(args[0]).__name__}()", given, known)
        return function(*args, **given)

    return checked


def _near(name: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), known, 1)
    return f" (did you mean {near[0]}?)" if near else ""


class Settable:
    """An object whose attributes tests set. A wrong name is an AttributeError with the right one.

    Attributes:
        other_names: names from the API, and the attributes that they have here.
        words: for attributes that hold one of some words, these words.
    """

    __slots__ = ()

    other_names: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, Iterable[str]]] = {}

    # Type checkers know the attributes; these would hide a wrong one from them.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise self._no_attribute(name)

        def __setattr__(self, name: str, value: object) -> None:
            if not (name.startswith("_") or hasattr(type(self), name)):
                raise self._no_attribute(name)
            if name in self.words:
                known_word(value, self.words[name], name)
            object.__setattr__(self, name, value)

    def _no_attribute(self, name: str) -> AttributeError:
        kind = type(self)
        known = [one for one in dir(kind) if not one.startswith("_")]
        other = self.other_names.get(name)
        hint = f" (it is {other!r} here)" if other else _near(name, known)
        return AttributeError(f"{kind.__name__!r} has no attribute {name!r}{hint}")


class _Lookup(dict[K, V]):
    """Things by their id. An id of the other kind, text or number, finds them too."""

    def _own(self, key: object) -> K | None:
        """The key in the form that it has here."""
        raise NotImplementedError

    def __missing__(self, key: object) -> V:
        own = self._own(key)
        if own is not None and dict.__contains__(self, own):
            return self[own]
        ids = [str(one) for one in self]
        shown = ", ".join(ids[:10]) + (", ..." if len(ids) > 10 else "")
        raise KeyError(f"{key!r:.80}: there {f'are only {shown}' if ids else 'is nothing yet'}")

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or dict.__contains__(self, self._own(key))

    @overload
    def get(self, key: str | int, default: None = None, /) -> V | None: ...
    @overload
    def get(self, key: str | int, default: V, /) -> V: ...
    @overload
    def get(self, key: str | int, default: D, /) -> V | D: ...
    def get(self, key: str | int, default: object = None, /) -> object:
        """What has this id, else the default."""
        return self[key] if key in self else default  # noqa: SIM401 - this is get

    if TYPE_CHECKING:

        def __getitem__(self, key: str | int) -> V: ...


class ById(_Lookup[str, V]):
    """Things whose id is text."""

    def _own(self, key: object) -> str | None:
        return str(key) if isinstance(key, int) else None


class ByNumber(_Lookup[int, V]):
    """Things whose id is a number; clients have it as text."""

    def _own(self, key: object) -> int | None:
        return _number(key)


def _number(key: object) -> int | None:
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() else None
