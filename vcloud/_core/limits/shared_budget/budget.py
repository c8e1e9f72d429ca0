"""A rate budget that several processes share: a provider counts the account, not the process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator
from logging import INFO, WARNING
from typing import TYPE_CHECKING, Final, Literal, get_args
from weakref import WeakSet

from vcloud._core.connections.failures import describe_cause
from vcloud._core.limits.shared_budget.counter import (
    COUNTED,
    GRAIN,
    PATIENCE,
    Claim,
    Counter,
    Delay,
    Line,
)
from vcloud._core.limits.shared_budget.limit import Limit, Window
from vcloud._core.limits.shared_budget.stores import counters
from vcloud._core.limits.turns import TooLongError
from vcloud._core.limits.windows import RateLimit
from vcloud._core.log import printable_logger
from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConfigurationError, ConnectError

if TYPE_CHECKING:
    from limits.aio.storage import Storage

LOG: Final = printable_logger("vcloud.budget")

WhenAway = Literal["fail", "unshared"]

#: Seconds by which two requests may differ in how long they take to arrive.
_TRAVEL: Final = 1.0
#: Seconds for which a store may be silent, where there is a way to go on without it.
_SHORT_PATIENCE: Final = 2.0
#: Seconds after which a store that was away is asked again.
_ASK_AGAIN: Final = 1.0
#: Seconds by which others let the urgent ones go first.
_BEHIND: Final = 0.02
#: Seconds after which the store is told that more wait, or nobody any more: a crowd comes and is
#: cancelled one by one.
_SETTLED: Final = 0.05
#: Seconds after which it is told again while many wait long.
_TELL_AGAIN: Final = 1.0
#: Seconds that telling it may take when nobody waits any more. If it fails, the places expire.
_PARTING: Final = 1.0


class _NoAnswerError(TimeoutError):
    """A store that says nothing in time, in words of our own."""


class SharedBudget(Secretive):
    """Counts configured rate limits in a store, together with other processes that use the same.

    ::

        budget = SharedBudget("redis://localhost:6379")
        Endpoint(auth=..., rate_limits=[RateLimit(600, per=60)], shared_budget=budget)

    It counts a moving window: no more than the limit in *any* ``per`` seconds, so never twice the
    limit around the turn of a minute. A second is added to the window, because requests are counted
    when they leave and the service counts them when they arrive, some later than others; of a
    minute that leaves 98 % to use. What was let in counts even if it is cancelled before it is
    sent. Processes that share a limit must configure the same numbers. A limit that the service
    announces itself (StreamSpace) needs no store: its answers count all processes.

    **In Redis** (5 or newer, or Valkey) a script counts, by the server's clock. The clocks of the
    processes do not matter, so it is harmless when one is wrong or is put back or forward. When the
    server's own clock is put back, nobody waits longer than one window for it. When it is put
    forward, at most what one window counted is forgotten.

    Processes take turns, so each gets the same share of a limit that is used up, however fast it
    asks and however many of its requests wait. A process that comes later gets up to eight turns
    for one until it has caught up, with at most one limit. Those who wait have places in a line in
    the server. Whoever is cancelled leaves the line. A process that does not come back within a
    second of its turn, because it was killed, loses its places. Stops for a caller that was
    cancelled, and for a client that closes, go ahead of the calls of all processes.

    **Other stores** count with the `limits` library, by the wall clock of each process: these
    clocks must agree, and while one is put back, requests are refused or wait too long. There, too,
    whoever asks first goes first, and nobody has a share.

    One budget may be used in several event loops and threads at once, and after a fork. Each loop
    has connections of its own, which are closed with the clients of that loop.

    A store is *away* when it cannot be reached, does not count, or does not answer for 5 seconds (2
    where requests can go on without it). What this process lets in is counted in the process as
    well. So the process keeps the limit even if the store has lost its data. In Redis one call of
    an event loop asks for each limit, and the others wait behind it. At most 10 requests of one
    event loop ask a store at once.

    Stops for a caller that was cancelled, and for a client that closes, go ahead of all others of
    this process. They go on without a store that is away, counted in this process alone, whatever
    ``when_away`` says. The logger ``vcloud.budget`` gets one WARNING when requests begin to go on
    without the store, and one INFO when it answers again.

    Args:
        store: a Redis address (``redis://``, ``rediss://``, ``unix://``; needs
            ``vcloud-sdk[redis]``), another address that the `limits` library knows,
            ``async+memory://``, which counts within this process, or one of that library's asyncio
            storages, which is then yours to close and serves one event loop at a time.
        account: whose budget it is; those who name the same account share it.
        when_away: what becomes of requests while the store is away.

            - ``"fail"``: the store is asked again as the endpoint's :class:`~vcloud.RetryPolicy`
              says, ``attempts`` times in all. Then the call ends with a
              :class:`~vcloud.ConnectError`, and nothing was sent.
            - ``"unshared"``: they go on, counted in this process alone, so that several processes
              may pass the limit together. The store is asked again each second, and counts again
              when it answers.

    Raises:
        ConfigurationError: the libraries are not installed, the address is invalid, the store
            cannot count moving windows, or ``when_away`` is another word.
    """

    @concealing
    def __init__(
        self, store: str | Storage, *, account: str = "default", when_away: WhenAway = "fail"
    ) -> None:
        if when_away not in get_args(WhenAway):
            raise ConfigurationError(f"when_away must be 'fail' or 'unshared', not {when_away!r}")
        failure: ConfigurationError | None = None
        try:
            self._counters = counters(store)
        except ConfigurationError as error:
            failure = error
        if failure is not None:
            # Reporters of errors print the variables of frames, and an address may hold a password.
            del store
            failure.__context__ = None
            raise failure.with_traceback(None)
        self._account = account
        self._when_away = when_away
        # For what follows, which all loops and threads share. Nobody waits or logs holding it.
        self._lock = threading.Lock()
        self._limits: dict[tuple[object, ...], Limit] = {}
        self._away = False
        self._ask_at = -math.inf
        self._reason = ""
        #: Whether the log was told that requests go on without the store.
        self._told = False
        _IN_USE.add(self)

    async def acquire(
        self,
        provider: str,
        rule: RateLimit,
        patience: float,
        *,
        urgent: bool = False,
        waiting: Callable[[], int] | None = None,
    ) -> None:
        """Wait until one more request may go, and count it.

        Args:
            provider: whose limit it is.
            rule: the limit.
            patience: seconds that it may be used up for.
            urgent: the request ends something that costs money. It goes ahead of all others that
                wait for the same limit; in Redis ahead of those of other processes, too. While the
                store is away it is counted in this process alone, whatever ``when_away`` says. A
                WARNING says so, one for each absence of the store.
            waiting: where one comes here for a crowd: how many of the crowd could go now, this one
                included. It is what processes share Redis' limits by.

        Raises:
            TooLongError: it is used up for longer.
            ConnectError: the store is away.
            ConfigurationError: the store is an object that another event loop uses.
        """
        limit = self._limit(provider, rule)
        counter = None if self._counters is None else self._counters.here()
        if counter is None or not counter.takes_turns:
            await self._wait(limit, patience, urgent=urgent)
            return
        line = counter.line((*limit.name, limit.requests, limit.length, urgent))
        line.check(patience)
        failures = line.failures
        # One that finds nobody before it becomes urgent for the others when it has to wait.
        behind = urgent and line.busy
        with self._announced(limit, waiting, urgent=urgent, behind=behind):
            try:
                async with line.first(patience):
                    if line.failures > failures and not urgent and self._when_away == "fail":
                        # It was found away meanwhile. A crowd must not find out one by one.
                        raise ConnectError(line.failure)
                    await self._wait(limit, patience, urgent=urgent, line=line, behind=behind)
            except (asyncio.CancelledError, TooLongError):
                if limit.in_line and not self._away:
                    counter.later(_SETTLED, functools.partial(self._leave, counter, _PARTING))
                raise

    @contextlib.contextmanager
    def _announced(
        self, limit: Limit, waiting: Callable[[], int] | None, *, urgent: bool, behind: bool
    ) -> Iterator[None]:
        """Have one counted among those that wait."""
        one = 0 if urgent or waiting is not None else 1
        with self._lock:
            limit.calls += one
            limit.urgent += behind
            if waiting is not None and not urgent:
                limit.crowds.append(waiting)
        try:
            yield
        finally:
            with self._lock:
                limit.calls -= one
                limit.urgent -= behind
                if waiting is not None and not urgent:
                    limit.crowds.remove(waiting)

    async def _wait(
        self,
        limit: Limit,
        patience: float,
        *,
        urgent: bool,
        line: Line | None = None,
        behind: bool = False,
    ) -> None:
        """Ask until it is counted. ``behind``: it counts as urgent already."""
        ahead = behind
        try:
            while (delay := await self._take(limit, patience, urgent=urgent)).turn:
                now = monotonic()
                if line is not None:
                    line.learn(delay.used_up)
                if delay.used_up > patience:
                    raise TooLongError(delay.used_up)
                if urgent:
                    with self._lock:
                        limit.urgent += not ahead
                        limit.urgent_at = now + delay.turn
                    ahead = True
                await self._sleep(limit, delay)
        except ConnectError as error:
            if line is not None:
                line.failures += 1
                line.failure = str(error)
            raise
        finally:
            if ahead and not behind:
                with self._lock:
                    limit.urgent -= 1

    async def _sleep(self, limit: Limit, delay: Delay) -> None:
        """Until it is time to ask again, or to tell the store that another number waits."""
        ends, step = monotonic() + delay.turn, _SETTLED if delay.in_line else delay.turn
        while (left := ends - monotonic()) > 0:
            await asyncio.sleep(min(left, step))
            if delay.in_line and limit.waiting() != limit.announced:
                return
            step = _TELL_AGAIN

    async def aclose(self) -> None:
        """Close this event loop's idle connections, if they were made here.

        The next use makes new ones.
        """
        counter = None if self._counters is None else self._counters.used_here()
        if counter is None:
            return
        try:
            await counter.end_background()
            if not self._away:
                await self._leave(counter, _PARTING)
        finally:
            await counter.aclose()

    async def _leave(self, counter: Counter, patience: float) -> None:
        """Give up the places that the store keeps where nobody of this process waits any more."""
        with self._lock:
            limits = [limit for limit in self._limits.values() if limit.in_line]
        for limit in limits:
            if limit.waiting() or limit.urgent:
                continue
            limit.in_line = False
            # They expire otherwise.
            with contextlib.suppress(TimeoutError, *counter.failures):
                async with timeout(patience):
                    await counter.leave(limit.claim())

    def _limit(self, provider: str, rule: RateLimit) -> Limit:
        length = math.ceil(rule.per + _TRAVEL)
        key = (provider, rule.bucket, rule.requests, length)
        with self._lock:
            limit = self._limits.get(key)
            if limit is None:
                name = (self._account, provider, rule.bucket)
                window = Window(rule.requests, length)
                limit = self._limits[key] = Limit(rule.requests, length, name, window)
        return limit

    async def _take(self, limit: Limit, patience: float, *, urgent: bool) -> Delay:
        """Count one request if that is allowed now; how long it has to wait otherwise."""
        optional = urgent or self._when_away == "unshared"
        while True:
            delay = self._take_here(limit, urgent=urgent)
            if delay is not None:
                return delay
            assert self._counters is not None
            counter = self._counters.here()
            # Before asking, because what was counted here later than there would leave later, too.
            now = monotonic()
            claim = limit.claim(urgent=urgent, patience=patience)
            try:
                delay = await self._ask(
                    counter, limit, claim, _SHORT_PATIENCE if optional else PATIENCE
                )
            except counter.failures as error:
                # Not its own text: a client of a store quotes what it cannot parse, and a peer
                # that is no store may repeat the password that it heard.
                own = isinstance(error, _NoAnswerError)
                name = "TimeoutError" if own else type(error).__name__
                reason = f"{name}: {error if own else describe_cause(error)}"
            else:
                if not delay.turn:
                    with self._lock:
                        limit.window.take(now)
                return delay
            with self._lock:
                self._away, self._ask_at, self._reason = True, monotonic() + _ASK_AGAIN, reason
            if not optional:
                raise ConnectError(f"the store of the shared budget fails ({reason})")

    def _take_here(self, limit: Limit, *, urgent: bool) -> Delay | None:
        """The same where no store is asked; None: the store has to say."""
        now = monotonic()
        with self._lock:
            if limit.urgent and not urgent:
                used_up = max(0.0, limit.urgent_at - now)
                return Delay(used_up + _BEHIND, used_up)
            if wait := limit.window.delay(now):
                return Delay(wait + GRAIN, wait + GRAIN)
            if self._counters is None:
                limit.window.take(now)
                return COUNTED
            if not self._away or (self._when_away == "fail" and not urgent):
                return None
            due = now >= self._ask_at
            if due:
                self._ask_at = now + _ASK_AGAIN
                if urgent:
                    # Not in a task of its own, which might outlive a loop that is about to end.
                    return None
            limit.window.take(now)
            told, self._told = self._told, True
        if not told:
            who = "requests that end machines" if self._when_away == "fail" else "requests"
            LOG.log(WARNING, _GOES_ON, self._account, self._reason, who)
        if due:
            counter = self._counters.here()
            counter.in_background(functools.partial(self._ask_again, counter, limit))
        return COUNTED

    async def _ask(self, counter: Counter, limit: Limit, claim: Claim, patience: float) -> Delay:
        """What the store says, unless it is away."""
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        try:
            async with timeout(patience):
                delay = await counter.take(claim)
                if task.cancelling() > cancelled_before:
                    # Before Python 3.12, asyncio.wait_for loses a cancellation in the moment of
                    # success, and storages use it, redis-py's with a timeout in the address too.
                    raise asyncio.CancelledError
        except TimeoutError:
            raise _NoAnswerError(f"no answer in {patience:g} s") from None
        stays = bool(delay.turn) and delay.used_up <= claim.patience
        with self._lock:
            gone = not stays and not claim.urgent
            limit.announced = max(0, claim.waiting - gone)
            limit.in_line = claim.waiting + claim.urgent_waiting + stays > 1
            self._away = False
            told, self._told = self._told, False
        if told:
            LOG.log(INFO, "the store of the shared budget %r answers again", self._account)
        return delay

    async def _ask_again(self, counter: Counter, limit: Limit) -> None:
        """Find out whether the store is back, by counting there what was counted here."""
        with contextlib.suppress(ConfigurationError, *counter.failures):
            await self._ask(counter, limit, limit.claim(), PATIENCE)

    def _forked(self) -> None:
        """Share nothing with the parent process but the store."""
        # Another thread may have held it when the process forked.
        self._lock = threading.Lock()
        # Those who wait do so in the parent.
        self._limits = {}
        if self._counters is not None:
            self._counters.forked()


_GOES_ON: Final = (
    "the store of the shared budget %r fails (%s): until it answers, %s go on without it, "
    "counted in this process alone"
)

#: Those that may have connections.
_IN_USE: Final[WeakSet[SharedBudget]] = WeakSet()


def _after_fork() -> None:
    for budget in _IN_USE:
        budget._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
