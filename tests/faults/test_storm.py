"""A small storm; ``python -m tests.benchmarks storm`` sends ten thousand."""

from __future__ import annotations

from tests.faults.storm_calls import AT_ONCE, check

REQUESTS = 800


async def test_in_a_storm_nothing_is_lost_nothing_is_doubled_and_nothing_is_kept() -> None:
    result = await check(REQUESTS, AT_ONCE)
    assert sum(result.fates.values()) == REQUESTS
    assert 0.15 < sum(result.faults.values()) / result.calls < 0.25
    assert all(result.fates[end] for end in ("done", "in doubt"))
    # Some hundred bytes for each desktop that a client launched: the service has no list of them, so the client does.
    before, after = result.held
    assert before > 0
    assert after - before < 2_000_000
