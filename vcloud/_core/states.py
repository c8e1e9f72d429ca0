"""Waiting until a resource is in a state. All polling of resources is here."""

from __future__ import annotations

from collections import abc
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec
from attrs import define

from vcloud._core.arguments import member, positive_seconds, seconds_from_zero
from vcloud._core.endpoint import TIMEOUT
from vcloud._core.instance_state import InstanceState
from vcloud._core.resource import Handle
from vcloud._core.timing.polling import PollTimeoutError, poll_until
from vcloud._core.wrong_arguments import explained
from vcloud.errors import DecodeError, InvalidArgumentError, WaitFailed, WaitTimeout
from vcloud.errors.text import shortened, word

if TYPE_CHECKING:
    from vcloud._core.scalars import OpenEnum

H = TypeVar("H", bound=Handle)
S = TypeVar("S", bound=str)
E = TypeVar("E", bound=StrEnum)


class Lifecycle(msgspec.Struct, frozen=True):
    """The states of one kind of resource.

    Attributes:
        noun: the word for the resource in errors, such as ``machine``.
        field: the field of the fetched resource that holds its state.
        states: the enumeration of the states.
        shared: what each state is in the words that all providers share.
        terminal_states: the states that the resource never leaves.
    """

    noun: str
    field: str
    states: type[OpenEnum]
    shared: Mapping[str, InstanceState]
    terminal_states: frozenset[str] = frozenset()

    def shared_state(self, state: str | None) -> InstanceState:
        """A state in the words that all providers share."""
        unknown = InstanceState.UNKNOWN
        return unknown if state is None else self.shared.get(state, unknown)

    def terminal_shared_states(self) -> frozenset[InstanceState]:
        """The shared states of which all that they stand for are terminal."""
        left = {one for state, one in self.shared.items() if state not in self.terminal_states}
        return frozenset(self.shared.values()) - left


class Stateful(Handle, Generic[H, S]):
    """A handle of a resource with a state. ``H`` is the fetched resource, ``S`` its state."""

    __slots__ = ()

    _lifecycle: ClassVar[Lifecycle]

    async def refresh(self) -> H:
        """Fetch the resource as it is now."""
        raise NotImplementedError

    @explained("wait_until")
    async def wait_until(
        self,
        state: S | str | abc.Collection[str],
        *,
        timeout: timedelta | float = 300,
        poll: timedelta | float = 2,
    ) -> H:
        """Poll until the resource is in this state. Each poll is a :meth:`refresh`.

        Args:
            state: the state, or several of which one is enough; also an
                :class:`~vcloud.InstanceState`, which stands for every state that it is shown for.
            timeout: for the whole wait; seconds or timedelta. With 0 the resource is fetched once.
            poll: the polling interval; seconds or timedelta.

        Raises:
            InvalidArgumentError: there is no such state, a timeout is below 0, or the handle cannot
                be refreshed.
            WaitTimeout: time is up; ``last`` is the last state seen. If the last answer was older
                than ``poll`` by then, the resource was fetched once more, for as long as one
                attempt may take.
            WaitFailed: the resource is in another state, which it never leaves.
            NotFoundError: there is no such resource.
        """
        return await self._poll_until(state, self.refresh, timeout=timeout, poll=poll)

    async def _poll_until(
        self,
        state: str | abc.Collection[str],
        refresh: Callable[[], Awaitable[H]],
        *,
        timeout: timedelta | float,
        poll: timedelta | float,
    ) -> H:
        """Poll until the resource is in this state, by this function."""
        session, lifecycle = self._session, self._lifecycle
        field = lifecycle.field
        states: type[StrEnum] = lifecycle.states
        terminal_states: frozenset[str] = lifecycle.terminal_states
        in_shared_words = _in_shared_words(state)
        if in_shared_words:
            states, terminal_states = InstanceState, lifecycle.terminal_shared_states()
            _check_reachable(state, lifecycle)

        def state_of(resource: H) -> str:
            found: str = required_state(getattr(resource, field), field)
            return lifecycle.shared_state(found) if in_shared_words else found

        return await wait_until(
            refresh,
            state_of,
            state,
            states=states,
            terminal_states=terminal_states,
            timeout=timeout,
            poll=poll,
            clock=session.clock,
            hide=session.hide,
            attempt=session.attempt_timeout,
            what=self._described(),
            explain=self._explained,
        )

    def _explained(self, last: H) -> str:  # noqa: ARG002 - for those that know more
        """Why the resource may still be as it was last seen, for a wait that ran out, or ``""``."""
        return ""

    def _described(self) -> str:
        """The resource as errors name it."""
        return f"{self._lifecycle.noun} {word(self.id)}"

    if TYPE_CHECKING:
        id: str


def required_state(state: S | None, name: str) -> S:
    """The state in an answer.

    Raises:
        DecodeError: the answer has no state.
    """
    if state is None:
        raise DecodeError(f"the answer is not what the contract says: it has no {name}")
    return state


async def wait_until(
    refresh: Callable[[], Awaitable[H]],
    state_of: Callable[[H], str],
    wanted: str | abc.Collection[str],
    *,
    states: type[StrEnum],
    terminal_states: abc.Collection[str] = (),
    timeout: timedelta | float,
    poll: timedelta | float,
    clock: Callable[[], float],
    what: str,
    hide: Callable[[str], str] = str,
    attempt: float = TIMEOUT,
    explain: Callable[[H], str] = lambda last: "",
) -> H:
    """Poll until the state is one of ``wanted``.

    When time is up and the last answer is older than ``poll``, for example because the process was
    stopped, it polls once more (:func:`~vcloud._core.timing.polling.poll_until`).

    Args:
        refresh: fetches the resource.
        state_of: reads its state.
        wanted: the state or states to wait for.
        states: the enumeration of the states. Another text is refused as a mistake. To wait for a
            state that this SDK does not know, give ``states(text)``.
        terminal_states: states that the resource never leaves.
        timeout: for the whole wait, 0 or more; seconds or timedelta. With 0 the resource is fetched
            once.
        poll: the polling interval; seconds or timedelta.
        clock: monotonic seconds.
        what: names the resource in errors.
        hide: removes secrets from a state that an error shows.
        attempt: seconds for the poll after time is up.
        explain: says why the resource may still be as it was last seen; ``""``: unknown.

    Raises:
        InvalidArgumentError: there is no such state, a timeout below 0, or a polling interval that
            is not above 0.
        WaitTimeout: time is up. If the poll after that failed, its error is the cause.
        WaitFailed: the resource is in another terminal state.
    """
    goals = wanted_states(wanted, states)
    wait = _Wait(
        refresh=refresh,
        state_of=state_of,
        goals=goals,
        terminal_states=terminal_states,
        what=shortened(what),
        hide=hide,
        explain=explain,
    )
    interval, seconds = positive_seconds(poll, "poll"), seconds_from_zero(timeout, "timeout")
    if not seconds:
        # A single request has its own time limit.
        if (resource := await wait.poll()) is not None:
            return resource
        raise wait.timed_out(seconds)
    try:
        return await poll_until(
            wait.poll, timeout=seconds, poll=interval, attempt=attempt, clock=clock
        )
    except PollTimeoutError as late:
        cause = late.__cause__
    raise wait.timed_out(seconds) from cause


@define(kw_only=True)
class _Wait(Generic[H]):
    """One wait for one of several states."""

    refresh: Callable[[], Awaitable[H]]
    state_of: Callable[[H], str]
    goals: frozenset[str]
    terminal_states: abc.Collection[str]
    what: str
    hide: Callable[[str], str]
    explain: Callable[[H], str]
    #: The last state seen, and the resource that was in it.
    last: str | None = None
    seen: H | None = None

    @property
    def names(self) -> str:
        """The states that are waited for."""
        return " or ".join(sorted(self.goals))

    async def poll(self) -> H | None:
        """The resource if it is in one of the states.

        Raises:
            WaitFailed: it never will be.
        """
        resource = self.seen = await self.refresh()
        self.last = last = self.state_of(resource)
        if last in self.goals:
            return resource
        if last in self.terminal_states:
            text = f"{self.what} is {word(last)} and will not become {self.names}"
            raise WaitFailed(text, last=last)
        return None

    def timed_out(self, seconds: float) -> WaitTimeout:
        """The error for a wait of so many seconds."""
        last = None if self.last is None else self.hide(self.last)
        why = "" if self.seen is None else self.explain(self.seen)
        more = f"; {why}" if why else ""
        if not seconds:
            return WaitTimeout(f"{self.what} is {word(last)}, not {self.names}{more}", last=last)
        seen = "its state was never seen" if last is None else f"it was still {word(last)}"
        return WaitTimeout(
            f"{self.what} did not become {self.names} within {seconds:g} s: {seen}{more}", last=last
        )


def wanted_states(wanted: str | abc.Collection[str], states: type[E]) -> frozenset[E]:
    """The states to wait for.

    Raises:
        InvalidArgumentError: there is no such state, or none is given.
    """
    try:
        given = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    except TypeError:
        raise InvalidArgumentError(
            f"wait_until needs a state or several states, not {wanted!r}"
        ) from None
    if not given:
        raise InvalidArgumentError("wait_until needs at least one state")
    return frozenset([member(state, states, "state") for state in given])


def _in_shared_words(wanted: str | abc.Collection[str]) -> bool:
    """Whether all that is waited for is in the words that all providers share."""
    if isinstance(wanted, str) or not isinstance(wanted, abc.Iterable):
        return isinstance(wanted, InstanceState)
    return bool(wanted) and all(isinstance(one, InstanceState) for one in wanted)


def _check_reachable(wanted: str | abc.Collection[str], lifecycle: Lifecycle) -> None:
    """Check that one of these shared states is a state of this kind of resource.

    Raises:
        InvalidArgumentError: none is. The wait would end with its timeout.
    """
    goals = {wanted} if isinstance(wanted, str) else set(wanted)
    if goals.isdisjoint(lifecycle.shared.values()):
        has = ", ".join(dict.fromkeys(lifecycle.shared.values()))
        raise InvalidArgumentError(
            f"a {lifecycle.noun} is never {' or '.join(sorted(goals))}: it can be {has}"
        )
