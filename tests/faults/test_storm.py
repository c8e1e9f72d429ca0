"""A small storm; ``python -m tests.benchmarks storm`` sends ten thousand."""

from __future__ import annotations

from tests.faults.storm_calls import AT_ONCE, check

REQUESTS = 800


async def test_a_storm_neither_loses_nor_doubles_a_call_and_holds_nothing() -> None:
    result = await check(REQUESTS, AT_ONCE)
    assert sum(result.fates.values()) == REQUESTS
    assert 0.15 < sum(result.faults.values()) / result.calls < 0.25
    assert all(result.fates[end] for end in ("done", "in doubt"))
    # A client keeps some hundred bytes for each desktop that it launched, because the service does
    # not list them.
    before, after = result.held
    assert before > 0
    assert after - before < 2_000_000
