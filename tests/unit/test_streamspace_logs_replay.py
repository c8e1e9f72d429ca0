"""A followed log whose connection drops, from a service that pauses anywhere. No sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.growth import check_growth
from vcloud import RetryPolicy
from vcloud.providers.streamspace.realtime import log_stream
from vcloud.providers.streamspace.realtime.log_replay import (
    MAX_REMEMBERED,
    RecentLines,
    Replay,
    time_of,
)
from vcloud.providers.streamspace.realtime.log_stream import LogStream

#: What the service does besides sending a line: pausing for longer than silence decides, dropping.
PAUSE, DROP = "a pause", "a drop"


class Service:
    """Sends the end of its log, and then what is written.

    Args:
        log: all lines, in their order.
        written: how many there are on each connection before it, the last one with the end.
        pauses: after how many lines of a connection it pauses.
        batch: lines of a message.
        keeps: how many lines it can send again at most.
    """

    def __init__(
        self,
        log: Sequence[str],
        written: Sequence[tuple[int, int]],
        *,
        pauses: frozenset[int] = frozenset(),
        batch: int = 1,
        keeps: int | None = None,
    ) -> None:
        self.log = log
        self.written = deque(written)
        self.pauses = pauses
        self.batch = batch
        self.keeps = keeps

    async def connect(self, asked: int) -> Any:
        before, until = self.written.popleft()
        lines = self.log[max(0, before - min(asked, self.keeps or asked)) : until]
        ending = DROP if self.written else ""
        return _Socket([*lines], self.pauses, self.batch, ending)


class _Socket:
    ending = "code 1006"

    def __init__(self, lines: list[str], pauses: frozenset[int], batch: int, ending: str) -> None:
        self.close_code = 1006 if ending else 1000
        self.messages: deque[str] = deque()
        row: list[str] = []
        for number, line in enumerate(lines, 1):
            row.append(line)
            if number in pauses or len(row) == batch:
                self.messages.append("\n".join(row))
                row = []
            if number in pauses:
                self.messages.append(PAUSE)
        if row:
            self.messages.append("\n".join(row))

    def abandon(self) -> bool:
        return False  # it holds nothing

    async def receive(self) -> str | None:
        while self.messages:
            if self.messages[0] == PAUSE:
                try:
                    # Long enough for a wait with a timeout of 0, and short for one without.
                    await asyncio.sleep(0.002)
                finally:
                    self.messages.popleft()
                continue
            return self.messages.popleft()
        return None

    async def close(self) -> None:
        """Nothing is open."""


async def followed(service: Service, tail: int) -> list[str]:
    stream = LogStream(
        service.connect,
        tail=tail,
        retry=RetryPolicy(attempts=50, base=0.0),
        entropy=lambda: 0.5,
    )
    return [line async for line in stream]


def follow(service: Service, tail: int) -> list[str]:
    before, log_stream.QUIET_PERIOD = log_stream.QUIET_PERIOD, 0.0  # type: ignore[misc]
    try:
        return asyncio.run(followed(service, tail))
    finally:
        log_stream.QUIET_PERIOD = before  # type: ignore[misc]


def timed(count: int) -> list[str]:
    """Some of a second, and each text comes again and again."""
    return [
        f"2026-01-01T{n // 3600:02}:{n // 60 % 60:02}:{n // 7 % 60:02}.{n % 7}Z {n % 3}"
        for n in range(count)
    ]


CONNECTIONS = st.lists(st.integers(0, 40), min_size=2, max_size=8)
PAUSES = st.frozensets(st.integers(1, 60), max_size=4)


def connections(steps: list[int]) -> list[tuple[int, int]]:
    """How many lines there are when each connection is made, and when it ends."""
    ends = [sum(steps[: count + 1]) for count in range(len(steps))]
    return [(before, after) for before, after in itertools.pairwise(ends)][::2] or [(0, ends[-1])]


@settings(max_examples=60, deadline=None)
@given(CONNECTIONS, PAUSES, st.integers(1, 5), st.integers(1, 60))
def test_lines_with_times_are_returned_once_wherever_the_replay_pauses(
    steps: list[int], pauses: frozenset[int], batch: int, tail: int
) -> None:
    written = connections(steps)
    log = timed(written[-1][1])
    service = Service(log, written, pauses=pauses, batch=batch)
    expected = log[max(0, written[0][0] - tail) :]
    assert follow(service, tail) == expected


@settings(max_examples=60, deadline=None)
@given(CONNECTIONS, PAUSES, st.integers(1, 5), st.integers(20, 100))
def test_a_service_that_keeps_few_lines_loses_what_it_lost_and_repeats_nothing(
    steps: list[int], pauses: frozenset[int], batch: int, keeps: int
) -> None:
    written = connections(steps)
    log = timed(written[-1][1])
    service = Service(log, written, pauses=pauses, batch=batch, keeps=keeps)
    seen: list[str] = []
    done = 0
    for before, until in written:
        seen += log[max(done, before - keeps) : until]
        done = max(done, until)
    assert follow(service, 60) == seen


@settings(max_examples=60, deadline=None)
@given(CONNECTIONS, PAUSES, st.integers(1, 5))
def test_different_lines_without_times_are_returned_once_too(
    steps: list[int], pauses: frozenset[int], batch: int
) -> None:
    written = connections(steps)
    log = [f"line {number}" for number in range(written[-1][1])]
    service = Service(log, written, pauses=pauses, batch=batch)
    assert follow(service, 1000) == log


@settings(max_examples=60, deadline=None)
@given(CONNECTIONS, st.integers(1, 5), st.data())
def test_a_log_that_repeats_itself_loses_nothing_and_doubles_nothing_without_a_pause(
    steps: list[int], batch: int, data: st.DataObject
) -> None:
    written = connections(steps)
    many = written[-1][1]
    log = data.draw(st.lists(st.sampled_from("ab"), min_size=many, max_size=many))
    assert follow(Service(log, written, batch=batch), 1000) == log


def test_more_lines_than_are_remembered_are_returned_once() -> None:
    log = timed(MAX_REMEMBERED * 3)
    half = len(log) // 2
    written = [(0, half), (half, half + 5), (half + 1000, half + 1000), (half + 1100, len(log))]
    pauses = frozenset({1, 50, 600, 1199})
    assert follow(Service(log, written, pauses=pauses), 10) == log


def test_lines_older_than_tail_are_not_returned_after_a_pause() -> None:
    log = timed(500)
    service = Service(log, [(300, 300), (300, 500)], pauses=frozenset({3, 51, 290, 299}))
    assert follow(service, 10) == log[290:]


def test_known_lines_without_times_are_recognised_after_unknown_ones() -> None:
    """Nothing tells the unknown ones from new ones; the known ones come once all the same."""
    log = [f"line {number}" for number in range(320)]
    service = Service(log, [(300, 300), (300, 320)], pauses=frozenset({51}))
    found = follow(service, 10)
    assert found == [*log[290:300], *log[:290], *log[300:]]


def test_a_log_that_started_again_with_later_times_is_returned_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than the test may take: silence decides nothing here.
    monkeypatch.setattr(log_stream, "QUIET_PERIOD", 1000.0)
    old, new = timed(40)[:20], timed(40)[30:]

    class Anew(Service):
        async def connect(self, asked: int) -> Any:
            if len(self.written) == 1:
                self.log = ["2026-01-01T00:00:05.99Z a torn line", *new]
            socket = await super().connect(asked)
            if not self.written:
                more = asyncio.Event()
                taken = socket.receive

                async def receive() -> str | None:
                    if not socket.messages:
                        await more.wait()
                    message: str | None = await taken()
                    return message

                socket.receive = receive
            return socket

    async def first_lines() -> list[str]:
        service = Anew(old, [(20, 20), (0, 11)])
        stream = LogStream(
            service.connect, tail=100, retry=RetryPolicy(base=0.0), entropy=lambda: 0.5
        )
        return [await anext(stream) for _ in range(31)]

    assert asyncio.run(first_lines())[20:] == ["2026-01-01T00:00:05.99Z a torn line", *new]


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("2026-01-01T00:00:00Z a", ("Z", "2026-01-01T00:00:00.000000000")),
        ("2026-01-01T00:00:00.5Z", ("Z", "2026-01-01T00:00:00.500000000")),
        ("2026-01-01T00:00:00.000000001+02:00 a", ("+02:00", "2026-01-01T00:00:00.000000001")),
        ("a 2026-01-01T00:00:00Z", None),
        ("2026-01-01 00:00:00 a", None),
        ("", None),
    ],
)
def test_the_time_of_a_line_is_at_its_beginning(line: str, time: tuple[str, str] | None) -> None:
    assert time_of(line) == time


def test_a_replay_costs_in_proportion_to_its_lines() -> None:
    memory = RecentLines()
    for line in [*["a"] * 1198, "b", "a"]:
        memory.add(line)

    def work(messages: list[str]) -> None:
        replay = Replay(memory, MAX_REMEMBERED)
        for message in messages:
            replay.add(message)
            while replay.scan(2000):
                pass
            assert not replay.complete
            replay.decided, replay.continues_known, replay.releases_at_once  # noqa: B018

    check_growth(make=lambda size: ["a"] * size, work=work)
