"""How far a ``Date`` is trusted: its effect on a rate window, and when a request probes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.windows import RateLimit
from vcloud._core.timing.server_clock import TOLERANCE, ServerClock, TimeLeft, time_left

NOW = 1_771_000_000.0
HOUR = 3600.0
LENGTH = 60.0


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


@given(st.floats(0, 1), st.lists(st.floats(0.01, 0.4), min_size=1, max_size=40), st.floats(0, 0.3))
def test_the_estimate_of_the_services_clock_is_never_ahead_and_comes_close(
    begin: float, steps: list[float], latency: float
) -> None:
    clock = ServerClock()
    now, seen = begin, None
    for step in steps:
        now += step
        # The service's clock is ahead of ours by NOW, and its answer is on the way for a while.
        seen = clock.read({"Date": http_date(NOW + now)}, now + latency)
        assert seen is not None
        assert seen <= NOW + now + latency + 1e-6
    assert seen is not None
    if len(steps) > 20:
        assert seen > NOW + now - 0.5


def test_a_clock_that_was_set_back_is_estimated_anew() -> None:
    clock = ServerClock()
    clock.read({"Date": http_date(NOW)}, 0.0)
    assert clock.read({"Date": http_date(NOW - 3600)}, 10.0) == NOW - 3600
    assert clock.read({}, 11.0) == NOW - 3599
    assert ServerClock().read({}, 1.0) is None


def read(clock: ServerClock, at: float, ahead: float = 0.0) -> bool:
    """Whether a ``Date`` that is ``ahead`` of the true time contradicts those before it."""
    clock.read({"Date": http_date(NOW + at + ahead)}, at)
    return clock.moved


@pytest.mark.parametrize("by", [-HOUR, HOUR, -23 * HOUR, 23 * HOUR, -365 * 24 * HOUR])
def test_a_date_that_contradicts_those_before_it_shows_that_a_clock_was_set(by: float) -> None:
    clock = ServerClock()
    assert [read(clock, 0.0), read(clock, 30.0)] == [False, False]
    assert [read(clock, 40.0, by), read(clock, 50.0, by)] == [True, False]
    assert read(clock, 60.0), "and back"
    clock.read({}, 61.0)
    assert not clock.moved, "an answer without a Date contradicts nothing"


def test_travel_time_and_whole_seconds_do_not_contradict_a_date() -> None:
    clock = ServerClock()
    assert not any(read(clock, float(at), -2.5 * (at % 2)) for at in range(20))


@pytest.mark.parametrize(
    ("announced", "documented", "seen", "moved", "expected"),
    [
        # Credible headers are trusted.
        (40.0, LENGTH, LENGTH, False, TimeLeft(40.0, uncertain=False)),
        (LENGTH + TOLERANCE, LENGTH, None, False, TimeLeft(LENGTH + TOLERANCE, uncertain=False)),
        (-10.0, LENGTH, LENGTH, False, TimeLeft(0.0, uncertain=False)),
        # After a clock was set, headers are trusted within the window, and uncertain.
        (40.0, LENGTH, LENGTH, True, TimeLeft(40.0, uncertain=True)),
        (40.0 + HOUR, LENGTH, LENGTH, True, TimeLeft(LENGTH, uncertain=True)),
        (40.0 - HOUR, LENGTH, LENGTH, True, TimeLeft(LENGTH, uncertain=True)),
        # A clock that is wrong from the first answer on contradicts the documented length.
        (40.0 + HOUR, LENGTH, None, False, TimeLeft(LENGTH, uncertain=True)),
        (40.0 - HOUR, LENGTH, None, False, TimeLeft(LENGTH, uncertain=True)),
        # Without a documented length, the longest one that was seen is used.
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
    """A service that counts in fixed windows of a minute, and one client.

    The clock of the limits and the clock of ``Date`` differ: each is ahead by so many seconds.
    """

    limit = 10

    def __init__(self, *, documented: bool = True) -> None:
        self.allowance = Allowance(expected=RateLimit(self.limit, LENGTH) if documented else None)
        self.now = 0.0
        self.date_ahead = self.reset_ahead = 0.0
        self.ends, self.used, self.refused = -math.inf, 0, 0
        self.in_flight: list[int] = []

    def send_all(self, most: float = math.inf) -> int:
        """Send all requests that may be sent now."""
        before = len(self.in_flight)
        while self.allowance.delay(self.now) <= 0 and len(self.in_flight) - before < most:
            self.in_flight.append(self.allowance.sent(self.now))
            assert len(self.in_flight) < 10_000
        return len(self.in_flight) - before

    def answer_all(self) -> None:
        numbers, self.in_flight = self.in_flight, []
        for number in numbers:
            self._answer(number)

    def _answer(self, number: int) -> None:
        if self.now >= self.ends:
            self.ends, self.used = self.now + LENGTH, 0
        left = self.ends - self.now
        accepted = self.used < self.limit
        self.used += accepted
        headers = {
            "Date": http_date(NOW + self.now + self.date_ahead),
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.limit - self.used),
            "X-RateLimit-Reset": f"{NOW + self.ends + self.reset_ahead:.3f}",
        }
        if accepted:
            self.allowance.note(headers, self.now, NOW + self.now, number)
        else:
            self.refused += 1
            self.allowance.pause(left, headers, self.now, NOW + self.now)
        self.allowance.ended(self.now, number)

    def rounds(self, count: int) -> Iterator[int]:
        """Send and answer until no more may be sent, then wait until some may."""
        for _ in range(count):
            sent = 0
            while now := self.send_all():
                self.answer_all()
                sent += now
            yield sent
            wait = self.allowance.delay(self.now)
            assert wait < math.inf
            assert wait <= LENGTH + TOLERANCE, (
                "no Date makes a request wait for longer than a window"
            )
            self.now += max(wait, 0.001)


@pytest.mark.parametrize("documented", [True, False])
@pytest.mark.parametrize("by", [-HOUR, -23 * HOUR, HOUR, 23 * HOUR])
@pytest.mark.parametrize("who", ["the service", "its Date alone"])
def test_a_clock_of_the_service_that_is_set_costs_a_window_and_one_refusal_at_most(
    documented: bool, by: float, who: str
) -> None:
    world = World(documented=documented)
    assert world.send_all(1) == 1
    world.answer_all()
    assert sum(world.rounds(2)) >= world.limit
    world.date_ahead = by
    world.reset_ahead = by if who == "the service" else 0.0
    began, sent = world.now, sum(world.rounds(12))
    assert world.refused <= 12, "one request probes while the clocks contradict each other"
    assert (sent - world.refused) / world.limit >= 0.4 * (world.now - began) / LENGTH - 1
    before = world.refused
    world.date_ahead = world.reset_ahead = 0.0
    assert sum(world.rounds(6)) >= 3 * world.limit
    assert world.refused <= before + 1, "and none after the clocks agree again"


def test_after_a_date_far_behind_one_request_probes_and_the_others_follow() -> None:
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


def test_after_a_date_far_ahead_the_limit_is_kept_and_one_request_probes() -> None:
    world = World()
    assert world.send_all() == world.limit
    world.date_ahead = HOUR
    world.answer_all()
    assert world.allowance.delay(world.now) > 0, "the window has not ended because a clock says so"
    world.now += LENGTH
    assert world.send_all() == 1
    world.answer_all()
    assert world.refused == 0
