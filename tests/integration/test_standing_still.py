"""A process that is stopped, or whose loop is blocked, in the middle of a cleanup or of a wait."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any, Final

import pytest

from vcloud.emulator import Clock, Emulator, Fault

ROOT = Path(__file__).parents[2]
#: The service is another process's than the client's, and goes on meanwhile.
STOPPED, BLOCKED = "stopped", "blocked"
#: Of a deployment that does not assign machines that are still turning on.
NO_MACHINE = Fault.reply(200, b'{"client_code": 440, "message": "No machine is available"}')
#: Longer than these bounds, which are longer than a request takes.
SECONDS, BOUNDS = 1.0, {"timeout": 0.5, "cleanup_timeout": 0.5}
#: The same for a stop that is under way, and answered when the process goes on.
SLOWLY: Final[dict[str, Any]] = {
    "bounds": {"timeout": 10, "cleanup_timeout": 0.8},
    "turns": 20,
    "with_stop": True,
}


class Client:
    """``standing_still.py`` as a process.

    Attributes:
        said: all that it wrote.
        failed: what it failed with; None: with nothing.
        before: the calls that the service had when it stood still.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.said = ""
        self.failed: str | None = None
        self.before = 0

    async def run(
        self,
        scenario: str,
        how: str,
        *,
        seconds: float = SECONDS,
        bounds: dict[str, float] = BOUNDS,
        turns: int = 0,
        loop: str = "asyncio",
        with_stop: bool = False,
        meanwhile: float = 0.0,
        **options: Any,
    ) -> Client:
        """Run it to its end.

        Args:
            scenario: what it does.
            how: it stands still.
            seconds: that it does so.
            bounds: of its endpoints.
            turns: of its loop before that.
            loop: which one.
            with_stop: whether it stands still when a stop is sent.
            meanwhile: seconds that pass at the service.
            options: further ones of its endpoints.
        """
        arguments = ["--how", how, "--seconds", str(seconds), "--turns", str(turns), "--loop", loop]
        arguments += ["--with-stop"] if with_stop else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-m",
            "tests.integration.standing_still",
            scenario,
            *arguments,
            "--options",
            json.dumps(bounds | options),
            cwd=ROOT,
            env=os.environ | self._emulator.env(),
            stdout=PIPE,
            stderr=STDOUT,
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self.said += line.decode()
                if line == b"still\n":
                    self.before = len(self._emulator.calls)
                    self._emulator.clock.advance(meanwhile)
            assert await process.wait() == 0, self.said
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert "still\n" in self.said
        self.failed = json.loads(self.said.splitlines()[-1])["failed"]
        return self

    def looks_afterwards(self) -> int:
        return sum(call.method == "GET" for call in list(self._emulator.calls)[self.before :])


def left(emulator: Emulator) -> int:
    """The desktops and machines that nobody stopped."""
    stopped = {
        call.path.split("/")[-2]
        for call in emulator.calls
        if call.path.endswith("/stop") and call.processed
    }
    now = emulator.clock.now()
    machines = [machine.status(now) for machine in emulator.streams.machines.values()]
    return (
        len(set(emulator.desktops.desktops) - stopped)
        + len(machines)
        - machines.count("terminated")
    )


def assert_all_is_stopped(emulator: Emulator, client: Client) -> None:
    assert client.failed is None
    assert "may" not in client.said, "no error in the log"
    assert "could not be stopped" not in client.said
    assert left(emulator) == 0


async def clean_up(scenario: str, how: str, *, with_stop: bool = False, **options: Any) -> None:
    in_line = scenario == "stop_in_line"
    clock = Clock.stopped() if scenario == "cancelled_connect" else None
    async with Emulator(clock=clock) if clock else Emulator(speed=1000) as emulator:
        emulator.faults.add("POST *assign-machine", NO_MACHINE, times=None)
        if with_stop:
            emulator.faults.add("POST */stop", Fault.delay(1.2), times=None)
            options["with_stop"] = True
        if in_line:
            options["concurrency"] = 1
            emulator.faults.add("GET */desktop/*", Fault.delay(0.3), times=None)
        client = await Client(emulator).run(scenario, how, **options)
        assert emulator.desktops.desktops or emulator.streams.machines
        assert_all_is_stopped(emulator, client)


def ways(quick: str) -> pytest.MarkDecorator:
    """Both ways to stand still, of which one runs in the suite, and the other in the long form."""
    others = [pytest.param(how, marks=pytest.mark.long) for how in (STOPPED, BLOCKED)]
    return pytest.mark.parametrize(
        "how", [quick, *[one for one in others if one.values != (quick,)]]
    )


@ways(STOPPED)
async def test_a_block_that_is_cancelled_stops_its_desktop_after_the_pause(how: str) -> None:
    await clean_up("cancelled_block", how, **SLOWLY)


@ways(BLOCKED)
async def test_a_stop_that_waits_in_line_is_sent_after_the_pause(how: str) -> None:
    await clean_up("stop_in_line", how, turns=3)


@ways(STOPPED)
async def test_a_client_that_is_closed_stops_what_it_opened_after_the_pause(how: str) -> None:
    await clean_up("closed_client", how, **SLOWLY)


@ways(BLOCKED)
async def test_a_connect_that_is_cancelled_stops_its_machine_after_the_pause(how: str) -> None:
    await clean_up("cancelled_connect", how, turns=4)


async def test_a_pause_costs_no_cleanup_on_uvloop() -> None:
    await clean_up("cancelled_block", BLOCKED, loop="uvloop", **SLOWLY)


CLEANUPS = ["cancelled_block", "stop_in_line", "closed_client", "cancelled_connect"]


@pytest.mark.long
@pytest.mark.parametrize("scenario", CLEANUPS)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("turns", range(12))
async def test_a_blocked_loop_at_any_turn_costs_no_cleanup(
    scenario: str, turns: int, loop: str
) -> None:
    await clean_up(scenario, BLOCKED, turns=turns, loop=loop)


@pytest.mark.long
@pytest.mark.parametrize("scenario", CLEANUPS)
@pytest.mark.parametrize(("how", "seconds"), [(STOPPED, 33), (BLOCKED, 10)])
async def test_a_long_pause_costs_no_cleanup_with_the_default_bounds(
    scenario: str, how: str, seconds: int
) -> None:
    await clean_up(scenario, how, turns=4, seconds=seconds, bounds={})


#: What is waited for, and the seconds that it takes at the service.
WAITS = {"machine": 600, "session": 600, "stream_machine": 60, "launch": 60, "connect": 60}


async def wait(scenario: str, how: str, **options: Any) -> None:
    async with Emulator(clock=Clock.stopped(), machines=1) as emulator:
        emulator.faults.add("POST *assign-machine", NO_MACHINE, times=1)
        client = await Client(emulator).run(scenario, how, meanwhile=WAITS[scenario], **options)
        assert client.failed is None
        # The one that was under way, and the one after; and the look of the launch's block.
        assert 1 <= client.looks_afterwards() <= 2 + (scenario == "launch")
        if scenario == "connect":
            now = emulator.clock.now()
            statuses = [one.status(now) for one in emulator.streams.machines.values()]
            assert statuses == ["assigned"], "the one that was started"


@pytest.mark.parametrize(
    ("scenario", "how"),
    [
        ("machine", STOPPED),
        ("launch", BLOCKED),
        ("connect", STOPPED),
        pytest.param("session", STOPPED, marks=pytest.mark.long),
        pytest.param("stream_machine", STOPPED, marks=pytest.mark.long),
        pytest.param("launch", STOPPED, marks=pytest.mark.long),
        pytest.param("connect", BLOCKED, marks=pytest.mark.long),
    ],
)
async def test_a_wait_that_stood_still_beyond_its_end_finds_what_is_there(
    scenario: str, how: str
) -> None:
    await wait(scenario, how)


@pytest.mark.parametrize("scenario", ["launch", pytest.param("connect", marks=pytest.mark.long)])
async def test_a_wait_that_stood_still_finds_what_is_there_on_uvloop(scenario: str) -> None:
    await wait(scenario, STOPPED, loop="uvloop")


@pytest.mark.long
@pytest.mark.parametrize("scenario", WAITS)
@pytest.mark.parametrize(("how", "seconds"), [(STOPPED, 33), (BLOCKED, 10)])
async def test_a_wait_finds_what_is_there_after_a_long_pause(
    scenario: str, how: str, seconds: int
) -> None:
    await wait(scenario, how, seconds=seconds, bounds={})
