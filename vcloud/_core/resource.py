"""Handles: what one acts through. A fetched resource is its handle plus its fields."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from collections.abc import Collection as Many
from copy import deepcopy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

import attrs
import msgspec

from vcloud._core.arguments import member, positive_seconds, seconds_from_zero
from vcloud._core.decoding.plain_json import loads
from vcloud._core.endpoint import TIMEOUT
from vcloud._core.timing.polling import PollTimeoutError, poll_until
from vcloud.errors import (
    ConfigurationError,
    DecodeError,
    InvalidArgumentError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.errors.text import shortened, word

if TYPE_CHECKING:
    from vcloud._core.scalars import OpenEnum
    from vcloud._core.session import Session

H = TypeVar("H", bound="Handle")
S = TypeVar("S", bound=str)

#: The answer that an object came in, shared by all objects of a page, and the steps down to this one.
Origin = tuple[bytes, *tuple[str | int, ...]]


class _HandleType(type):
    """Lets :func:`attrs.evolve` give handles that keep their client.

    evolve makes the new object from the fields alone, and the client is none of them: as a field it
    would be decoded, compared, printed and pickled. evolve has no hook either, so its frame is
    asked what it copies.
    """

    if not TYPE_CHECKING:  # a checker should see the constructor of each class

        def __call__(cls, *args: object, **fields: object) -> object:
            made = super().__call__(*args, **fields)
            caller = sys._getframe(1)
            if caller.f_code is _EVOLVE:
                session = getattr(caller.f_locals.get("inst"), "_owner_session", None)
                if session is not None:
                    set_session(made, session)
            return made


_EVOLVE: Final = attrs.evolve.__code__


class Handle(metaclass=_HandleType):
    """Something at a provider that can be acted upon. Immutable; equality is that of its fields.

    Copies (``copy.copy``, ``copy.deepcopy``, ``attrs.evolve``) act through the same client. A
    handle can be pickled; what is unpickled keeps its fields, and belongs to no client.
    """

    # Not attrs fields: they are no part of what the service said, of equality or of the repr.
    __slots__ = ("_origin", "_owner_session")

    #: The fields that hold other resources, where a provider's answers nest them.
    nested: ClassVar[tuple[str, ...]] = ()

    @property
    def _session(self) -> Session:
        try:
            return self._owner_session
        except AttributeError:
            # Only what was unpickled knows an answer without knowing a client.
            why = "a pickle holds no client" if hasattr(self, "_origin") else "it was made by hand"
            raise ConfigurationError(
                f"this {type(self).__name__} belongs to no client ({why}): "
                "use the client's ref(id) to act on it"
            ) from None

    @property
    def raw(self) -> dict[str, Any]:
        """What the service sent for this object, with the fields that this SDK does not know; empty for a bare handle.

        Raises:
            DecodeError: a field that this SDK does not know holds what Python has no value for, such as ``1e999``.
        """
        try:
            raw: dict[str, Any] = loads(self._own_part())
        except (msgspec.DecodeError, RecursionError) as error:
            raise DecodeError(
                f"what came for this {type(self).__name__} cannot be read as a whole: {error}"
            ) from None
        return raw

    def _own_part(self) -> bytes:
        """What the service sent for this object alone, byte for byte: the page that it came on is shared by many."""
        body, *path = getattr(self, "_origin", (b"{}",))
        for step in path:
            kind: Any = list[msgspec.Raw] if isinstance(step, int) else dict[str, msgspec.Raw]
            body = loads(body, kind)[step]
        return bytes(body)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        fields = {field.name: getattr(self, field.name) for field in type(self).__attrs_attrs__}
        return _restore, (type(self), fields, self._own_part())

    def __copy__(self) -> Self:
        return self._copied(lambda value: value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._copied(lambda value: deepcopy(value, memo))

    def _copied(self, copied: Callable[[Any], Any]) -> Self:
        made = type(self).__new__(type(self))
        for field in type(self).__attrs_attrs__:
            object.__setattr__(made, field.name, copied(getattr(self, field.name)))
        for name in Handle.__slots__:
            if hasattr(self, name):
                object.__setattr__(made, name, getattr(self, name))
        return made

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]]
        _owner_session: Session
        _origin: Origin


# The slots' own setters: attrs freezes the classes, and this runs for each of a page's objects.
set_session: Callable[[Handle, Session], None] = Handle.__dict__["_owner_session"].__set__
set_origin: Callable[[Handle, Origin], None] = Handle.__dict__["_origin"].__set__


def bind(handle: H, session: Session) -> H:
    """Give a handle the session that it acts through."""
    set_session(handle, session)
    return handle


def _restore(cls: type[Handle], fields: dict[str, object], body: bytes) -> Handle:
    handle = cls.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(handle, name, value)
    set_origin(handle, (body,))
    return handle


class Collection:
    """The things of one kind at one provider."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._session.base_url}>"


def stated(state: S | None, name: str) -> S:
    """The state that an answer was asked for.

    Raises:
        DecodeError: the answer leaves it out.
    """
    if state is None:
        raise DecodeError(f"the answer is not what the contract says: it has no {name}")
    return state


async def wait_until(
    refresh: Callable[[], Awaitable[H]],
    state_of: Callable[[H], str],
    wanted: str | Many[str],
    *,
    states: type[OpenEnum],
    hopeless: Many[str] = (),
    timeout: timedelta | float,
    poll: timedelta | float,
    clock: Callable[[], float],
    what: str,
    hide: Callable[[str], str] = str,
    attempt: float = TIMEOUT,
) -> H:
    """Poll until the state is one of ``wanted``; the one polling function of the SDK.

    When time is up and the last answer is older than ``poll``, because the process stood still for
    example, it looks once more (:func:`~vcloud._core.timing.polling.poll_until`).

    Args:
        refresh: fetches the resource.
        state_of: reads its state.
        wanted: the state or states to wait for.
        states: those there are. A text that is none of them is taken for a slip; to wait for a state that the service
            has and this SDK does not know, give ``states(text)``.
        hopeless: states from which none of the wanted ones is reached.
        timeout: for the whole wait, 0 or more; seconds or timedelta. With 0 the resource is fetched once.
        poll: the polling interval; seconds or timedelta.
        clock: monotonic seconds.
        what: names the resource in errors.
        hide: takes secrets out of a state that an error shows.
        attempt: seconds for the look after time is up.

    Raises:
        InvalidArgumentError: there is no such state, a timeout below 0, or a polling interval that is not above 0.
        WaitTimeout: time is up. If the look after that failed, its error is the cause.
        WaitFailed: it is in a state from which none of the wanted ones is reached.
    """
    goals = _goals(wanted, states)
    what = shortened(what)
    names = " or ".join(sorted(goals))
    pause, patience = positive_seconds(poll, "poll"), seconds_from_zero(timeout, "timeout")
    last: str | None = None

    async def look() -> H | None:
        nonlocal last
        resource = await refresh()
        last = state_of(resource)
        if last in goals:
            return resource
        if last in hopeless:
            raise WaitFailed(f"{what} is {word(last)} and will not become {names}", last=last)
        return None

    if not patience:
        # A single request, which has its own time limit.
        if (resource := await look()) is not None:
            return resource
        last = last if last is None else hide(last)
        raise WaitTimeout(f"{what} is {word(last)}, not {names}", last=last)
    try:
        return await poll_until(look, timeout=patience, poll=pause, attempt=attempt, clock=clock)
    except PollTimeoutError as late:
        why = late.__cause__
    last = last if last is None else hide(last)
    seen = f"it was still {word(last)}" if last is not None else "its state was never seen"
    text = f"{what} did not become {names} within {patience:g} s: {seen}"
    raise WaitTimeout(text, last=last) from why


def _goals(wanted: str | Many[str], states: type[OpenEnum]) -> frozenset[str]:
    try:
        given = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    except TypeError:
        raise InvalidArgumentError(f"wait_until needs a state or several, not {wanted!r}") from None
    if not given:
        raise InvalidArgumentError("wait_until needs at least one state")
    return frozenset([member(state, states, "state") for state in given])
