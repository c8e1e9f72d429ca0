"""Which calls of one provider wait for more than a second, what for, and until when."""

from __future__ import annotations

import asyncio
import functools
import math
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from datetime import UTC, datetime
from itertools import takewhile
from logging import Logger
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from vcloud._core.bulk_run import RUN, BulkRun
from vcloud._core.log import Throttle
from vcloud._core.observe import WaitReason
from vcloud._core.observed_call import ObservedCall

#: Seconds. A shorter wait is nothing to speak of.
LONG: Final = 1.0
#: Seconds between two looks while there is a call whose first second has not passed. One timer
#: serves all calls that wait, because there may be thousands.
GRAIN: Final = 0.1
#: Seconds between two lines on the same reason. A pause of an hour makes 60 of them.
LOG_INTERVAL: Final = 60.0

#: Stands for a wait that is known to be short.
_NOTHING: Final = nullcontext()

K = TypeVar("K", bound=Hashable)

#: What a group of calls waits for, and until when at least, in monotonic seconds (None: unknown).
Cause = tuple[WaitReason, float | None]


class Waiting(NamedTuple):
    """Calls of one provider that wait for the same reason."""

    provider: str
    reason: WaitReason
    #: How many there are.
    calls: int
    #: When the first of them may go on; None when nobody knows.
    until: datetime | None


class Wait:
    """One call that waits, while this context manager is entered.

    Args:
        group: those that wait together with it.
        watch: who hears of the call; None: nobody.
        until: when its own wait ends, in monotonic seconds; None: when that of the group does.
        since: when it began to wait, for one that tries in between; None: when this is entered.
    """

    __slots__ = ("_run", "group", "since", "until", "watch")

    def __init__(
        self,
        group: _Group,
        watch: ObservedCall | None,
        until: float | None = None,
        since: float | None = None,
    ) -> None:
        self.group = group
        self.watch = watch
        self.until = until
        self.since = math.inf if since is None else since
        self._run: BulkRun | None = None

    def __enter__(self) -> Self:
        self.group.add(self)
        run = RUN.get()
        if run is not None and run.shown:
            self._run = run
            run.waits[self] = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.group.remove(self)
        if self._run is not None:
            del self._run.waits[self]


class _Group:
    """Calls that wait together: behind one limit, or each for its own repeat.

    What all of them wait for may change: the slots are taken, then the service asks for a pause.

    As a context manager it stands for one of those of which nobody wants to hear. They are only
    counted. All that are there at some moment are a batch; until as many have left, one that was
    there then still waits, because they leave in the order of their arrival.
    """

    __slots__ = (
        "_batch",
        "_batch_since",
        "_cause",
        "_counted",
        "_since",
        "_waits",
        "fresh",
        "known",
        "reason",
        "until",
    )

    def __init__(self, waits: Waits, cause: Callable[[], Cause]) -> None:
        self._waits = waits
        self._cause = cause
        self.reason, self.until = cause()
        #: When the reason was first seen.
        self._since = waits.clock()
        #: Those that have not waited for long, in the order of their beginnings.
        self.fresh: dict[Wait, None] = {}
        #: Those that have, or that will.
        self.known: dict[Wait, None] = {}
        #: How many are only counted; how many of a batch are left, and since when it waits.
        self._counted = self._batch = 0
        self._batch_since = 0.0

    def __enter__(self) -> Self:
        self._counted += 1
        if not self._batch:
            self._begin_batch()
            self._waits.set_timer(LONG)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._counted -= 1
        self._batch -= 1
        if not self._batch and self._counted:
            self._begin_batch()

    def _begin_batch(self) -> None:
        self._batch, self._batch_since = self._counted, self._waits.clock()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._counted + len(self.fresh) + len(self.known)

    def is_long(self, now: float) -> bool:
        """Whether one of them has waited for long, or will."""
        return bool(self.known) or (self._batch > 0 and self._exceeds(self._batch_since, now))

    @property
    def provider(self) -> str:
        """Whose calls these are."""
        return self._waits.provider

    def at(self, until: float | None) -> datetime | None:
        """A monotonic time as a point in time."""
        return self._waits.at(until)

    def add(self, wait: Wait) -> None:
        """One begins to wait."""
        now = self._waits.clock()
        wait.since = min(wait.since, now)
        self.fresh[wait] = None
        if wait.watch is not None:
            # Whoever is to hear of it hears of it now, if it is known that it will be long.
            self._look_again(now)
        if wait.until is not None or (wait.watch is not None and self._exceeds(wait.since, now)):
            self._learn(wait, now)
        self._waits.set_timer(LONG)

    def date_back(self, since: float) -> None:
        """Somebody has waited for this since then already."""
        self._since = min(self._since, since)

    def remove(self, wait: Wait) -> None:
        """It waits no longer."""
        if wait in self.fresh:
            del self.fresh[wait]
        else:
            del self.known[wait]

    def look(self, now: float) -> None:
        """Find those that have waited for long by now."""
        self._look_again(now)
        # Those behind the first that has not, began later, and wait for the same.
        for wait in list(takewhile(lambda wait: self._exceeds(wait.since, now), self.fresh)):
            self._learn(wait, now)

    def due(self, now: float) -> float | None:
        """When to look again, in monotonic seconds; None: nobody waits."""
        for wait in self.fresh:
            return max(wait.since, self._since) + LONG
        # For the log alone, which may come a second later.
        return now + LONG if self.count else None

    def _look_again(self, now: float) -> None:
        reason, self.until = self._cause()
        if reason is self.reason:
            return
        self.reason, self._since = reason, now
        # What they wait for now, they have not waited for yet.
        self.known.update(self.fresh)
        self.fresh, self.known = self.known, {}

    def _exceeds(self, since: float, now: float) -> bool:
        """Whether who waits since then has waited for long, or will."""
        began = max(since, self._since)
        return now - began >= LONG or (self.until is not None and self.until - began > LONG)

    def _learn(self, wait: Wait, now: float) -> None:
        del self.fresh[wait]
        self.known[wait] = None
        if wait.watch is not None:
            until = self.until if wait.until is None else wait.until
            count = self._waits.count(self.reason)
            wait.watch.queued(self.reason, now - wait.since, self.at(until), count)


class Waits:
    """The calls of one provider that wait. Observers hear of each, the log of how many there are.

    Only calls that wait come here. Where nobody wants to hear of each, they are only counted.

    Args:
        provider: its name.
        log: its logger.
        clock: monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(
        self,
        provider: str,
        log: Logger,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.provider = provider
        self.clock = clock
        self._wall = wall
        self._log = log
        self._groups: dict[Hashable, _Group] = {}
        self._throttles = {reason: Throttle(LOG_INTERVAL) for reason in WaitReason}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def behind(
        self, key: K, cause: Callable[[K], Cause], watch: ObservedCall | None
    ) -> AbstractContextManager[object]:
        """A call that waits together with others, for what may change meanwhile.

        Args:
            key: names what they wait for.
            cause: says what it is, and until when.
            watch: who hears of the call.
        """
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self, functools.partial(cause, key))
        if watch is not None and not watch.hears_of_waits:
            watch = None
        if watch is None and ((run := RUN.get()) is None or not run.shown):
            return group
        return Wait(group, watch)

    def for_reason(
        self, reason: WaitReason, watch: ObservedCall | None = None, seconds: float | None = None
    ) -> AbstractContextManager[object]:
        """A call that waits for one reason.

        Args:
            reason: what it waits for.
            watch: who hears of the call.
            seconds: how long it will wait; None: nobody knows.
        """
        if seconds is not None and seconds <= LONG:
            return _NOTHING
        if seconds is None:
            return self.behind(reason, _forever, watch)
        group = self._groups.get(reason)
        if group is None:
            group = self._groups[reason] = _Group(self, functools.partial(_forever, reason))
        return Wait(group, watch, self.clock() + seconds)

    def again(
        self, reason: WaitReason, watch: ObservedCall | None, since: float
    ) -> AbstractContextManager[object]:
        """A call that goes on to wait after it tried in vain.

        Args:
            reason: what it waits for.
            watch: who hears of the call.
            since: when it began to wait, in monotonic seconds.
        """
        group = self._groups.get(reason)
        if group is None:
            group = self._groups[reason] = _Group(self, functools.partial(_forever, reason))
        group.date_back(since)
        return Wait(group, watch, since=since)

    def count(self, reason: WaitReason) -> int:
        """How many calls wait for this."""
        return sum(group.count for group in self._groups.values() if group.reason is reason)

    def at(self, until: float | None) -> datetime | None:
        """A monotonic time as a point in time by this machine's clock."""
        return None if until is None else as_datetime(self._wall() + max(0.0, until - self.clock()))

    def set_timer(self, seconds: float) -> None:
        """Look after so many seconds, unless that is planned already."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            # It is not cancelled when nobody waits any more: the next call that waits would have to
            # set it again. It holds neither this nor the context of the call that set it.
            me: weakref.ref[Waits] = weakref.ref(self)
            self._timer = loop.call_at(loop.time() + seconds, _ring, me, context=Context())

    def ring(self) -> None:
        """Look who waits, tell those who want to know, and plan the next look."""
        self._timer = None
        now = self.clock()
        groups = [group for group in self._groups.values() if group.count]
        for group in groups:
            group.look(now)
        self._write(now, groups)
        due = [when for group in groups if (when := group.due(now)) is not None]
        if due:
            self.set_timer(min(LONG, max(GRAIN, min(due) - now)))

    def _write(self, now: float, groups: Iterable[_Group]) -> None:
        """One line for each reason, unless it had one less than a minute ago."""
        for reason in dict.fromkeys(group.reason for group in groups if group.is_long(now)):
            if self._throttles[reason].admit(now) is None:
                continue
            ends = [
                until
                for group in groups
                if group.reason is reason
                for until in (group.until, *(wait.until for wait in group.known))
                if until is not None
            ]
            until = self.at(min(ends, default=None))
            found = Waiting(self.provider, reason, self.count(reason), until)
            self._log.info("%s", in_words(found))


def _forever(reason: WaitReason) -> Cause:
    """The cause of those that wait for one reason, nobody knows until when."""
    return reason, None


def _ring(reference: weakref.ref[Waits]) -> None:
    waits = reference()
    if waits is not None:
        waits.ring()


def as_datetime(at: float) -> datetime | None:
    """A time in Unix seconds as a datetime; None where there is none so far away."""
    try:
        return datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def summary(waits: Iterable[Wait]) -> list[Waiting]:
    """How many calls wait for what, without those that may not wait for a second.

    Args:
        waits: those that wait.
    """
    counts: Counter[tuple[str, WaitReason]] = Counter()
    ends: dict[tuple[str, WaitReason], tuple[float, _Group]] = {}
    for wait in waits:
        group = wait.group
        if wait not in group.known:
            continue
        key = group.provider, group.reason
        counts[key] += 1
        until = group.until if wait.until is None else wait.until
        if until is not None and (key not in ends or until < ends[key][0]):
            ends[key] = until, group
    return [
        Waiting(*key, count, ends[key][1].at(ends[key][0]) if key in ends else None)
        for key, count in counts.items()
    ]


#: What a person reads.
_WORDS: Final = {
    WaitReason.SLOT: "a free slot (concurrency)",
    WaitReason.RATE_LIMIT: "the rate limit",
    WaitReason.PAUSE: "a pause that the service asked for",
    WaitReason.LOGIN: "a login",
    WaitReason.RETRY: "the next attempt",
    WaitReason.SHARED_BUDGET: "the shared budget",
    WaitReason.DESCRIPTORS: "free file descriptors or ports",
}


def in_words(waiting: Waiting) -> str:
    """Who waits for what: ``computers: 40 calls wait for a free slot (concurrency)``."""
    one = waiting.calls == 1
    calls = "1 call waits" if one else f"{waiting.calls} calls wait"
    until = "" if waiting.until is None else f", until at least {waiting.until:%H:%M:%S} UTC"
    return f"{waiting.provider}: {calls} for {_WORDS[waiting.reason]}{until}"


def briefly(waiting: Waiting) -> str:
    """The same for a progress bar: ``computers: 40 wait for a free slot (concurrency)``."""
    wait = "waits" if waiting.calls == 1 else "wait"
    until = "" if waiting.until is None else f" until {waiting.until:%H:%M:%S} UTC"
    return f"{waiting.provider}: {waiting.calls} {wait} for {_WORDS[waiting.reason]}{until}"
