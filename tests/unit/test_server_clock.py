"""How far a ``Date`` is believed: what it may shift of a rate window, and who asks then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.windows import RateLimit
from vcloud._core.timing.server_clock import TOLERANCE, ServerClock, TimeLeft, time_left

NOW = 1_771_000_000.0
HOUR = 3600.0
LENGTH = 60.0


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


def read(clock: ServerClock, at: float, ahead: float = 0.0) -> bool:
    """Whether a ``Date`` contradicts those before it: ``ahead`` of the truth, ``at`` our time."""
    clock.read({"Date": http_date(NOW + at + ahead)}, at)
    return clock.moved


@pytest.mark.parametrize("by", [-HOUR, HOUR, -23 * HOUR, 23 * HOUR, -365 * 24 * HOUR])
def test_a_date_that_contradicts_those_before_it_says_that_a_clock_was_moved(by: float) -> None:
    clock = ServerClock()
    assert [read(clock, 0.0), read(clock, 30.0)] == [False, False]
    assert [read(clock, 40.0, by), read(clock, 50.0, by)] == [True, False]
    assert read(clock, 60.0), "and back"
    clock.read({}, 61.0)
    assert not clock.moved, "an answer without a Date contradicts nothing"


def test_travel_time_and_whole_seconds_contradict_nothing() -> None:
    clock = ServerClock()
    assert not any(read(clock, float(at), -2.5 * (at % 2)) for at in range(20))


@pytest.mark.parametrize(
    ("announced", "documented", "seen", "moved", "expected"),
    [
        # What is credible is believed.
        (40.0, LENGTH, LENGTH, False, TimeLeft(40.0, uncertain=False)),
        (LENGTH + TOLERANCE, LENGTH, None, False, TimeLeft(LENGTH + TOLERANCE, uncertain=False)),
        (-10.0, LENGTH, LENGTH, False, TimeLeft(0.0, uncertain=False)),
        # A clock that was moved is believed within the window, and asked about.
        (40.0, LENGTH, LENGTH, True, TimeLeft(40.0, uncertain=True)),
        (40.0 + HOUR, LENGTH, LENGTH, True, TimeLeft(LENGTH, uncertain=True)),
        (40.0 - HOUR, LENGTH, LENGTH, True, TimeLeft(LENGTH, uncertain=True)),
        # One that was wrong from the first answer on shows by the length that is documented.
        (40.0 + HOUR, LENGTH, None, False, TimeLeft(LENGTH, uncertain=True)),
        (40.0 - HOUR, LENGTH, None, False, TimeLeft(LENGTH, uncertain=True)),
        # Where no length is documented, the longest that was seen is all there is.
        (HOUR, None, None, False, TimeLeft(HOUR, uncertain=False)),
        (HOUR, None, 20.0, False, TimeLeft(HOUR, uncertain=False)),
        (HOUR, None, 20.0, True, TimeLeft(20.0, uncertain=True)),
        (-HOUR, None, 20.0, False, TimeLeft(20.0, uncertain=True)),
        (-HOUR, None, None, False, TimeLeft(0.0, uncertain=False)),
    ],
)
def test_no_date_shifts_a_window_by_more_than_the_window_itself(
    announced: float, documented: float | None, seen: float | None, moved: bool, expected: TimeLeft
) -> None:
    assert time_left(announced, documented=documented, seen=seen, moved=moved) == expected


class World:
    """A service that counts in fixed windows of a minute, and one client that knows so.

    Its clock and that of what writes ``Date`` are two: seconds by which each is ahead of the truth.
    """

    limit = 10

    def __init__(self, *, documented: bool = True) -> None:
        self.allowance = Allowance(expected=RateLimit(self.limit, LENGTH) if documented else None)
        self.now = 0.0
        self.date_ahead = self.reset_ahead = 0.0
        self.ends, self.used, self.refused = -math.inf, 0, 0
        self.under_way: list[int] = []

    def send_all(self, most: float = math.inf) -> int:
        """Send what may go now."""
        before = len(self.under_way)
        while self.allowance.delay(self.now) <= 0 and len(self.under_way) - before < most:
            self.under_way.append(self.allowance.sent(self.now))
            assert len(self.under_way) < 10_000
        return len(self.under_way) - before

    def answer_all(self) -> None:
        numbers, self.under_way = self.under_way, []
        for number in numbers:
            self._answer(number)

    def _answer(self, number: int) -> None:
        if self.now >= self.ends:
            self.ends, self.used = self.now + LENGTH, 0
        left = self.ends - self.now
        let_in = self.used < self.limit
        self.used += let_in
        headers = {
            "Date": http_date(NOW + self.now + self.date_ahead),
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self.used),
            "X-RateLimit-Reset": f"{NOW + self.ends + self.reset_ahead:.3f}",
        }
        if let_in:
            self.allowance.note(headers, self.now, NOW + self.now, number)
        else:
            self.refused += 1
            self.allowance.pause(left, headers, self.now, NOW + self.now)
        self.allowance.ended(self.now, number)

    def turns(self, count: int) -> Iterator[int]:
        """Send and answer until no more may go, then let the time pass until some may."""
        for _ in range(count):
            sent = 0
            while now := self.send_all():
                self.answer_all()
                sent += now
            yield sent
            wait = self.allowance.delay(self.now)
            assert wait < math.inf
            assert wait <= LENGTH + TOLERANCE, (
                "no Date keeps anybody waiting for longer than a window"
            )
            self.now += max(wait, 0.001)


@pytest.mark.parametrize("documented", [True, False])
@pytest.mark.parametrize("by", [-HOUR, -23 * HOUR, HOUR, 23 * HOUR])
@pytest.mark.parametrize("who", ["the service", "its Date alone"])
def test_a_clock_of_the_service_that_is_moved_costs_a_window_and_one_refusal_at_most(
    documented: bool, by: float, who: str
) -> None:
    world = World(documented=documented)
    assert world.send_all(1) == 1
    world.answer_all()
    assert sum(world.turns(2)) >= world.limit
    world.date_ahead = by
    world.reset_ahead = by if who == "the service" else 0.0
    began, sent = world.now, sum(world.turns(12))
    assert world.refused <= 12, "one asks where the clocks contradict each other, and not a crowd"
    assert (sent - world.refused) / world.limit >= 0.4 * (world.now - began) / LENGTH - 1
    before = world.refused
    world.date_ahead = world.reset_ahead = 0.0
    assert sum(world.turns(6)) >= 3 * world.limit
    assert world.refused <= before + 1, "and none after the clocks agree again"


def test_after_a_date_far_behind_one_asks_and_the_others_follow_its_answer() -> None:
    world = World()
    assert world.send_all() == world.limit
    world.date_ahead = -HOUR
    world.answer_all()
    assert 0 < world.allowance.delay(world.now) <= LENGTH, "not for an hour"
    world.now += LENGTH
    world.date_ahead = 0.0
    assert world.send_all() == 1
    assert world.allowance.delay(world.now) == math.inf, "its answer has to come first"
    world.answer_all()
    assert world.send_all() == world.limit - 1


def test_after_a_date_far_ahead_the_limit_is_kept_and_one_asks() -> None:
    world = World()
    assert world.send_all() == world.limit
    world.date_ahead = HOUR
    world.answer_all()
    assert world.allowance.delay(world.now) > 0, "the window has not ended because a clock says so"
    world.now += LENGTH
    assert world.send_all() == 1
    world.answer_all()
    assert world.refused == 0
