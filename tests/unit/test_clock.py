"""The time of day that does not jump when the machine's clock is set."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import freezegun
import pytest
import time_machine

from vcloud._core.timing.clock import TimeOfDay, boottime, system_wall, wall

NOW = 1_771_000_000.0
HOUR = 3600.0
YEAR = 365 * 24 * HOUR


class Machine:
    """A machine's clocks: the seconds since its start, and the error of its time of day."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.passed = 0.0
        self.wrong = wrong
        #: By how many seconds a test has shifted the time of day.
        self.shift = 0.0

    def elapsed(self) -> float:
        return self.passed

    def system(self) -> float:
        return NOW + self.passed + self.wrong

    def read(self) -> float:
        return self.system() + self.shift

    def day(self, *, shows_tests: bool = True) -> TimeOfDay:
        return TimeOfDay(self.read, self.elapsed, self.system if shows_tests else None)


@pytest.mark.parametrize("jump", [-1.0, 1.0, -HOUR, HOUR, YEAR])
@pytest.mark.parametrize("wrong", [0.0, -8 * HOUR])
def test_a_jump_of_the_machines_clock_changes_nothing(jump: float, wrong: float) -> None:
    machine = Machine(wrong)
    day = machine.day()
    machine.passed = 10.0
    machine.wrong += jump
    assert day() == NOW + 10.0 + wrong
    assert day.estimates() == (NOW + 10.0 + wrong, NOW + 10.0 + wrong + jump)


@pytest.mark.parametrize("before", [0.0, -YEAR])
def test_a_shift_by_a_test_is_followed_there_and_back(before: float) -> None:
    machine = Machine()
    machine.shift = before
    day = machine.day()
    assert day() == NOW + before
    for shift in (YEAR, -HOUR, 0.0, before):
        machine.shift = shift
        machine.passed += 10.0
        assert day() == NOW + machine.passed + shift
        assert day.estimates() == (NOW + machine.passed + before, day())


def test_without_a_clock_that_no_test_can_change_a_shift_counts_as_a_jump() -> None:
    machine = Machine()
    day = machine.day(shows_tests=False)
    machine.shift = HOUR
    assert day() == NOW
    assert day.estimates() == (NOW, NOW + HOUR)


def test_a_pause_of_the_process_between_two_readings_does_not_count_as_a_shift() -> None:
    machine = Machine()
    readings = iter([NOW, NOW, NOW + HOUR])
    machine.read = machine.system  # type: ignore[method-assign]
    assert TimeOfDay(machine.read, machine.elapsed, lambda: next(readings))() == NOW


@pytest.mark.skipif(system_wall is None, reason="this system has no clock that no test can change")
@pytest.mark.parametrize("tool", ["freezegun", "time-machine", "time.time replaced"])
def test_the_usual_ways_to_shift_the_time_of_day_are_noticed(
    tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = TimeOfDay()
    at = datetime(2031, 5, 1, tzinfo=UTC)
    match tool:
        case "freezegun":
            with freezegun.freeze_time(at):
                frozen = day()
        case "time-machine":
            with time_machine.travel(at, tick=False):
                frozen = day()
        case _:
            monkeypatch.setattr(time, "time", at.timestamp)
            frozen = day()
            monkeypatch.undo()
    # The resolution of the system's clock is a few milliseconds.
    assert frozen == pytest.approx(at.timestamp(), abs=1.0)
    assert day() == pytest.approx(wall(), abs=1.0)


def test_the_time_in_which_a_machine_is_suspended_counts_if_the_system_reports_it() -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this system has no clock that counts it separately")
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)
