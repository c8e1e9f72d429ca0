"""Errors of observers and hooks are logged, and affect nothing else."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
from attrs import define

from tests.unit.observed import BUSY, GET, OK, START, Clock, Diary, moving_clock, session
from vcloud import (
    Attempt,
    Observer,
)
from vcloud._core.hooks import Hook, call_hook


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return moving_clock(monkeypatch)


class Broken(Observer):
    def started(self, attempt: Attempt) -> None:
        raise ValueError("at the start")

    def ended(self, attempt: Attempt) -> None:
        raise KeyError("at the end")

    def retried(self, attempt: Attempt) -> None:
        raise OSError("between them")


async def test_an_observers_error_is_logged_and_affects_nothing_else(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()
    shared = session(clock, BUSY, OK, observers=[Broken(), diary], concurrency=1)
    assert await shared.send(START) is OK
    assert len(diary.heard) == 5
    assert shared.stats().free == 1
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("ERROR", "vcloud.computers")
    assert record.exc_info is None
    (message,) = caplog.messages
    assert message.startswith(
        "Broken.started failed for POST /machines/{id}/start; the call continues: "
        f"ValueError: at the start ({__file__}:"
    )


async def test_an_observer_that_raises_costs_one_line_a_minute_which_counts_the_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = session(clock, *[OK] * 100, observers=[Broken()])
    began = clock.now
    for _ in range(11):
        await shared.send(START)  # a quarter of a second each
    assert len(caplog.records) == 1
    clock.now = began + 59.7
    await shared.send(START)
    assert len(caplog.records) == 1
    clock.now = began + 60
    await shared.send(START)
    # Twelve calls with a start and an end each, without the one that was logged.
    assert caplog.messages[1].endswith("; 23 more failures since the last such line")
    clock.now = began + 150
    await shared.send(START)
    assert caplog.messages[2].endswith("; 1 more failures since the last such line")
    assert len(caplog.records) == 3


async def test_each_observer_has_a_line_of_its_own_whichever_clients_it_watches(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    @define  # compares by value, so it cannot be hashed
    class Other(Broken):
        name: str

    one, other = Other("one"), Other("one")
    first = session(clock, *[OK] * 9, observers=[one, other])
    second = session(clock, *[OK] * 9, observers=[one])
    for _ in range(4):
        await first.send(START)
        await second.send(START)
    assert len(caplog.records) == 2


async def test_a_new_observer_is_not_mistaken_for_a_collected_one(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    # Objects of one kind that follow each other often have the same address.
    for number in range(1, 6):
        await session(clock, OK, observers=[Broken()]).send(START)
        gc.collect()
        assert len(caplog.records) == number


async def test_where_the_log_is_enabled_for_debug_it_has_the_traceback_too(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "vcloud")
    await session(clock, OK, observers=[Broken()]).send(START)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info is not None
    assert "in started" in caplog.text


async def test_an_observers_error_may_be_long_or_without_text(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Long(Observer):
        def started(self, attempt: Attempt) -> None:
            raise ValueError("x\n" * 100_000)

    class Wordless(Observer):
        def started(self, attempt: Attempt) -> None:
            raise Unspeakable

    await session(clock, OK, observers=[Long(), Wordless()]).send(START)
    long, wordless = caplog.messages
    assert "\n" not in long
    assert len(long) < 3000
    assert "Unspeakable" in wordless


@pytest.mark.parametrize("kind", ["function", "method", "with slots"])
async def test_a_hook_that_raises_costs_one_line_a_minute_too(
    clock: Clock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    class Owner:
        __slots__ = ()

        def __call__(self, error: Exception) -> None:
            raise KeyError("in the hook")

        async def later(self, error: Exception) -> None:
            self(error)

    owner = Owner()

    def function(error: Exception) -> None:
        owner(error)

    hooks: dict[str, Hook[Exception]] = {
        "function": function,
        "method": owner.later,
        "with slots": owner,
    }
    hook = hooks[kind]
    log = logging.getLogger("vcloud.test")
    for _ in range(10):
        raised = await call_hook(hook, ValueError(), "on_error of x", log, clock)
        assert isinstance(raised, KeyError)
    (message,) = caplog.messages
    assert message.startswith(
        "on_error of x failed; its caller continues: KeyError: 'in the hook' ("
    )


async def test_an_exception_that_stops_the_program_passes_an_observer_and_frees_the_slot(
    clock: Clock,
) -> None:
    class Stop(Observer):
        def started(self, attempt: Attempt) -> None:
            raise asyncio.CancelledError

    shared = session(clock, OK, observers=[Stop()], concurrency=1)
    with pytest.raises(asyncio.CancelledError):
        await shared.send(GET)
    assert shared.stats().free == 1
