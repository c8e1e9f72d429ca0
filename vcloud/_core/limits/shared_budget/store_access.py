"""How one process counts in the store of a shared budget, and alone while the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import threading
from logging import INFO, WARNING
from typing import Final, Literal
from weakref import WeakSet

from vcloud._core.limits.shared_budget.counter import (
    COUNTED,
    MARGIN,
    STORE_TIMEOUT,
    Claim,
    Counter,
    Delay,
)
from vcloud._core.limits.shared_budget.limit import Limit, Window
from vcloud._core.limits.shared_budget.stores import Counters
from vcloud._core.limits.windows import RateLimit
from vcloud._core.log import printable_logger
from vcloud._core.system_errors import describe_cause
from vcloud._core.timing.clock import monotonic
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConfigurationError, ConnectError

LOG: Final = printable_logger("vcloud.budget")

WhenAway = Literal["fail", "unshared"]

#: Seconds that a store has for its answer if requests can continue without it.
SHORT_STORE_TIMEOUT: Final = 2.0
#: Seconds after which a store that was away is asked again.
_RETRY_INTERVAL: Final = 1.0
#: Seconds for reporting that no request waits for a limit any more.
_LEAVE_TIMEOUT: Final = 1.0
#: Seconds by which two requests may differ in how long they take to arrive.
_TRAVEL_TIME: Final = 1.0
#: Seconds by which calls wait longer than urgent requests.
_URGENT_LEAD: Final = 0.02


class _NoAnswerError(TimeoutError):
    """The store did not answer in time. The text is our own."""


class StoreAccess:
    """Counts requests in a store and in this process. All event loops and threads share it.

    Args:
        counters: each event loop's access to the store; None: everything is counted here.
        account: the name of the budget.
        when_away: what happens to calls while the store is away.
    """

    def __init__(self, counters: Counters | None, account: str, when_away: WhenAway) -> None:
        self._counters = counters
        self._account = account
        self._when_away = when_away
        #: Protects what follows, and the fields of all limits. Nothing waits or logs while it holds
        #: this lock.
        self.lock = threading.Lock()
        self._limits: dict[tuple[object, ...], Limit] = {}
        self._away = False
        self._retry_at = -math.inf
        self._reason = ""
        # Whether the log has a warning that requests continue without the store.
        self._warned = False
        _IN_USE.add(self)

    def limit(self, provider: str, rule: RateLimit) -> Limit:
        """The limit of this provider and rule."""
        length = math.ceil(rule.per + _TRAVEL_TIME)
        key = (provider, rule.bucket, rule.requests, length)
        with self.lock:
            limit = self._limits.get(key)
            if limit is None:
                name = (self._account, provider, rule.bucket)
                window = Window(rule.requests, length)
                limit = self._limits[key] = Limit(rule.requests, length, name, window)
        return limit

    def counter(self) -> Counter | None:
        """The running loop's access to the store; None: everything is counted here.

        Raises:
            ConfigurationError: the store is an object that another event loop uses.
        """
        return None if self._counters is None else self._counters.here()

    def may_continue_without(self, *, urgent: bool) -> bool:
        """Whether a request is sent although the store is away."""
        return urgent or self._when_away == "unshared"

    async def take(self, limit: Limit, max_wait: float, *, urgent: bool) -> Delay:
        """Count one request if the limit allows it; how long it has to wait otherwise.

        Raises:
            ConnectError: the store is away, and the request may not continue without it.
        """
        optional = self.may_continue_without(urgent=urgent)
        while True:
            delay = self._take_here(limit, urgent=urgent)
            if delay is not None:
                return delay
            assert self._counters is not None
            counter = self._counters.here()
            # Before the store is asked: a time after its answer would leave the window later.
            now = monotonic()
            claim = limit.claim(urgent=urgent, max_wait=max_wait)
            seconds = SHORT_STORE_TIMEOUT if optional else STORE_TIMEOUT
            try:
                delay = await self._ask(counter, limit, claim, seconds)
            except counter.failures as error:
                # Without the error's text: clients of stores quote what they cannot parse, and a
                # peer that is not a store may repeat the password that it received.
                own = isinstance(error, _NoAnswerError)
                name = "TimeoutError" if own else type(error).__name__
                reason = f"{name}: {error if own else describe_cause(error)}"
            else:
                if not delay.retry_in:
                    with self.lock:
                        limit.window.take(now)
                return delay
            with self.lock:
                self._away, self._retry_at = True, monotonic() + _RETRY_INTERVAL
                self._reason = reason
            if not optional:
                raise ConnectError(f"the store of the shared budget fails ({reason})")

    def give_up_places_later(self, counter: Counter, limit: Limit, seconds: float) -> None:
        """Report to the store, in so many seconds, the limits for which no request waits any more.

        Args:
            counter: the running loop's.
            limit: one of these limits. If it has no places, nothing is reported.
            seconds: the delay.
        """
        if limit.queued and not self._away:
            counter.later(seconds, functools.partial(self._give_up_places, counter))

    async def _give_up_places(self, counter: Counter) -> None:
        with self.lock:
            limits = [limit for limit in self._limits.values() if limit.queued]
        for limit in limits:
            if limit.waiting() or limit.urgent:
                continue
            limit.queued = False
            # If this fails, the places expire.
            with contextlib.suppress(TimeoutError, *counter.failures):
                async with timeout(_LEAVE_TIMEOUT):
                    await counter.leave(limit.claim())

    async def aclose(self) -> None:
        """Give up this process's places, and close the running loop's idle connections."""
        counter = None if self._counters is None else self._counters.used_here()
        if counter is None:
            return
        try:
            await counter.end_background()
            if not self._away:
                await self._give_up_places(counter)
        finally:
            await counter.aclose()

    def _take_here(self, limit: Limit, *, urgent: bool) -> Delay | None:
        """As :meth:`take`, without the store; None: only the store can decide."""
        now = monotonic()
        with self.lock:
            if limit.urgent and not urgent:
                used_up = max(0.0, limit.urgent_at - now)
                return Delay(used_up + _URGENT_LEAD, used_up)
            if wait := limit.window.delay(now):
                return Delay(wait + MARGIN, wait + MARGIN)
            if self._counters is None:
                limit.window.take(now)
                return COUNTED
            if not self._away or not self.may_continue_without(urgent=urgent):
                return None
            due = now >= self._retry_at
            if due:
                self._retry_at = now + _RETRY_INTERVAL
                if urgent:
                    # Not in the background: such a task might outlive a loop that is about to end.
                    return None
            limit.window.take(now)
            warned, self._warned = self._warned, True
        if not warned:
            what = "requests that end machines" if self._when_away == "fail" else "requests"
            LOG.log(WARNING, _WITHOUT_STORE, self._account, self._reason, what)
        if due:
            counter = self._counters.here()
            counter.in_background(functools.partial(self._ask_again, counter, limit))
        return COUNTED

    async def _ask(self, counter: Counter, limit: Limit, claim: Claim, seconds: float) -> Delay:
        """Ask the store, which has so many seconds for its answer."""
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        try:
            async with timeout(seconds):
                delay = await counter.take(claim)
                if task.cancelling() > cancelled_before:
                    # Before Python 3.12, asyncio.wait_for loses a cancellation that arrives with
                    # the result. Storages use it, redis-py for a timeout in the address.
                    raise asyncio.CancelledError
        except TimeoutError:
            raise _NoAnswerError(f"no answer in {seconds:g} s") from None
        stays = bool(delay.retry_in) and delay.used_up <= claim.max_wait
        with self.lock:
            leaves = not stays and not claim.urgent
            limit.reported = max(0, claim.waiting - leaves)
            limit.queued = claim.waiting + claim.urgent_waiting + stays > 1
            self._away = False
            warned, self._warned = self._warned, False
        if warned:
            LOG.log(INFO, "the store of the shared budget %r answers again", self._account)
        return delay

    async def _ask_again(self, counter: Counter, limit: Limit) -> None:
        """Find out whether the store is back, by counting there a request that was counted here."""
        with contextlib.suppress(ConfigurationError, *counter.failures):
            await self._ask(counter, limit, limit.claim(), STORE_TIMEOUT)

    def forked(self) -> None:
        """Share nothing with the parent process but the store."""
        # Another thread may have held the lock when the process forked.
        self.lock = threading.Lock()
        # The waiting requests are the parent's.
        self._limits = {}
        if self._counters is not None:
            self._counters.forked()


_WITHOUT_STORE: Final = (
    "the store of the shared budget %r fails (%s): until it answers, %s continue without it, "
    "counted in this process alone"
)

#: Those that may have connections.
_IN_USE: Final[WeakSet[StoreAccess]] = WeakSet()


def _after_fork() -> None:
    for access in _IN_USE:
        access.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
