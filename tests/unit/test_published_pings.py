"""When a peer that limits its sends with each ping is pinged."""

from __future__ import annotations

from itertools import pairwise

import pytest

from vcloud.providers.streamspace.realtime.vnc_published_pings import CarefulPings


def sent(pings: CarefulPings, until: float, traffic: list[float]) -> list[float]:
    """When pings are sent, if the peer's bytes come at these times."""
    found: list[float] = []
    waiting = sorted(traffic)
    while pings.due < until or waiting:
        if waiting and waiting[0] <= pings.due:
            pings.received(waiting.pop(0))
            continue
        now = pings.due
        verdict = pings.check(now)
        if verdict == "ping":
            found.append(now)
            pings.received(now + 0.05)
        assert verdict != "lost"
    return found


def test_nothing_is_sent_before_the_peer_s_first_ping() -> None:
    pings = CarefulPings(0.0)
    assert sent(pings, 74.0, []) == []
    assert not pings.wanted(74.0)


def test_a_quiet_connection_is_pinged_every_3_seconds_from_then_on() -> None:
    pings = CarefulPings(0.0)
    pings.received(54.0)
    pings.peer_pinged(54.0)
    assert pings.check(54.0) == "wait"
    assert sent(pings, 66.5, []) == pytest.approx([57, 60, 63, 66], abs=0.5)


def test_a_busy_connection_is_pinged_before_the_limit_passes() -> None:
    pings = CarefulPings(0.0)
    busy = [54 + step * 0.1 for step in range(450)]
    pings.peer_pinged(54.0)
    pings.check(54.0)
    times = sent(pings, 99.0, busy)
    assert times[0] <= 62
    assert all(later - before < 10 for before, later in pairwise(times))


def test_a_moment_that_is_known_to_be_quiet_is_used() -> None:
    pings = CarefulPings(0.0)
    pings.peer_pinged(54.0)
    assert not pings.wanted(56.0)
    assert pings.wanted(57.0)
    pings.pinged(57.0)
    assert not pings.wanted(59.0)


def test_a_peer_that_answers_nothing_is_lost() -> None:
    pings = CarefulPings(0.0)
    pings.peer_pinged(54.0)
    verdicts = [pings.check(at) for at in (60.0, 68.0, 76.0, 83.9, 84.0)]
    assert verdicts[-1] == "lost"
    assert "lost" not in verdicts[:-1]


def test_a_peer_that_never_pings_is_pinged_and_not_lost_at_once() -> None:
    pings = CarefulPings(0.0)
    assert pings.check(75.0) == "ping"
    assert pings.check(80.0) != "lost"
    assert pings.check(105.0) == "lost"


def test_a_peer_that_may_begin_to_answer_is_pinged_when_it_has() -> None:
    pings = CarefulPings(0.0)
    pings.received(54.0)
    pings.peer_pinged(54.0)
    pings.check(54.0)
    pings.sent = 56.9
    assert not pings.wanted(57.0)
    assert sent(pings, 60.0, [59.0, 59.1]) == [pytest.approx(59.5, abs=0.2)]
    # One that answers nothing, as a screen that does not change, is pinged before the limit.
    pings.sent = 60.0
    assert sent(pings, 69.0, []) == [pytest.approx(67.5, abs=0.2)]
