from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud import InvalidArgumentError
from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.cooldown import PROBE_TIMEOUT
from vcloud._core.limits.headers import Limits, limits, retry_after
from vcloud._core.limits.windows import RateLimit
from vcloud._core.timing.server_clock import ServerClock

NOW = 1_771_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "45"}, 45.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        (
            {
                "Retry-After": "Fri, 13 Feb 2026 16:27:40 GMT",
                "Date": "Fri, 13 Feb 2026 16:26:40 GMT",
            },
            60.0,
        ),
        (
            {
                "Retry-After": "Fri, 13 Feb 2026 16:20:00 GMT",
                "Date": "Fri, 13 Feb 2026 16:26:40 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e99"}, None),
        ({}, None),
    ],
)
def test_every_form_of_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds


def test_a_date_form_counts_by_the_services_clock_not_ours() -> None:
    headers = {
        "Retry-After": "Fri, 13 Feb 2026 16:27:40 GMT",
        "Date": "Fri, 13 Feb 2026 16:26:40 GMT",
    }
    assert retry_after(headers, now=0.0) == 60.0


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
@pytest.mark.parametrize(
    "form",
    [
        "Fri Feb 13 16:27:40 2026",
        "Friday, 13-Feb-26 16:27:40 GMT",
        "Fri, 13 Feb 2026 16:27:40 -0000",
    ],
)
def test_every_form_of_a_date_is_read_alike_wherever_this_machine_is(
    form: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert (
            retry_after({"Retry-After": form, "Date": "Fri Feb 13 16:26:40 2026"}, now=NOW) == 60.0
        )
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("nonsense", ["-1", "0", "-1e6", "0.5"])
def test_a_limit_of_none_at_all_is_no_limit_that_is_known(nonsense: str) -> None:
    headers = {
        "X-RateLimit-Limit": nonsense,
        "X-RateLimit-Remaining": nonsense,
        "X-RateLimit-Reset": str(NOW),
    }
    assert limits(headers, now=NOW) == Limits(0, None, 1.0)
    bucket = Bucket()
    for _ in range(5):
        assert bucket.send()
        bucket.answer(headers)
        bucket.now += 2.0


def test_limit_headers_are_read_against_the_services_time() -> None:
    headers = {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "95",
        "X-RateLimit-Reset": "1771000030.5",
    }
    assert limits(headers, now=NOW) == Limits(95, 100, 30.5)
    assert limits({}, now=NOW) is None
    assert limits({"X-RateLimit-Remaining": "many"}, now=NOW) is None


def test_a_reset_in_whole_seconds_may_have_been_rounded_down_and_is_waited_out() -> None:
    assert limits(
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1771000030"}, now=NOW
    ) == Limits(0, None, 31.0)


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


@given(st.floats(0, 1), st.lists(st.floats(0.01, 0.4), min_size=1, max_size=40), st.floats(0, 0.3))
def test_the_services_clock_is_never_read_ahead_of_the_truth_and_comes_close(
    begin: float, steps: list[float], latency: float
) -> None:
    clock = ServerClock()
    now, seen = begin, None
    for step in steps:
        now += step
        # Stamped by a service whose clock is a thousand seconds ahead of ours, on the way for a while.
        seen = clock.read({"Date": http_date(NOW + now)}, now + latency)
        assert seen is not None
        assert seen <= NOW + now + latency + 1e-6
    assert seen is not None
    if len(steps) > 20:
        assert seen > NOW + now - 0.5


def test_a_clock_that_was_put_back_is_learnt_anew() -> None:
    clock = ServerClock()
    clock.read({"Date": http_date(NOW)}, 0.0)
    assert clock.read({"Date": http_date(NOW - 3600)}, 10.0) == NOW - 3600
    assert clock.read({}, 11.0) == NOW - 3599
    assert ServerClock().read({}, 1.0) is None


def announced(remaining: int, reset: float, limit: int | None = 100) -> dict[str, str]:
    """The headers of an answer; ``reset`` in seconds from when our Unix time is NOW."""
    headers = {
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{NOW + reset - 0.5:.1f}",
    }
    return headers if limit is None else headers | {"X-RateLimit-Limit": str(limit)}


class Bucket:
    """An allowance, and the time it is asked at; our wall clock and the service's agree."""

    def __init__(self, rule: RateLimit | None = None, expected: RateLimit | None = None) -> None:
        self.allowance = Allowance(rule, expected)
        self.now = 0.0
        #: Those under way. The one that went first ends first.
        self.numbers: deque[int] = deque()

    def send(self) -> bool:
        if self.allowance.delay(self.now) > 0:
            return False
        self.numbers.append(self.allowance.sent(self.now))
        return True

    def answer(self, headers: dict[str, str] | None = None) -> None:
        number = self.numbers.popleft()
        self.allowance.note(headers or {}, self.now, NOW + self.now - 0.5, number)
        self.allowance.ended(self.now, number)

    def lose(self) -> None:
        self.allowance.ended(self.now, self.numbers.popleft())

    def refuse(self, seconds: float, headers: dict[str, str] | None = None) -> None:
        self.allowance.pause(seconds, headers or {}, self.now, NOW + self.now - 0.5)
        self.allowance.ended(self.now, self.numbers.popleft())

    def all_at_once(self) -> int:
        count = 0
        while self.send():
            count += 1
            assert count < 10_000
        return count


def test_without_any_limit_everything_goes() -> None:
    bucket = Bucket()
    assert all(bucket.send() for _ in range(1000))


def test_an_announced_limit_is_not_passed_and_the_next_window_is_not_burst_into() -> None:
    bucket = Bucket()
    assert bucket.send()
    bucket.answer(announced(99, 60))
    assert bucket.all_at_once() == 99
    assert bucket.allowance.delay(bucket.now) == 60
    for _ in range(99):
        bucket.answer(announced(0, 60))
    bucket.now = 60
    assert bucket.all_at_once() == 100


def test_answers_that_overtake_each_other_do_not_give_back_what_was_used() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.send()
    bucket.answer(announced(7, 30, limit=10))
    bucket.answer(announced(9, 30, limit=10))
    bucket.answer(announced(8, 30, limit=10))
    assert bucket.all_at_once() <= 7


def test_others_who_use_the_same_account_are_seen_in_the_answers() -> None:
    bucket = Bucket()
    bucket.send()
    bucket.answer(announced(99, 60))
    bucket.send()
    bucket.answer(announced(40, 60))
    assert bucket.all_at_once() == 40


def test_what_the_documents_promise_holds_from_the_first_request() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer(announced(5, 60, limit=10))
    assert bucket.allowance.delay(bucket.now) > 0


def test_a_promise_that_the_service_does_not_keep_is_dropped() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


def test_a_gateways_page_without_headers_says_nothing_of_the_services_limits() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.allowance.note({}, bucket.now, NOW, good=False)
    bucket.allowance.ended(bucket.now)
    assert bucket.allowance.delay(bucket.now) > 0


def test_a_larger_limit_than_the_documents_promise_is_used() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer(announced(990, 60, limit=1000))
    assert bucket.all_at_once() == 981


def test_requests_whose_answers_never_come_do_not_stop_the_bucket_for_ever() -> None:
    bucket = Bucket(expected=RateLimit(3, 60))
    assert bucket.all_at_once() == 3
    for _ in range(3):
        bucket.allowance.ended(bucket.now)
    bucket.now = 60
    assert bucket.all_at_once() == 3


def test_what_never_reached_the_service_is_given_back() -> None:
    bucket = Bucket(expected=RateLimit(3, 60))
    assert bucket.all_at_once() == 3
    for _ in range(3):
        bucket.allowance.ended(bucket.now, counted=False)
    assert bucket.all_at_once() == 3
    ruled = Bucket(RateLimit(2, 60))
    assert ruled.all_at_once() == 2
    ruled.allowance.ended(ruled.now, counted=False)
    assert ruled.all_at_once() == 1


def test_answers_of_the_old_window_do_not_count_against_the_new_one() -> None:
    bucket = Bucket()
    bucket.send()
    bucket.answer(announced(9, 60, limit=10))
    assert bucket.all_at_once() == 9
    bucket.now = 61
    assert (
        bucket.all_at_once() == 1
    )  # nine are under way, and may be counted on either side of the turn
    for _ in range(9):
        bucket.answer(announced(0, 0, limit=10))
    assert bucket.all_at_once() == 9


def test_a_pause_stops_everyone_and_a_shorter_one_does_not_end_it() -> None:
    bucket = Bucket()
    bucket.now = 100.0
    bucket.send()
    bucket.send()
    bucket.refuse(45.0)
    bucket.now = 101.0
    bucket.refuse(1.0)
    assert bucket.allowance.delay(102.0) == 43.0


def test_after_a_pause_one_goes_ahead_and_the_others_follow_when_it_was_let_in() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.send()
    bucket.refuse(45.0)
    bucket.answer()
    bucket.answer()  # let in before the pause: that says nothing about what comes after it
    bucket.now = 45.0
    assert bucket.all_at_once() == 1
    assert bucket.allowance.delay(bucket.now) == math.inf
    bucket.refuse(10.0)
    bucket.now = 55.0
    assert bucket.all_at_once() == 1
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


@pytest.mark.parametrize("end", [Bucket.answer, Bucket.lose], ids=["answered", "lost"])
def test_what_was_sent_before_a_refusal_does_not_speak_for_the_one_that_goes_ahead(
    end: Callable[[Bucket], None],
) -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.send()
    bucket.refuse(45.0)
    bucket.now = 45.0
    assert bucket.all_at_once() == 1
    end(bucket)
    end(bucket)
    assert bucket.allowance.delay(bucket.now) == math.inf
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


def test_one_that_goes_ahead_and_is_lost_makes_room_for_another() -> None:
    bucket = Bucket()
    bucket.send()
    bucket.refuse(45.0)
    bucket.now = 45.0
    assert bucket.all_at_once() == 1
    bucket.lose()
    assert bucket.all_at_once() == 1
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


def probed(count: int) -> Bucket:
    """After a refusal so many have tried, one after the other, and none has an answer."""
    bucket = Bucket()
    bucket.send()
    bucket.refuse(45.0)
    bucket.now = 45.0
    for number in range(count):
        bucket.now += PROBE_TIMEOUT * (number > 0)
        assert bucket.all_at_once() == 1
        assert bucket.allowance.delay(bucket.now) == math.inf
    return bucket


def test_one_that_goes_ahead_and_is_silent_makes_room_for_the_next_after_two_seconds() -> None:
    bucket = probed(1)
    bucket.now += PROBE_TIMEOUT - 0.01
    assert not bucket.send()
    assert bucket.allowance.next_check(bucket.now) == pytest.approx(0.01)
    bucket.now += 0.01
    assert bucket.all_at_once() == 1
    assert bucket.allowance.delay(bucket.now) == math.inf


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_to_any_that_tried_lets_all_others_go(place: int) -> None:
    bucket = probed(3)
    bucket.numbers.rotate(-place)
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_refusal_of_any_that_tried_begins_the_next_pause(place: int) -> None:
    bucket = probed(3)
    bucket.numbers.rotate(-place)
    bucket.refuse(10.0)
    assert bucket.allowance.delay(bucket.now) == 10.0
    # Those that were sent before it do not speak for the one that goes next.
    bucket.answer()
    bucket.answer()
    bucket.now += 10.0
    assert bucket.all_at_once() == 1


def test_one_that_is_lost_makes_room_at_once_unless_a_newer_one_tries() -> None:
    bucket = probed(2)
    bucket.lose()
    assert bucket.allowance.delay(bucket.now) == math.inf
    bucket.lose()
    assert bucket.all_at_once() == 1


def test_a_configured_limit_counts_what_is_under_way_and_what_was_answered_lately() -> None:
    bucket = Bucket(RateLimit(3, timedelta(seconds=10)))
    assert bucket.all_at_once() == 3
    assert (
        bucket.allowance.delay(bucket.now) == math.inf
    )  # how long depends on when they are answered
    bucket.now = 2.0
    bucket.answer()
    assert bucket.allowance.delay(bucket.now) == 10.0
    bucket.now = 12.0
    assert bucket.all_at_once() == 1


@pytest.mark.parametrize(
    "arguments", [(0, 60), (-1, 60), (1.5, 60), (1, 0), (1, -1), (1, math.nan), (True, 60)]
)
def test_a_limit_that_makes_no_sense_is_refused(arguments: tuple[int, float]) -> None:
    with pytest.raises(InvalidArgumentError):
        RateLimit(*arguments)


class Service:
    """Counts requests in fixed windows that begin with their first, or refuses; like a provider, and on its own time."""

    def __init__(self, limit: int, length: float, grain: float) -> None:
        self.limit, self.length, self.grain = limit, length, grain
        self.ends, self.used = -math.inf, 0
        self.begins: list[float] = []
        self.refused = 0

    def take(self, now: float) -> dict[str, str]:
        if now >= self.ends:
            self.ends, self.used = now + self.length, 0
            self.begins.append(now)
        self.refused += self.used >= self.limit
        self.used += 1
        reset = NOW + self.ends
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": f"{math.floor(reset)}" if self.grain else f"{reset:.6f}",
            "Date": http_date(NOW + now),
        }


def crowd(
    allowance: Allowance,
    service: Callable[[float], dict[str, str]],
    total: int,
    at_once: int,
    latencies: list[float],
    now: float,
) -> None:
    """Simulated: no socket, no clock. Requests take a while to arrive and their answers a while to come back."""
    trip = itertools.cycle(latencies)
    sent, free = 0, at_once
    events: list[tuple[float, int, dict[str, str] | None]] = []
    while sent < total or events:
        while sent < total and free and allowance.delay(now) <= 0:
            allowance.sent(now)
            free, sent = free - 1, sent + 1
            heapq.heappush(events, (now + next(trip), sent, None))
        wake = now + allowance.delay(now) if sent < total and free else math.inf
        if not events or wake < events[0][0]:
            assert math.inf > wake > now
            now = wake
            continue
        now, number, headers = heapq.heappop(events)
        if headers is None:
            heapq.heappush(events, (now + next(trip), number, service(now)))
        else:
            allowance.note(headers, now, NOW + now)
            allowance.ended(now)
            free += 1


LATENCIES = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(1, 40),
    length=st.sampled_from([60.0, 90.0, 3600.0]),
    at_once=st.integers(1, 60),
    latencies=LATENCIES,
    grain=st.booleans(),
    known=st.booleans(),
)
def test_a_crowd_meets_no_refusal_and_uses_nine_tenths_of_what_is_allowed(
    limit: int, length: float, at_once: int, latencies: list[float], grain: bool, known: bool
) -> None:
    service = Service(limit, length, grain)
    allowance = Allowance(expected=RateLimit(limit, length) if known else None)
    if not known:
        crowd(allowance, service.take, 1, 1, latencies, 0.0)
    crowd(allowance, service.take, limit * 6, at_once, latencies, 3.0)
    assert service.refused == 0
    itself = (
        2 * max(latencies) * (limit / at_once + 1)
    )  # what the crowd needs to get one window's worth through
    if itself < length / 20:
        allowed = (service.begins[-1] - service.begins[0]) / length * limit
        assert (len(service.begins) - 1) * limit >= 0.9 * allowed


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 20), at_once=st.integers(1, 30), latencies=LATENCIES)
def test_a_configured_limit_holds_in_every_window_wherever_it_begins(
    limit: int, at_once: int, latencies: list[float]
) -> None:
    arrivals: list[float] = []

    def serve(now: float) -> dict[str, str]:
        arrivals.append(now)
        return {}

    crowd(Allowance(RateLimit(limit, 10.0)), serve, limit * 5, at_once, latencies, 0.0)
    assert all(
        later - earlier >= 10.0 - 1e-9
        for earlier, later in zip(arrivals, arrivals[limit:], strict=False)
    )
    assert arrivals[-1] <= 4 * (10.0 + 2 * max(latencies) * (limit / at_once + 2)) + 10
