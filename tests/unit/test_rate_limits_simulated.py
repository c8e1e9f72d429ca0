"""Thousands of requests under a limit, simulated: no refusal, and little of the limit is unused."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from email.utils import formatdate

from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.windows import RateLimit

NOW = 1_771_000_000.0


class Service:
    """Counts requests in fixed windows that begin with the first one, and refuses too many."""

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
            "Date": formatdate(NOW + now, usegmt=True),
        }


def simulate(
    allowance: Allowance,
    service: Callable[[float], dict[str, str]],
    total: int,
    at_once: int,
    latencies: list[float],
    now: float,
) -> None:
    """Simulate concurrent requests, without sockets and clocks. Both ways take a while."""
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
def test_concurrent_requests_are_never_refused_and_use_nine_tenths_of_the_limit(
    limit: int, length: float, at_once: int, latencies: list[float], grain: bool, known: bool
) -> None:
    service = Service(limit, length, grain)
    allowance = Allowance(expected=RateLimit(limit, length) if known else None)
    if not known:
        simulate(allowance, service.take, 1, 1, latencies, 0.0)
    simulate(allowance, service.take, limit * 6, at_once, latencies, 3.0)
    assert service.refused == 0
    # The time in which one window's requests can be sent if nothing delays them.
    needed = 2 * max(latencies) * (limit / at_once + 1)
    if needed < length / 20:
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

    simulate(Allowance(RateLimit(limit, 10.0)), serve, limit * 5, at_once, latencies, 0.0)
    assert all(
        later - earlier >= 10.0 - 1e-9
        for earlier, later in zip(arrivals, arrivals[limit:], strict=False)
    )
    assert arrivals[-1] <= 4 * (10.0 + 2 * max(latencies) * (limit / at_once + 2)) + 10
