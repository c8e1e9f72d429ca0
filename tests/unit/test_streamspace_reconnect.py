"""The pauses between an agent's connections, with times that the test gives."""

from __future__ import annotations

from vcloud import RetryPolicy
from vcloud.providers.streamspace.agent.reconnect import (
    DUPLICATE_AFTER,
    STABLE_AFTER,
    ReconnectBackoff,
)

POLICY = RetryPolicy(base=1.0, cap=8.0)


def pauses(backoff: ReconnectBackoff, *registered: float | None) -> list[float]:
    found = []
    for seconds in registered:
        backoff.connection_lost(seconds)
        found.append(backoff.delay(0.5))
    return found


def test_pauses_grow_until_a_connection_is_stable() -> None:
    backoff = ReconnectBackoff(POLICY)
    assert pauses(backoff, None, 0.3, STABLE_AFTER - 1, 5.0, 5.0) == [1, 2, 4, 8, 8]
    assert pauses(backoff, STABLE_AFTER, 1.0) == [1, 2]


def test_a_stable_connection_lasts_for_longer_than_the_longest_pause() -> None:
    backoff = ReconnectBackoff(RetryPolicy(base=1.0, cap=300.0))
    longest = RetryPolicy(base=1.0, cap=300.0).backoff(64, 1.0)
    assert pauses(backoff, longest, longest) == [1, 2]


def test_two_agents_of_one_name_reconnect_at_the_longest_pause() -> None:
    """Each displaces the other when its own pause ends; a day of it, in the test's time."""
    now, connections = 0.0, 0
    backoffs = ReconnectBackoff(POLICY), ReconnectBackoff(POLICY)
    since, holder, comes = 0.0, 0, 0.5
    while now < 86_400:
        now = comes
        backoffs[holder].connection_lost(now - since)
        comes = now + backoffs[holder].delay(0.5)
        holder, since = 1 - holder, now
        connections += 1
    # One every 8 seconds; with the first pause each time there would be 86 400.
    assert connections < 86_400 / 8 + 10


def test_a_second_agent_is_suspected_once_in_a_row_of_short_registrations() -> None:
    backoff = ReconnectBackoff(POLICY)
    assert [backoff.connection_lost(0.3) for _ in range(10)].index(True) == DUPLICATE_AFTER - 1
    assert not any(backoff.connection_lost(0.3) for _ in range(10))
    assert not backoff.connection_lost(STABLE_AFTER)
    assert [backoff.connection_lost(0.3) for _ in range(10)].count(True) == 1


def test_failed_connections_do_not_indicate_a_second_agent() -> None:
    backoff = ReconnectBackoff(POLICY)
    assert not any(backoff.connection_lost(None) for _ in range(10))
    # The published server ends the first one after a drop, too, if it has not noticed the drop.
    assert not any(
        [
            backoff.connection_lost(0.3),
            backoff.connection_lost(0.3),
            backoff.connection_lost(STABLE_AFTER),
            backoff.connection_lost(0.3),
        ]
    )


def test_the_first_connection_that_is_lost_at_once_is_made_again_at_once() -> None:
    backoff = ReconnectBackoff(POLICY)
    found = []
    for seconds in (3600.0, 0.3, 0.3, None, None, 0.3, None):
        backoff.connection_lost(seconds, short_lived=5.0)
        found.append(backoff.delay(0.5))
    assert found == [1, 0, 4, 8, 8, 0, 8]


def test_three_in_a_row_that_are_lost_at_once_show_a_second_agent() -> None:
    backoff = ReconnectBackoff(POLICY)
    for lost in ((0.3, 0.3, 6.0), (0.3, 0.3, None), (0.3, 0.3)):
        for seconds in lost:
            backoff.connection_lost(seconds, short_lived=5.0)
            assert not backoff.displaced
    backoff.connection_lost(4.9, short_lived=5.0)
    assert backoff.displaced
