"""Reading ``Retry-After`` and limit headers."""

from __future__ import annotations

import time

import pytest

from vcloud._core.limits.headers import Limits, limits, retry_after

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


def test_a_date_is_compared_with_the_services_clock_not_ours() -> None:
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
def test_all_forms_of_a_date_are_read_alike_in_every_time_zone_of_this_machine(
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


def test_limit_headers_are_read_against_the_services_time() -> None:
    headers = {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "95",
        "X-RateLimit-Reset": "1771000030.5",
    }
    assert limits(headers, now=NOW) == Limits(95, 100, 30.5)
    assert limits({}, now=NOW) is None
    assert limits({"X-RateLimit-Remaining": "many"}, now=NOW) is None


def test_a_reset_in_whole_seconds_counts_as_rounded_down() -> None:
    assert limits(
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1771000030"}, now=NOW
    ) == Limits(0, None, 31.0)
