"""Which calls of one provider wait for more than a second, what for, and until when.

Observers are called for each waiting call, and the log gets their number. One timer serves all of
them, because there may be thousands.
"""

from __future__ import annotations

import asyncio
import functools
import math
import weakref
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from datetime import datetime
from itertools import takewhile
from logging import Logger
from typing import Final, Self, TypeVar

from vcloud._core.bulk_run import RUN, BulkRun
from vcloud._core.log import Throttle
from vcloud._core.observe import WaitReason
from vcloud._core.observed_call import ObservedCall
from vcloud._core.waiting_report import Waiting, as_datetime, in_words

#: Seconds. A shorter wait is not reported.
LONG: Final = 1.0
#: Seconds between two checks while a call is in its first second of waiting.
GRAIN: Final = 0.1
#: Seconds between two lines of the log on the same reason. A pause of an hour makes 60 of them.
LOG_INTERVAL: Final = 60.0

#: Stands for a wait that is known to be short.
_NOTHING: Final = nullcontext()

K = TypeVar("K", bound=Hashable)

#: What a group of calls waits for, and until when at least, in monotonic seconds (None: unknown).
Cause = tuple[WaitReason, float | None]


class Wait:
    """One call that waits, while this context manager is entered.

    Args:
        group: the calls that wait together with it.
        watch: the call's observers; None: there are none.
        until: when its own wait ends, in monotonic seconds; None: when that of the group does.
        since: when it began to wait, for one that tries in between; None: when this is entered.
    """

    __slots__ = ("_run", "group", "since", "until", "watch")

    def __init__(
        self,
        group: Group,
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

    def __exit__(self, *details: object) -> None:
        self.group.remove(self)
        if self._run is not None:
            del self._run.waits[self]

    @property
    def provider(self) -> str:
        """The provider that the call is for."""
        return self.group.provider

    @property
    def reason(self) -> WaitReason:
        """What the call waits for."""
        return self.group.reason

    @property
    def is_long(self) -> bool:
        """Whether the call has waited for more than a second, or will."""
        return self in self.group.known

    @property
    def ends(self) -> float | None:
        """When the call's wait ends at the earliest, in monotonic seconds; None if unknown."""
        return self.group.until if self.until is None else self.until

    def at(self, when: float | None) -> datetime | None:
        """A monotonic time as a point in time."""
        return self.group.at(when)


class Group:
    """Calls that wait together: for one limit, or each for its own retry.

    What all of them wait for may change: first the slots are taken, then the service asks for a
    pause.

    As a context manager it is a call without observers. Such calls are only counted. All that wait
    at one moment form a batch. Calls leave in the order of their arrival, so until as many have
    left, one of that batch still waits.

    Args:
        waits: all calls of the provider that wait.
        cause: says what these wait for now.
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
        #: The calls that have not waited for long yet, in the order of their beginnings.
        self.fresh: dict[Wait, None] = {}
        #: The calls that have, or that will.
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

    def __exit__(self, *details: object) -> None:
        self._counted -= 1
        self._batch -= 1
        if not self._batch and self._counted:
            self._begin_batch()

    def _begin_batch(self) -> None:
        self._batch, self._batch_since = self._counted, self._waits.clock()

    @property
    def count(self) -> int:
        """How many calls there are."""
        return self._counted + len(self.fresh) + len(self.known)

    def is_long(self, now: float) -> bool:
        """Whether one of them has waited for more than a second, or will."""
        return bool(self.known) or (self._batch > 0 and self._exceeds(self._batch_since, now))

    @property
    def provider(self) -> str:
        """The provider that the calls are for."""
        return self._waits.provider

    def at(self, until: float | None) -> datetime | None:
        """A monotonic time as a point in time."""
        return self._waits.at(until)

    def add(self, wait: Wait) -> None:
        """A call begins to wait."""
        now = self._waits.clock()
        wait.since = min(wait.since, now)
        self.fresh[wait] = None
        if wait.watch is not None:
            # If the wait is known to be long, the observers are called now.
            self._check_reason(now)
        if wait.until is not None or (wait.watch is not None and self._exceeds(wait.since, now)):
            self._learn(wait, now)
        self._waits.set_timer(LONG)

    def date_back(self, since: float) -> None:
        """A call has waited for this since then already."""
        self._since = min(self._since, since)

    def remove(self, wait: Wait) -> None:
        """A call waits no longer."""
        if wait in self.fresh:
            del self.fresh[wait]
        else:
            del self.known[wait]

    def check(self, now: float) -> None:
        """Find the calls that have waited for more than a second by now."""
        self._check_reason(now)
        # The first that has not ends it: those behind it began later, and wait for the same.
        for wait in list(takewhile(lambda wait: self._exceeds(wait.since, now), self.fresh)):
            self._learn(wait, now)

    def due(self, now: float) -> float | None:
        """When to check again, in monotonic seconds; None: no call waits."""
        for wait in self.fresh:
            return max(wait.since, self._since) + LONG
        # For the log alone, which may be a second late.
        return now + LONG if self.count else None

    def _check_reason(self, now: float) -> None:
        reason, self.until = self._cause()
        if reason is self.reason:
            return
        self.reason, self._since = reason, now
        # The reason is new, so they have not waited for it yet.
        self.known.update(self.fresh)
        self.fresh, self.known = self.known, {}

    def _exceeds(self, since: float, now: float) -> bool:
        """Whether a call that waits since then has waited for more than a second, or will."""
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
    """The calls of one provider that wait. A call that is sent at once never comes here.

    Calls without observers are only counted.

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
        self._groups: dict[Hashable, Group] = {}
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
            watch: the call's observers; None: there are none.
        """
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(self, functools.partial(cause, key))
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
            watch: the call's observers; None: there are none.
            seconds: how long it will wait; None: unknown.
        """
        if seconds is not None and seconds <= LONG:
            return _NOTHING
        if seconds is None:
            return self.behind(reason, _forever, watch)
        group = self._groups.get(reason)
        if group is None:
            group = self._groups[reason] = Group(self, functools.partial(_forever, reason))
        return Wait(group, watch, self.clock() + seconds)

    def again(
        self, reason: WaitReason, watch: ObservedCall | None, since: float
    ) -> AbstractContextManager[object]:
        """A call that waits again after it tried and failed.

        Args:
            reason: what it waits for.
            watch: the call's observers; None: there are none.
            since: when it began to wait, in monotonic seconds.
        """
        group = self._groups.get(reason)
        if group is None:
            group = self._groups[reason] = Group(self, functools.partial(_forever, reason))
        group.date_back(since)
        return Wait(group, watch, since=since)

    def count(self, reason: WaitReason) -> int:
        """How many calls wait for this."""
        return sum(group.count for group in self._groups.values() if group.reason is reason)

    def at(self, until: float | None) -> datetime | None:
        """A monotonic time as a point in time by this machine's clock."""
        return None if until is None else as_datetime(self._wall() + max(0.0, until - self.clock()))

    def set_timer(self, seconds: float) -> None:
        """Check after so many seconds, unless that is planned already."""
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            # It is not cancelled when the last call stops waiting: the next one would have to set
            # it again. It holds neither this nor the context of the call that set it.
            me: weakref.ref[Waits] = weakref.ref(self)
            self._timer = loop.call_at(loop.time() + seconds, _check, me, context=Context())

    def check(self) -> None:
        """Report the calls that have waited for more than a second, and plan the next check."""
        self._timer = None
        now = self.clock()
        groups = [group for group in self._groups.values() if group.count]
        for group in groups:
            group.check(now)
        self._write(now, groups)
        due = [when for group in groups if (when := group.due(now)) is not None]
        if due:
            self.set_timer(min(LONG, max(GRAIN, min(due) - now)))

    def _write(self, now: float, groups: Iterable[Group]) -> None:
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
    """The cause of calls that wait for one reason, without a known end."""
    return reason, None


def _check(reference: weakref.ref[Waits]) -> None:
    waits = reference()
    if waits is not None:
        waits.check()
