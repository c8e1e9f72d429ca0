"""A rate budget that several processes share: a provider counts the account, not the process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, get_args

from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.limits.shared_budget.counter import Delay, LocalQueue
from vcloud._core.limits.shared_budget.limit import Limit
from vcloud._core.limits.shared_budget.store_access import StoreAccess, WhenAway
from vcloud._core.limits.shared_budget.stores import counters
from vcloud._core.limits.windows import RateLimit
from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud._core.timing.clock import monotonic
from vcloud._core.wrong_arguments import explained
from vcloud.errors import ConfigurationError, ConnectError

if TYPE_CHECKING:
    from limits.aio.storage import Storage

#: Seconds after which a new number of waiting requests is reported to the store. Requests often
#: come, and are cancelled, one by one within a short time.
_REPORT_DELAY: Final = 0.05
#: Seconds between two reports while requests wait for long.
_REPORT_INTERVAL: Final = 1.0


class SharedBudget(Secretive):
    """Counts configured rate limits in a store, together with other processes that use the same.

    ::

        budget = SharedBudget("redis://localhost:6379")
        Endpoint(auth=..., rate_limits=[RateLimit(600, per=60)], shared_budget=budget)

    It counts a moving window: no more than the limit in *any* ``per`` seconds, so never twice the
    limit around the end of a minute. A second is added to the window, because this counts requests
    when they leave and the service counts them when they arrive, some later than others. That
    leaves 98 % of a minute. A request that was admitted counts even if it is cancelled before it is
    sent. Processes that share a limit must configure the same numbers. A limit that the service
    announces itself (StreamSpace) needs no store: its answers count all processes.

    **In Redis** (5 or newer, or Valkey) a script counts, by the server's clock. The clocks of the
    processes do not matter: it is harmless if one is wrong or is set. If the server's own clock is
    set back, no request waits longer than one window for it. If it is set forward, at most the
    count of one window is forgotten.

    Processes take turns, so each gets the same share of a limit that is used up. It does not matter
    how fast a process asks, or how many of its requests wait. A process that comes later gets up to
    eight turns for one until it has caught up, but at most one limit. Waiting requests have places
    in a queue in the server. A request that is cancelled leaves the queue. A process that does not
    come back within a second of its turn, because it was killed, loses its places. Stops for a
    caller that was cancelled, and for a client that closes, go ahead of the calls of all processes.

    **Other stores** count with the `limits` library, by the wall clock of each process. These
    clocks must agree: after one was set back, requests are refused or wait too long. They serve the
    process that asks first, and no process has a guaranteed share.

    One budget may be used in several event loops and threads at once, and after a fork. Each loop
    has its own connections, which are closed with the clients of that loop.

    A store is *away* if it cannot be reached, does not count, or does not answer within 5 seconds
    (2 for requests that can continue without it). This process also counts its own requests, so it
    keeps the limit even if the store has lost its data. In Redis one call of an event loop asks for
    each limit, and the others wait behind it. At most 10 requests of one event loop ask a store at
    once.

    Stops for a caller that was cancelled, and for a client that closes, go ahead of all others of
    this process. They continue without a store that is away, counted in this process alone,
    whatever ``when_away`` says. The logger ``vcloud.budget`` gets one WARNING when requests begin
    to continue without the store, and one INFO when it answers again.

    Args:
        store: a Redis address (``redis://``, ``rediss://``, ``unix://``; needs
            ``vcloud-sdk[redis]``), another address that the `limits` library knows,
            ``async+memory://``, which counts within this process, or one of that library's asyncio
            storages, which is then yours to close and serves one event loop at a time.
        account: the name of the budget. Processes that use the same name share it.
        when_away: what happens to calls while the store is away.

            - ``"fail"``: the store is asked again as the endpoint's :class:`~vcloud.RetryPolicy`
              says, ``attempts`` times in all. Then the call ends with a
              :class:`~vcloud.ConnectError`, and nothing was sent.
            - ``"unshared"``: they continue, counted in this process alone, so that several
              processes together may exceed the limit. The store is asked again each second, and
              counts again when it answers.

    Raises:
        ConfigurationError: the libraries are not installed, the address is invalid, the store
            cannot count moving windows, or ``when_away`` is another word.
    """

    @concealing
    @explained("SharedBudget")
    def __init__(
        self, store: str | Storage, *, account: str = "default", when_away: WhenAway = "fail"
    ) -> None:
        if when_away not in get_args(WhenAway):
            raise ConfigurationError(f"when_away must be 'fail' or 'unshared', not {when_away!r}")
        failure: ConfigurationError | None = None
        try:
            self._store = StoreAccess(counters(store), account, when_away)
        except ConfigurationError as error:
            failure = error
        if failure is not None:
            # Reporters of errors print the variables of frames, and an address may hold a password.
            del store
            failure.__context__ = None
            raise failure.with_traceback(None)

    async def acquire(
        self,
        provider: str,
        rule: RateLimit,
        max_wait: float,
        *,
        urgent: bool = False,
        waiting: Callable[[], int] | None = None,
    ) -> None:
        """Wait until one more request may be sent, and count it.

        Args:
            provider: the provider that has the limit.
            rule: the limit.
            max_wait: seconds for which the limit may be used up.
            urgent: the request ends something that costs money. It goes ahead of all others that
                wait for the same limit; in Redis ahead of those of other processes, too. While the
                store is away it is counted in this process alone, whatever ``when_away`` says. A
                WARNING says so, once for each absence of the store.
            waiting: if this request asks on behalf of others: returns how many of them could be
                sent now, including this one. Processes share Redis' limits by these numbers.

        Raises:
            WaitTooLongError: the limit is used up for longer.
            ConnectError: the store is away.
            ConfigurationError: the store is an object that another event loop uses.
        """
        limit = self._store.limit(provider, rule)
        counter = self._store.counter()
        if counter is None or not counter.takes_turns:
            await self._wait(limit, max_wait, urgent=urgent)
            return
        queue = counter.queue((*limit.name, limit.requests, limit.length, urgent))
        queue.check(max_wait)
        failures = queue.failures
        # An urgent request behind others counts as urgent at once. The first one counts as urgent
        # only when the limit makes it wait.
        behind = urgent and queue.busy
        with self._counted_as_waiting(limit, waiting, urgent=urgent, behind=behind):
            try:
                async with queue.first(max_wait):
                    optional = self._store.may_continue_without(urgent=urgent)
                    if queue.failures > failures and not optional:
                        # The first one found the store away. The others need not ask one by one.
                        raise ConnectError(queue.failure)
                    await self._wait(limit, max_wait, urgent=urgent, queue=queue, behind=behind)
            except (asyncio.CancelledError, WaitTooLongError):
                self._store.give_up_places_later(counter, limit, _REPORT_DELAY)
                raise

    async def aclose(self) -> None:
        """Close this event loop's idle connections, if this budget made them.

        The next use makes new ones.
        """
        await self._store.aclose()

    @contextlib.contextmanager
    def _counted_as_waiting(
        self, limit: Limit, waiting: Callable[[], int] | None, *, urgent: bool, behind: bool
    ) -> Iterator[None]:
        """Count a request among those that wait for a limit."""
        one = 0 if urgent or waiting is not None else 1
        with self._store.lock:
            limit.calls += one
            limit.urgent += behind
            if waiting is not None and not urgent:
                limit.groups.append(waiting)
        try:
            yield
        finally:
            with self._store.lock:
                limit.calls -= one
                limit.urgent -= behind
                if waiting is not None and not urgent:
                    limit.groups.remove(waiting)

    async def _wait(
        self,
        limit: Limit,
        max_wait: float,
        *,
        urgent: bool,
        queue: LocalQueue | None = None,
        behind: bool = False,
    ) -> None:
        """Ask until the request is counted. ``behind``: it is counted as urgent already."""
        marked = behind
        try:
            while (delay := await self._store.take(limit, max_wait, urgent=urgent)).retry_in:
                now = monotonic()
                if queue is not None:
                    queue.set_used_up(delay.used_up)
                if delay.used_up > max_wait:
                    raise WaitTooLongError(delay.used_up)
                if urgent:
                    with self._store.lock:
                        limit.urgent += not marked
                        limit.urgent_at = now + delay.retry_in
                    marked = True
                await self._sleep(limit, delay)
        except ConnectError as error:
            if queue is not None:
                queue.failures += 1
                queue.failure = str(error)
            raise
        finally:
            if marked and not behind:
                with self._store.lock:
                    limit.urgent -= 1

    async def _sleep(self, limit: Limit, delay: Delay) -> None:
        """Sleep until it is time to ask again, or to report another number of waiting requests."""
        ends = monotonic() + delay.retry_in
        step = _REPORT_DELAY if delay.queued else delay.retry_in
        while (left := ends - monotonic()) > 0:
            await asyncio.sleep(min(left, step))
            if delay.queued and limit.waiting() != limit.reported:
                return
            step = _REPORT_INTERVAL
