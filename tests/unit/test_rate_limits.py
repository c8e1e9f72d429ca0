"""What a bucket may send under configured, documented and announced limits, and after a 429."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import timedelta

import pytest

from vcloud import ConfigurationError
from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.cooldown import PROBE_TIMEOUT
from vcloud._core.limits.headers import Limits, limits
from vcloud._core.limits.windows import RateLimit

NOW = 1_771_000_000.0


def announced(remaining: int, reset: float, limit: int | None = 100) -> dict[str, str]:
    """The headers of an answer; ``reset`` in seconds from when our Unix time is NOW."""
    headers = {
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{NOW + reset - 0.5:.1f}",
    }
    return headers if limit is None else headers | {"X-RateLimit-Limit": str(limit)}


class Bucket:
    """An allowance and its time. Our wall clock and the service's agree."""

    def __init__(self, rule: RateLimit | None = None, expected: RateLimit | None = None) -> None:
        self.allowance = Allowance(rule, expected)
        self.now = 0.0
        #: The requests in flight. The one that was sent first ends first.
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


@pytest.mark.parametrize("nonsense", ["-1", "0", "-1e6", "0.5"])
def test_a_limit_of_zero_or_less_is_an_unknown_limit(nonsense: str) -> None:
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


def test_without_any_limit_everything_is_sent() -> None:
    bucket = Bucket()
    assert all(bucket.send() for _ in range(1000))


def test_an_announced_limit_is_kept_in_this_window_and_in_the_next() -> None:
    bucket = Bucket()
    assert bucket.send()
    bucket.answer(announced(99, 60))
    assert bucket.all_at_once() == 99
    assert bucket.allowance.delay(bucket.now) == 60
    for _ in range(99):
        bucket.answer(announced(0, 60))
    bucket.now = 60
    assert bucket.all_at_once() == 100


def test_answers_that_overtake_each_other_do_not_raise_the_remainder() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.send()
    bucket.answer(announced(7, 30, limit=10))
    bucket.answer(announced(9, 30, limit=10))
    bucket.answer(announced(8, 30, limit=10))
    assert bucket.all_at_once() <= 7


def test_other_users_of_the_account_are_noticed_in_the_answers() -> None:
    bucket = Bucket()
    bucket.send()
    bucket.answer(announced(99, 60))
    bucket.send()
    bucket.answer(announced(40, 60))
    assert bucket.all_at_once() == 40


def test_a_documented_limit_holds_from_the_first_request() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer(announced(5, 60, limit=10))
    assert bucket.allowance.delay(bucket.now) > 0


def test_a_documented_limit_that_the_service_does_not_announce_is_dropped() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


def test_a_gateways_page_without_headers_does_not_change_the_limits() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.allowance.note({}, bucket.now, NOW, good=False)
    bucket.allowance.ended(bucket.now)
    assert bucket.allowance.delay(bucket.now) > 0


def test_an_announced_limit_above_the_documented_one_is_used() -> None:
    bucket = Bucket(expected=RateLimit(10, 60))
    assert bucket.all_at_once() == 10
    bucket.answer(announced(990, 60, limit=1000))
    assert bucket.all_at_once() == 981


def test_requests_without_answers_do_not_stop_the_bucket_forever() -> None:
    bucket = Bucket(expected=RateLimit(3, 60))
    assert bucket.all_at_once() == 3
    for _ in range(3):
        bucket.allowance.ended(bucket.now)
    bucket.now = 60
    assert bucket.all_at_once() == 3


def test_requests_that_never_reached_the_service_are_not_counted() -> None:
    bucket = Bucket(expected=RateLimit(3, 60))
    assert bucket.all_at_once() == 3
    for _ in range(3):
        bucket.allowance.ended(bucket.now, counted=False)
    assert bucket.all_at_once() == 3
    ruled = Bucket(RateLimit(2, 60))
    assert ruled.all_at_once() == 2
    ruled.allowance.ended(ruled.now, counted=False)
    assert ruled.all_at_once() == 1


def test_answers_of_the_previous_window_do_not_count_in_the_new_one() -> None:
    bucket = Bucket()
    bucket.send()
    bucket.answer(announced(9, 60, limit=10))
    assert bucket.all_at_once() == 9
    bucket.now = 61
    assert bucket.all_at_once() == 1  # nine are in flight, and may count in either window
    for _ in range(9):
        bucket.answer(announced(0, 0, limit=10))
    assert bucket.all_at_once() == 9


def test_a_pause_stops_all_requests_and_a_shorter_one_does_not_end_it() -> None:
    bucket = Bucket()
    bucket.now = 100.0
    bucket.send()
    bucket.send()
    bucket.refuse(45.0)
    bucket.now = 101.0
    bucket.refuse(1.0)
    assert bucket.allowance.delay(102.0) == 43.0


def test_after_a_pause_one_request_probes_and_the_others_follow_when_it_is_accepted() -> None:
    bucket = Bucket()
    for _ in range(3):
        bucket.send()
    bucket.refuse(45.0)
    bucket.answer()
    bucket.answer()  # sent before the pause, so it proves nothing about the time after it
    bucket.now = 45.0
    assert bucket.all_at_once() == 1
    assert bucket.allowance.delay(bucket.now) == math.inf
    bucket.refuse(10.0)
    bucket.now = 55.0
    assert bucket.all_at_once() == 1
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


@pytest.mark.parametrize("end", [Bucket.answer, Bucket.lose], ids=["answered", "lost"])
def test_requests_that_were_sent_before_a_429_do_not_decide_for_the_probe(
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


def test_a_probe_without_an_answer_is_followed_by_another() -> None:
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
    """A bucket after a 429 and so many probes, none of which has an answer."""
    bucket = Bucket()
    bucket.send()
    bucket.refuse(45.0)
    bucket.now = 45.0
    for number in range(count):
        bucket.now += PROBE_TIMEOUT * (number > 0)
        assert bucket.all_at_once() == 1
        assert bucket.allowance.delay(bucket.now) == math.inf
    return bucket


def test_the_next_probe_may_be_sent_after_two_seconds_without_an_answer() -> None:
    bucket = probed(1)
    bucket.now += PROBE_TIMEOUT - 0.01
    assert not bucket.send()
    assert bucket.allowance.next_check(bucket.now) == pytest.approx(0.01)
    bucket.now += 0.01
    assert bucket.all_at_once() == 1
    assert bucket.allowance.delay(bucket.now) == math.inf


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_to_any_probe_ends_the_cooldown(place: int) -> None:
    bucket = probed(3)
    bucket.numbers.rotate(-place)
    bucket.answer()
    assert all(bucket.send() for _ in range(100))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_refusal_of_any_probe_begins_the_next_pause(place: int) -> None:
    bucket = probed(3)
    bucket.numbers.rotate(-place)
    bucket.refuse(10.0)
    assert bucket.allowance.delay(bucket.now) == 10.0
    # Requests that were sent before it do not decide for the next probe.
    bucket.answer()
    bucket.answer()
    bucket.now += 10.0
    assert bucket.all_at_once() == 1


def test_a_lost_probe_is_followed_at_once_unless_a_newer_one_is_in_flight() -> None:
    bucket = probed(2)
    bucket.lose()
    assert bucket.allowance.delay(bucket.now) == math.inf
    bucket.lose()
    assert bucket.all_at_once() == 1


def test_a_configured_limit_counts_requests_in_flight_and_recent_answers() -> None:
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
def test_an_invalid_limit_is_refused(arguments: tuple[int, float]) -> None:
    with pytest.raises(ConfigurationError, match="^(requests|per) must be"):
        RateLimit(*arguments)
