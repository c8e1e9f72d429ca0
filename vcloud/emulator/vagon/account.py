"""An organisation's balance, and its changes in the order of time.

No timer runs. Services register what is paid from the balance, from when until when, and what is to
happen at which time. `settle(now)` then processes these events up to `now`, in the order of time,
so that the balance is exhausted at the right time, whenever it is read.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from decimal import Decimal

from attrs import define, field

from vcloud.emulator.clock import Clock

HOUR = 3600


@define(eq=False)
class Draw:
    """Something that costs `hourly` from `start` until `end` (None: until `Account.end`)."""

    hourly: Decimal
    start: float
    end: float | None
    run_out: Callable[[float], None]
    """Called with the time at which the balance was exhausted."""


@define(eq=False)
class Account:
    """The balance of an organisation, and what is paid from it."""

    _balance: Decimal
    _clock: Clock
    funded: list[Callable[[float], None]] = field(factory=list)
    """Called with the time at which an exhausted balance was filled again."""
    _settled: float = field(init=False)
    _events: list[tuple[float, int, Callable[[float], None]]] = field(factory=list, init=False)
    _numbers: itertools.count[int] = field(factory=itertools.count, init=False)
    # A dictionary, because it keeps the order in which they began.
    _active: dict[Draw, None] = field(factory=dict, init=False)
    _hourly: Decimal = field(default=Decimal(0), init=False)
    _settling: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Begin at the clock's time."""
        self._settled = self._clock.now()

    @property
    def balance(self) -> Decimal:
        """What is left now."""
        self.settle(self._clock.now())
        return self._balance

    @balance.setter
    def balance(self, amount: Decimal) -> None:
        now = self._clock.now()
        self.settle(now)
        empty, self._balance = not self.solvent, amount
        if empty and self.solvent:
            for callback in self.funded:
                callback(now)

    @property
    def solvent(self) -> bool:
        """Whether anything was left when the account was last settled."""
        return self._balance > 0

    def at(self, time: float, do: Callable[[float], None]) -> None:
        """Call `do` with this time when the account is settled up to it."""
        heapq.heappush(self._events, (time, next(self._numbers), do))

    def draw(
        self,
        hourly: Decimal,
        start: float,
        end: float | None,
        run_out: Callable[[float], None],
    ) -> Draw | None:
        """Pay `hourly` from `start` until `end`; None if the end is before the start."""
        if end is not None and end <= start:
            return None
        draw = Draw(hourly, start, end, run_out)
        self.at(start, lambda time: self._begin(draw, time))
        if end is not None:
            self.at(end, lambda time: self._end(draw, time))
        return draw

    def end(self, draw: Draw | None, now: float) -> None:
        """End a draw now, unless it has ended."""
        if draw is not None and (draw.end is None or draw.end > now):
            draw.end = now
            self.at(now, lambda time: self._end(draw, time))

    def settle(self, now: float) -> None:
        """Process every event up to `now`."""
        if self._settling:
            return
        self._settling = True
        try:
            while True:
                due = bool(self._events) and self._events[0][0] <= now
                until = self._events[0][0] if due else now
                if not self._pay(until):
                    continue
                if not due:
                    return
                time, _, do = heapq.heappop(self._events)
                do(time)
        finally:
            self._settling = False

    def _pay(self, until: float) -> bool:
        """Pay for the time up to `until`; False if the balance was exhausted before."""
        passed = until - self._settled
        if passed <= 0:
            return True
        cost = self._cost(self._hourly, passed)
        if self._active and cost >= self._balance:
            lasted = float(max(self._balance, Decimal(0)) * HOUR / self._hourly)
            self._settled = min(self._settled + lasted, until)
            self._balance = min(self._balance, Decimal(0))
            for draw in list(self._active):
                self._stop(draw)
                draw.end = self._settled
                draw.run_out(self._settled)
            return False
        self._balance -= cost
        self._settled = until
        return True

    def _begin(self, draw: Draw, time: float) -> None:
        if draw.end is not None and draw.end <= draw.start:
            return
        if not self.solvent:
            draw.end = time
            draw.run_out(time)
            return
        # The event is in the past: its request read the clock a moment before.
        self._balance -= self._cost(draw.hourly, max(0.0, self._settled - time))
        self._active[draw] = None
        self._hourly += draw.hourly

    def _end(self, draw: Draw, time: float) -> None:
        if draw in self._active and draw.end == time:
            self._balance += self._cost(draw.hourly, max(0.0, self._settled - time))
            self._stop(draw)

    def _stop(self, draw: Draw) -> None:
        del self._active[draw]
        self._hourly -= draw.hourly

    @staticmethod
    def _cost(hourly: Decimal, seconds: float) -> Decimal:
        return hourly * Decimal(seconds) / HOUR
