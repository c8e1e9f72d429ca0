"""When a WebSocket's peer is pinged, and when its connection is closed, with the test's clock."""

from __future__ import annotations

from collections.abc import Callable

from vcloud._core.websocket.heartbeat import GRACE, Heartbeat

#: Binary fractions, so that sums are exact.
INTERVAL = 20.0


def checks(
    heartbeat: Heartbeat, until: float, happens: Callable[[float], None] = lambda now: None
) -> dict[float, str]:
    """Check whenever it is due, and return when which verdict came, but for "wait"."""
    done: dict[float, str] = {}
    while (now := heartbeat.due) <= until:
        happens(now)
        verdict = heartbeat.check(now)
        if verdict != "wait":
            done[now] = verdict
        if verdict == "lost":
            break
        if verdict == "ping":
            heartbeat.received(now + 0.125)
    return done


def test_a_ping_goes_out_as_soon_as_both_directions_are_silent_and_not_later() -> None:
    assert list(checks(Heartbeat(INTERVAL, 0.0), 100.0)) == [20.0, 40.0, 60.0, 80.0, 100.0]


def test_a_peer_that_sends_all_the_time_is_pinged_because_this_side_is_silent() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    for second in range(1, 19):
        heartbeat.received(float(second))
    assert heartbeat.check(19.0) == "wait"
    assert heartbeat.due == 20.0
    assert heartbeat.check(20.0) == "ping"


def test_a_side_that_only_sends_pings_an_interval_after_it_last_received() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    heartbeat.received(5.0)
    heartbeat.sent = 19.0
    assert heartbeat.check(20.0) == "wait"
    assert heartbeat.due == 25.0
    assert heartbeat.check(25.0) == "ping"


def test_traffic_in_both_directions_needs_no_ping() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)

    def traffic(now: float) -> None:
        heartbeat.sent = now - 1.0
        heartbeat.received(now - 2.0)

    assert checks(heartbeat, 500.0, traffic) == {}


def test_a_peer_that_does_not_answer_a_ping_for_another_interval_is_lost() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0) == "ping"
    # What this side sends meanwhile says nothing about the peer.
    heartbeat.sent = 39.0
    assert heartbeat.check(30.0) == "wait"
    assert heartbeat.due == 40.0
    assert heartbeat.check(40.0) == "wait"
    assert heartbeat.due == 40.0 + GRACE
    assert heartbeat.check(heartbeat.due) == "lost"


def test_data_that_arrived_while_the_loop_was_blocked_is_used() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0) == "ping"
    # The timer runs late, and before what has arrived meanwhile is read.
    assert heartbeat.check(300.0) == "wait"
    heartbeat.received(300.0)
    assert heartbeat.check(heartbeat.due) == "ping"


def test_an_answer_in_the_same_instant_counts_because_clocks_are_coarse() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0) == "ping"
    heartbeat.received(20.0)
    assert heartbeat.check(40.0) == "ping"


def test_a_peer_that_is_not_read_is_pinged_and_never_lost() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    for now in (20.0, 40.0, 60.0, 80.0):
        assert heartbeat.check(now, reading=False) == "ping"


def test_a_peer_that_accepts_bytes_is_not_lost() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0, taken=1000) == "ping"
    assert heartbeat.check(40.0, taken=1001) == "ping"
    assert heartbeat.check(60.0, taken=1001) == "wait"
    assert heartbeat.check(60.0 + GRACE, taken=1001) == "lost"


def test_bytes_that_are_sent_and_not_accepted_say_nothing_about_the_peer() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0, taken=1000) == "ping"
    # 100 more bytes were sent, and with their header 106 more are left.
    assert heartbeat.check(40.0, taken=994) == "wait"
    assert heartbeat.check(40.0 + GRACE, taken=994) == "lost"


def test_bytes_that_the_kernel_accepts_say_nothing_about_the_peer() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.check(20.0, taken=None) == "ping"
    assert heartbeat.check(40.0, taken=5000) == "wait"
    assert heartbeat.check(40.0 + GRACE, taken=5000) == "lost"
