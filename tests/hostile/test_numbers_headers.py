"""Numbers in headers, and from the stores of shared budgets."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest
from limits.aio.storage import MemoryStorage

from tests.hostile.test_numbers import NOW, serving
from vcloud import BearerAuth, Endpoint, VCloud
from vcloud._core.limits.headers import MAX_RETRY_AFTER, MAX_WINDOW, limits, retry_after
from vcloud._core.limits.shared_budget.counter import COUNTED, MARGIN, Claim
from vcloud._core.limits.shared_budget.redis_store import redis_counter
from vcloud._core.limits.shared_budget.stores import LimitsCounter

ODD_HEADERS = [
    "nan", "inf", "-inf", "infinity", "1e400", "-1e400", "1_0", "\uff11", "\u0663", "1" * 400,
    "-5", "1e12", "99999999999999999999", "1e-400", "0x10", "", " ", "1,5", "1e9999999",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
]  # fmt: skip


@pytest.mark.parametrize("value", ODD_HEADERS, ids=lambda text: f"{text:.20}")
def test_an_odd_number_in_a_header_is_nothing_or_in_bounds(value: str) -> None:
    for name in ("Retry-After", "Retry-After-Ms"):
        for date in ({}, {"Date": "Mon, 01 Jan 0001 00:00:00 GMT"}, {"Date": value}):
            wait = retry_after({name: value, **date}, now=NOW)
            assert wait is None or 0 <= wait <= MAX_RETRY_AFTER
            if wait is not None:
                assert (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=wait)).year < 2200
    good = {
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Reset": f"{NOW + 60:.0f}",
    }
    for name in good:
        seen = limits({**good, name: value}, now=NOW)
        if seen is not None:
            assert 0 <= seen.remaining < 10**12
            assert seen.limit is None or 1 <= seen.limit < 10**12
            assert seen.reset_in is None or 0 <= seen.reset_in <= MAX_WINDOW


@pytest.mark.parametrize("value", ["1_0", "\uff11", "\u0663", "nan", "1e400", "0x10"])
def test_other_spellings_of_numbers_are_not_accepted_in_headers(value: str) -> None:
    assert retry_after({"Retry-After": value}, now=NOW) is None
    assert limits({"X-RateLimit-Remaining": value}, now=NOW) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Reset": "99999999999"},
        {"X-RateLimit-Reset": f"{NOW:.0f}", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
    ids=["far away", "from a wrong clock"],
)
async def test_a_limit_that_seems_to_last_for_years_does_not_stop_calls(
    headers: dict[str, str],
) -> None:
    runner = await serving(
        {"templates": [], "total": 0},
        {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0", **headers},
    )
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    try:
        endpoint = Endpoint(url, auth=BearerAuth("a token"))
        async with VCloud(streamspace=endpoint, streamspace_dialect="documented") as cloud:
            for _ in range(3):
                assert await cloud.streamspace.templates.list().all() == []
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "oldest", [math.nan, math.inf, -math.inf, 1e300, 0.0, -1e300], ids=lambda value: f"{value:g}"
)
async def test_numbers_of_a_store_delay_no_request_for_longer_than_the_window(
    oldest: float,
) -> None:
    class Odd(MemoryStorage):
        async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
            return oldest, limit

    counter = LimitsCounter(Odd(), given=True)
    claim = Claim(1, 60, ("account", "computers", ""))
    assert await counter.take(claim) == COUNTED
    delay = await counter.take(claim)
    assert 0 < delay.retry_in <= 60 + MARGIN
    assert 0 < delay.used_up <= 60 + MARGIN


@pytest.mark.parametrize("wait", [-(2**63), -1, 0, 1, 2**63 - 1])
async def test_numbers_of_redis_delay_no_request_for_longer_than_the_window(wait: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.readline():
            words = [
                (await reader.readline(), await reader.readline())[1]
                for _ in range(int(command[1:]))
            ]
            counts = words[0].upper().startswith(b"EVAL")
            writer.write(b"*3\r\n:0\r\n" + 2 * (b":%d\r\n" % wait) if counts else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        counter = redis_counter(f"redis://127.0.0.1:{port}?protocol=2")
        delay = await counter.take(Claim(1, 60, ("account", "computers", "")))
        assert 0 < delay.retry_in <= 60 + MARGIN
        assert 0 <= delay.used_up <= 60
        await counter.aclose()
