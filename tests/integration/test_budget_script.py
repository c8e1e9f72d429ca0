"""The script that counts in Redis, in a real server, at times that the tests set."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis

from tests.integration.redis_server import redis_server
from vcloud._core.limits.shared_budget.counter import Claim
from vcloud._core.limits.shared_budget.redis_script import SCRIPT
from vcloud._core.limits.shared_budget.redis_store import GRACE, keys

SECOND = 1_000_000
#: A moment of 2026, in microseconds.
BEGIN = 1_795_000_000 * SECOND


class Answer(NamedTuple):
    counted: int
    retry_in: int
    used_up: int


class Store:
    """One limit in a server whose clock only the test moves."""

    def __init__(self, redis: Redis, limit: int, length: int) -> None:
        self.redis = redis
        self._claim = Claim(limit, length, ("account", "provider", ""))
        assert SCRIPT.count("redis.call('TIME')") == 1
        self._script = SCRIPT.replace(
            "redis.call('TIME')", "redis.call('HMGET', 'the time', 's', 'us')"
        )
        #: Microseconds that have passed, and by how many the clock is wrong.
        self.now = 0
        self.jumped = 0
        self.requests, self.line = keys(self._claim)

    def ask(
        self,
        process: str,
        *,
        kind: str = "call",
        waiting: int = 1,
        stops: int = 0,
        max_wait: int = 10**15,
    ) -> Answer:
        clock = BEGIN + self.now + self.jumped
        self.redis.hset("the time", mapping={"s": clock // SECOND, "us": clock % SECOND})
        given = [
            self._claim.requests,
            self._claim.length * SECOND,
            process,
            kind,
            waiting,
            stops,
            max_wait,
            int(GRACE * SECOND),
        ]
        answer: list[int] = self.redis.eval(
            self._script, 2, self.requests, self.line, *map(str, given)
        )
        return Answer(*answer)

    def until_counted(self, process: str, **given: int) -> None:
        """Ask when the script says, until the request is counted."""
        while not (answer := self.ask(process, **given)).counted:  # type: ignore[arg-type]
            self.now += answer.retry_in


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with redis_server(tmp_path) as server, Redis(unix_socket_path=str(server.socket)) as client:
        yield client


def simulate(
    store: Store, pauses: dict[str, int], calls: int, starts: dict[str, int] | None = None
) -> list[tuple[str, int]]:
    """Which process was admitted when, if each asks again so many microseconds after an answer."""
    left = dict.fromkeys(pauses, calls)
    due = dict.fromkeys(pauses, 0) | (starts or {})
    order: list[tuple[str, int]] = []
    while left:
        name = min(left, key=lambda one: (due[one], one))
        store.now = max(store.now, due[name])
        answer = store.ask(name, waiting=left[name])
        due[name] = store.now + max(pauses[name], answer.retry_in)
        if answer.counted:
            order.append((name, store.now))
            left[name] -= 1
            if not left[name]:
                del left[name]
    return order


@pytest.mark.parametrize("limit", [1, 20, 100])
def test_processes_have_equal_shares_however_fast_they_ask(redis: Redis, limit: int) -> None:
    store = Store(redis, limit, 2)
    pauses = {"a": 200, "b": 1000, "c": 1000, "d": 3000, "e": 9000}
    order = simulate(store, pauses, 200)
    shares = Counter(name for name, _ in order[:500])
    assert set(shares) == set(pauses)
    assert all(95 <= share <= 105 for share in shares.values())
    times = [at for _, at in order]
    assert min(times[i + limit] - times[i] for i in range(len(times) - limit)) > 2 * SECOND
    # Little of the limit stays unused: only the time until they ask.
    assert times[-1] <= (len(times) - 1) // limit * 2.05 * SECOND


def test_a_process_that_was_alone_for_a_window_shares_the_limit_at_once(redis: Redis) -> None:
    store = Store(redis, 100, 2)
    starts = dict.fromkeys("bcde", SECOND)
    order = simulate(store, dict.fromkeys("abcde", 1000), 200, starts)
    assert Counter(name for name, _ in order[:100]) == {"a": 100}
    shares = Counter(name for name, _ in order[:500])
    assert all(80 <= share <= 120 for share in shares.values())
    # Each of the four others gets eight turns for one of its own.
    where = [number for number, (name, _) in enumerate(order[:500]) if name == "a"][99:]
    assert max(later - one for one, later in pairwise(where)) <= 4 * 8 + 2


def test_a_process_that_comes_after_a_long_run_catches_up_one_limit_at_most(redis: Redis) -> None:
    store = Store(redis, 10, 2)
    for _ in range(1000):
        store.until_counted("run", waiting=100)
    order = [*simulate(store, {"run": 1000, "new": 1000}, 100)]
    shares = Counter(name for name, _ in order[:110])
    # It is a thousand behind, and catches up one limit, eight turns for one.
    assert 50 <= shares["new"] <= 50 + 10


def test_the_places_of_a_process_that_was_killed_expire(redis: Redis) -> None:
    store = Store(redis, 10, 2)
    for _ in range(10):
        assert store.ask("run", waiting=100).counted
    assert not store.ask("killed", waiting=100).counted
    store.now += 2 * SECOND + 1
    mine = 0
    while store.ask("run", waiting=100).counted:
        mine += 1
    # The other places are kept for the process that was killed.
    assert 0 < mine < 10
    store.now += int((GRACE + 0.3) * SECOND)
    while store.ask("run", waiting=100).counted:
        mine += 1
    assert mine == 10


def test_places_that_are_given_up_are_free_at_once(redis: Redis) -> None:
    store = Store(redis, 10, 2)
    for _ in range(10):
        assert store.ask("run", waiting=100).counted
    assert not store.ask("leaving", waiting=100).counted
    assert not store.ask("leaving", kind="none", waiting=0).counted
    store.now += 2 * SECOND + 1
    for _ in range(10):
        assert store.ask("run", waiting=100).counted


def test_a_process_that_does_not_wait_has_no_place(redis: Redis) -> None:
    store = Store(redis, 1, 2)
    assert store.ask("run").counted
    answer = store.ask("hurried", max_wait=SECOND)
    assert answer == (0, 2 * SECOND + 1, 2 * SECOND + 1)
    store.now += 2 * SECOND + 1
    assert store.ask("run").counted


def test_stops_go_ahead_of_the_calls_of_all_processes(redis: Redis) -> None:
    store = Store(redis, 1, 2)
    assert store.ask("run").counted
    assert not store.ask("run", waiting=9).counted
    assert not store.ask("other", waiting=9).counted
    assert not store.ask("stopping", kind="stop", waiting=0, stops=1).counted
    store.now += 2 * SECOND + 1
    # The place is kept for the stop although others ask first.
    assert not store.ask("run", waiting=9).counted
    assert not store.ask("other", waiting=9).counted
    assert not store.ask("stopping", waiting=9, stops=1).counted
    assert store.ask("stopping", kind="stop", waiting=0, stops=1).counted


HOUR = 3600 * SECOND


@pytest.mark.parametrize("seconds", [-1, -3600, -82800, -31_536_000])
def test_a_clock_of_the_store_that_is_set_back_neither_refuses_nor_exceeds_the_limit(
    redis: Redis, seconds: int
) -> None:
    store = Store(redis, 10, 2)
    for _ in range(10):
        assert store.ask("one", waiting=0).counted
    store.now += SECOND
    store.jumped = seconds * SECOND
    answer = store.ask("one", waiting=0)
    # The second without a request may count twice.
    assert not answer.counted
    assert answer.used_up <= 2 * SECOND + 1
    store.now += answer.used_up
    for _ in range(10):
        assert store.ask("one", waiting=0).counted
    assert not store.ask("one", waiting=0).counted
    # It works without its record of the jump, which was evicted here.
    store.redis.delete(store.line)
    assert store.ask("one", waiting=0).used_up <= 2 * SECOND + 1


@pytest.mark.parametrize("seconds", [1, 3600, 82800, 31_536_000])
def test_a_clock_of_the_store_that_is_set_forward_forgets_one_window_at_most(
    redis: Redis, seconds: int
) -> None:
    store = Store(redis, 10, 2)
    times: list[int] = []
    for number in range(3000):
        store.now += 10_000
        store.jumped = seconds * SECOND if number > 1000 else 0
        if store.ask("one", waiting=0).counted:
            times.append(store.now)
    assert len(times) in {150, 160}
    assert min(times[i + 20] - times[i] for i in range(len(times) - 20)) > 2 * SECOND
    late = [at for at in times if at > 10_020_000 + 2 * SECOND]
    assert min(late[i + 10] - late[i] for i in range(len(late) - 10)) > 2 * SECOND


@pytest.mark.parametrize("seed", range(5))
def test_the_limit_is_kept_whatever_processes_do_while_clocks_are_set_back(
    redis: Redis, seed: int
) -> None:
    chance = random.Random(seed)
    limit, length = chance.choice([1, 3, 10, 40]), chance.choice([1, 2, 5])
    store = Store(redis, limit, length)
    times: list[int] = []
    for _ in range(3000):
        store.now += int(chance.expovariate(2 * limit / length) * SECOND)
        if chance.random() < 0.01:
            store.jumped -= int(chance.expovariate(1) * HOUR)
        answer = store.ask(
            chance.choice("abcdefgh"),
            kind=chance.choices(["call", "stop", "none"], [8, 1, 1])[0],
            waiting=chance.randrange(50),
            stops=chance.randrange(2),
            max_wait=chance.choice([0, 10**15]),
        )
        if answer.counted:
            times.append(store.now)
        assert 0 <= answer.used_up <= length * SECOND + 1
    assert len(times) > 5 * limit
    assert min(times[i + limit] - times[i] for i in range(len(times) - limit)) > length * SECOND
    assert redis.llen(store.requests) <= limit


def test_records_in_the_store_expire(redis: Redis) -> None:
    store = Store(redis, 10, 2)
    for number in range(1000):
        store.now += SECOND
        store.ask(f"process {number}")
    # Records of processes that no longer ask are deleted. All keys expire without requests.
    assert redis.hlen(store.line) < 10
    for key in (store.requests, store.line):
        assert 0 < redis.pttl(key) <= 2 * (2 + GRACE) * 1000
