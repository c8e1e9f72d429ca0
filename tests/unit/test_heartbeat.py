"""When a WebSocket's peer is pinged, and when it is given up, by a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable

from vcloud._core.websocket.heartbeat import GRACE, Heartbeat

#: Binary fractions, so that sums are exact.
INTERVAL = 20.0


def looks(
    heartbeat: Heartbeat, until: float, happens: Callable[[float], None] = lambda now: None
) -> dict[float, str]:
    """Look whenever it is due, and return what was to be done besides waiting."""
    done: dict[float, str] = {}
    while (now := heartbeat.due) <= until:
        happens(now)
        verdict = heartbeat.look(now)
        if verdict != "wait":
            done[now] = verdict
        if verdict == "lost":
            break
        if verdict == "ping":
            heartbeat.heard(now + 0.125)
    return done


def test_a_ping_goes_out_as_soon_as_both_directions_are_silent_and_not_later() -> None:
    assert list(looks(Heartbeat(INTERVAL, 0.0), 100.0)) == [20.0, 40.0, 60.0, 80.0, 100.0]


def test_a_peer_that_talks_all_the_time_is_pinged_because_this_side_is_silent() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    for second in range(1, 19):
        heartbeat.heard(float(second))
    assert heartbeat.look(19.0) == "wait"
    assert heartbeat.due == 20.0
    assert heartbeat.look(20.0) == "ping"


def test_one_that_only_sends_is_pinged_from_when_it_last_heard() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    heartbeat.heard(5.0)
    heartbeat.sent = 19.0
    assert heartbeat.look(20.0) == "wait"
    assert heartbeat.due == 25.0
    assert heartbeat.look(25.0) == "ping"


def test_traffic_in_both_directions_needs_no_ping() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)

    def talk(now: float) -> None:
        heartbeat.sent = now - 1.0
        heartbeat.heard(now - 2.0)

    assert looks(heartbeat, 500.0, talk) == {}


def test_a_ping_that_is_not_answered_is_waited_for_once_as_long_and_then_the_peer_is_lost() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0) == "ping"
    # Whatever is sent meanwhile says nothing of the peer.
    heartbeat.sent = 39.0
    assert heartbeat.look(30.0) == "wait"
    assert heartbeat.due == 40.0
    assert heartbeat.look(40.0) == "wait"
    assert heartbeat.due == 40.0 + GRACE
    assert heartbeat.look(heartbeat.due) == "lost"


def test_what_arrived_while_the_loop_was_held_up_counts() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0) == "ping"
    # The timer runs late, and before what has arrived meanwhile is read.
    assert heartbeat.look(300.0) == "wait"
    heartbeat.heard(300.0)
    assert heartbeat.look(heartbeat.due) == "ping"


def test_an_answer_in_the_same_instant_counts_because_clocks_are_coarse() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0) == "ping"
    heartbeat.heard(20.0)
    assert heartbeat.look(40.0) == "ping"


def test_a_peer_that_is_not_read_is_pinged_and_never_lost() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    for now in (20.0, 40.0, 60.0, 80.0):
        assert heartbeat.look(now, reading=False) == "ping"


def test_a_peer_that_takes_what_waits_to_be_sent_is_alive() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0, taken=1000) == "ping"
    assert heartbeat.look(40.0, taken=1001) == "ping"
    assert heartbeat.look(60.0, taken=1001) == "wait"
    assert heartbeat.look(60.0 + GRACE, taken=1001) == "lost"


def test_what_is_sent_meanwhile_and_not_taken_says_nothing_of_the_peer() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0, taken=1000) == "ping"
    # 100 bytes more were sent, and with their header 106 more are left.
    assert heartbeat.look(40.0, taken=994) == "wait"
    assert heartbeat.look(40.0 + GRACE, taken=994) == "lost"


def test_what_the_kernel_takes_says_nothing_of_the_peer() -> None:
    heartbeat = Heartbeat(INTERVAL, 0.0)
    assert heartbeat.look(20.0, taken=None) == "ping"
    assert heartbeat.look(40.0, taken=5000) == "wait"
    assert heartbeat.look(40.0 + GRACE, taken=5000) == "lost"
