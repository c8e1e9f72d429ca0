"""What to write instead of a name that does not exist: the nearest names, from the real ones.

The names are taken from signatures, fields and classes, so nothing here has to follow a change of
a model. The words below are the only table: words that people use for the same thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from vcloud.errors import ConfigurationError
from vcloud.errors.text import printable, shortened

if TYPE_CHECKING:
    from inspect import Signature

__all__ = [
    "VOCABULARY",
    "WrongArgumentsError",
    "call_mistake",
    "check_keywords",
    "did_you_mean",
    "explained_as",
    "explaining",
    "guided_constructor",
    "joined",
    "nearest",
    "same_thing",
    "shown_name",
    "unknown_keyword",
    "words_of",
]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

#: Characters of a wrong name that are compared and shown.
MAX_NAME: Final = 60
#: Names that a message offers.
MAX_OFFERED: Final = 3
#: The shortest wrong name that is looked for inside of others.
MIN_PART: Final = 4
#: How alike two names must be, from 0 to 1, as difflib counts.
ALIKE: Final = 0.75

#: Words for one thing, by what most people would type.
_GROUPS: Final = (
    "state status phase",
    "url uri link href host endpoint server",
    "stop shutdown terminate kill halt close end poweroff",
    "delete remove destroy",
    "start launch boot resume poweron",
    "bash shell run exec execute command cmd",
    "hibernate suspend pause sleep",
    "refresh reload fetch get update sync",
    "list all iter",
    "find search lookup query",
    "count number num amount times clicks",
    "lifetime duration ttl expires expiry timeout timelimit",
    "password secret passwd pwd",
    "login username user",
    "auth token credentials key apikey",
    "dict json asdict dump serialize",
    "created creation creating",
    "retry retries attempts",
    "limit limits ratelimit max maximum",
    "concurrency parallel parallelism workers connections",
    "verify ssl tls cert",
)
_GROUP_OF: Final = {word: line.split(" ", 1)[0] for line in _GROUPS for word in line.split()}
#: All these words: what people type who do not know the name.
VOCABULARY: Final = (
    *_GROUP_OF,
    *[
        "model_dump",
        "as_dict",
        "wait",
        "wait_for",
        "left_click",
        "right_click",
        "click_mouse",
        "move_mouse",
        "drag_mouse",
        "type_text",
        "press_key",
        "press_keys",
        "take_screenshot",
    ],
)
#: Words that say little: they neither make two names alike nor different.
_FILLERS: Final = frozenset({"a", "at", "by", "for", "is", "model", "of", "on", "the", "to"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_WORD: Final = re.compile(r"[^a-z0-9]+")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case: ``createdAt`` and ``created_at`` are the same."""
    return tuple(filter(None, _NOT_IN_WORD.split(_CAMEL.sub("_", name[:MAX_NAME]).lower())))


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known names that somebody who wrote ``name`` may have meant, the likeliest first.

    Args:
        name: the wrong name.
        known: the names that there are. One with dots is a path: ``user.email``.
    """
    rated = [(_likeness(name, one), -place, one) for place, one in enumerate(known)]
    rated = sorted([one for one in rated if one[0] > 0], reverse=True)
    # Names that are much less likely than the best would only distract.
    return tuple([one for rate, _, one in rated if rate > rated[0][0] - 0.15][:MAX_OFFERED])


def _likeness(name: str, known: str) -> float:
    """How likely it is that one name was meant by the other: 0 for not at all, at most 3."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - only a mistake needs it

    ours, theirs = words_of(name), words_of(known)
    literal, others = set(ours) - _FILLERS, set(theirs) - _FILLERS
    spelt_alike = "".join(ours) == "".join(theirs)
    if spelt_alike or (literal and set(map(_singular, literal)) == set(map(_singular, others))):
        return 3.0 if spelt_alike else 2.5
    # All words of the one are words of the other: status and friendly_status.
    if literal and (literal <= others or (others and others <= literal)):
        return 2.0 + 0.1 * len(literal & others) / len(literal | others)
    same = {_group(word) for word in ours if word not in _FILLERS}
    others = {_group(word) for word in theirs if word not in _FILLERS}
    if same and same == others:
        return 2.0
    shared = same & others
    if shared and shared in (same, others):
        return 1.0 + len(shared) / len(same | others)
    name, known = "".join(ours), "".join(theirs)
    if len(name) >= MIN_PART and name in known:
        return 1.0
    ratio = SequenceMatcher(None, name, known).ratio()
    return ratio if ratio >= ALIKE else 0.0


def same_thing(name: str, word: str) -> bool:
    """Whether a name is a word that people use for the same thing as ``word``."""
    words = words_of(name)
    return len(words) == 1 and _GROUP_OF.get(words[0]) == _GROUP_OF[word]


def _group(word: str) -> str:
    """The first word of the group that this one is in; else the word itself, in the singular."""
    singular = _singular(word)
    return _GROUP_OF.get(word) or _GROUP_OF.get(singular, singular)


def _singular(word: str) -> str:
    return f"{word[:-3]}y" if word.endswith("ies") else word.removesuffix("s")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest names, as a part of a message; empty when none is near."""
    return _question(nearest(name, known))


def _question(near: Sequence[str]) -> str:
    return f"did you mean {joined(near, 'or')}?" if near else ""


def joined(names: Sequence[str], last: str = "and") -> str:
    """Names as a list in a sentence: ``x, y and z``."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def shown_name(name: object) -> str:
    """A wrong name as a message shows it."""
    return repr(printable(shortened(str(name), MAX_NAME)))


class WrongArgumentsError(ConfigurationError, TypeError):
    """An unknown keyword, or a missing argument. Python's own error for these is a TypeError."""


# -- keywords and positions ------------------------------------------------------------------------


def unknown_keyword(callee: str, name: str, known: Iterable[str]) -> str:
    """The message for a keyword that a callable does not take: the nearest ones, and all.

    Args:
        callee: what was called, such as ``Endpoint``.
        name: the wrong keyword.
        known: the keywords that it takes.
    """
    names = tuple(known)
    takes = f"{callee} takes {joined(names) if names else 'no arguments'}"
    question = did_you_mean(name, names)
    return (
        f"{callee} has no argument {shown_name(name)}: {f'{question} ' if question else ''}{takes}"
    )


def check_keywords(callee: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keywords that a constructor or a method does not take.

    Args:
        callee: what was called, such as ``Endpoint``.
        given: the keywords of the call.
        known: the keywords that it takes.

    Raises:
        ConfigurationError: one of them is unknown. The text has the nearest ones, and all.
    """
    names = tuple(known)
    for name in given:
        if name not in names:
            raise ConfigurationError(unknown_keyword(callee, name, names))


def call_mistake(
    signature: Signature, callee: str, args: Sequence[object], kwargs: Iterable[str]
) -> str | None:
    """What is wrong with the arguments of a call, and what to write; None if they fit.

    It shows no value, which may be a secret.

    Args:
        signature: of what was called.
        callee: its name.
        args: the positional arguments.
        kwargs: the names of the keyword arguments.
    """
    call = _Call(signature, callee, len(args), tuple(kwargs))
    if any(one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL) for one in call.parameters):
        return None
    return call.unknown() or call.by_position() or call.twice() or call.missing()


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

    def unknown(self) -> str | None:
        """A keyword that is not an argument."""
        for name in self._given:
            if name not in self._names:
                return unknown_keyword(self._callee, name, self._names)
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


def _mistake_of(
    function: Callable[..., object], callee: str, args: Sequence[object], kwargs: Iterable[str]
) -> str | None:
    """What is wrong with the arguments of a method, ``self`` among them."""
    from inspect import Signature, signature  # noqa: PLC0415 - only a mistake needs it

    _, *rest = signature(function).parameters.values()
    return call_mistake(Signature(rest), callee, args[1:], kwargs)


def explaining(
    function: Callable[P, R], callee: str, *, error: type[Exception] = TypeError
) -> Callable[P, R]:
    """The same function, whose error for arguments that do not fit says what to write.

    The signature stays. An error that the function itself raises stays, too.

    Args:
        function: a method, a coroutine function among them, or the ``__init__`` of a class. Its
            first argument is ``self``.
        callee: how the message names it.
        error: the class of that error.
    """
    if iscoroutinefunction(function):

        @wraps(function)
        async def explained_later(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return await function(*args, **kwargs)
            except TypeError:
                if (said := _mistake_of(function, callee, args, kwargs)) is None:
                    raise
            args, kwargs = (), {}  # type: ignore[assignment]  # as below
            raise error(said)

        return explained_later  # type: ignore[return-value]

    @wraps(function)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError:
            if (said := _mistake_of(function, callee, args, kwargs)) is None:
                raise
        # A variable of a frame may be printed, and an argument may be a secret.
        args, kwargs = (), {}  # type: ignore[assignment]
        # Outside of the handler: Python's own words would stand above these.
        raise error(said)

    return explained


def explained_as(
    callee: str, error: type[Exception] = TypeError
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """:func:`explaining`, as a decorator."""
    return lambda function: explaining(function, callee, error=error)


def guided_constructor(error: type[Exception] = TypeError) -> Callable[[C], C]:
    """A decorator of classes: arguments that do not fit are answered with what to write.

    Args:
        error: what is raised for them.
    """

    def decorate(cls: C) -> C:
        cls.__init__ = explaining(cls.__init__, cls.__name__, error=error)  # type: ignore[misc]
        return cls

    return decorate
