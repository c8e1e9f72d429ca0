from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud._core.ratelimit import Budget, Limits, limits, retry_after, server_time

NOW = 1_771_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "45"}, 45.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"Retry-After": "Fri, 13 Feb 2026 16:27:40 GMT", "Date": "Fri, 13 Feb 2026 16:26:40 GMT"}, 60.0),
        ({"Retry-After": "Fri, 13 Feb 2026 16:20:00 GMT", "Date": "Fri, 13 Feb 2026 16:26:40 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e99"}, None),
        ({}, None),
    ],
)
def test_every_form_of_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds


def test_a_date_form_counts_by_the_services_clock_not_ours() -> None:
    headers = {"Retry-After": "Fri, 13 Feb 2026 16:27:40 GMT", "Date": "Fri, 13 Feb 2026 16:26:40 GMT"}
    assert retry_after(headers, now=0.0) == 60.0


def test_limit_headers_are_read_relative_to_the_services_clock() -> None:
    headers = {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "95",
        "X-RateLimit-Reset": "1771000030",
        "Date": "Fri, 13 Feb 2026 16:26:40 GMT",
    }
    date = server_time(headers)
    assert date is not None
    assert limits(headers, now=0.0) == Limits(95, 100, 1771000030 - date)
    assert limits({}, now=NOW) is None
    assert limits({"X-RateLimit-Remaining": "many"}, now=NOW) is None


def test_an_exhausted_window_stops_its_bucket_until_the_reset_and_no_other() -> None:
    budget = Budget()
    budget.note("", Limits(2, 100, 30.0), now=10.0)
    for _ in range(2):
        assert budget.delay("", 11.0) == 0
        budget.take("")
    assert budget.delay("", 11.0) == 29.0
    assert budget.delay("login", 11.0) == 0
    assert budget.delay("", 40.0) == 0


def test_answers_that_overtake_each_other_do_not_give_back_what_was_used() -> None:
    budget = Budget()
    budget.note("", Limits(3, 100, 30.0), now=10.0)
    budget.note("", Limits(7, 100, 30.0), now=10.0)
    for _ in range(3):
        budget.take("")
    assert budget.delay("", 10.0) > 0


def test_a_pause_stops_everyone_and_a_shorter_one_does_not_end_it() -> None:
    budget = Budget()
    budget.pause("", 45.0, now=100.0)
    budget.pause("", 1.0, now=101.0)
    assert budget.delay("", 102.0) == 43.0
    assert budget.delay("", 145.0) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 60))), st.floats(0, 100))
def test_delay_is_never_negative_and_always_ends(notes: list[tuple[int, float]], now: float) -> None:
    budget = Budget()
    for remaining, reset in notes:
        budget.note("", Limits(remaining, 5, reset), now)
        budget.take("")
    wait = budget.delay("", now)
    assert wait >= 0
    assert budget.delay("", now + wait + 60.1) == 0
