"""A process that is stopped, or whose loop is blocked, in the middle of a cleanup or of a wait."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from typing import Any, Final

import pytest

from vcloud.emulator import Clock, Emulator, Fault

ROOT = Path(__file__).parents[2]
#: The service runs in another process than the client, and continues.
STOPPED, BLOCKED = "stopped", "blocked"
#: The answer of a deployment that does not assign machines before they are on.
NO_MACHINE = Fault.reply(200, b'{"client_code": 440, "message": "No machine is available"}')
#: A pause that is longer than these timeouts, which are longer than a request takes.
SECONDS, TIMEOUTS = 1.0, {"timeout": 0.5, "cleanup_timeout": 0.5}
#: A pause while a stop is in flight, which is answered after the pause.
DURING_STOP: Final[dict[str, Any]] = {
    "timeouts": {"timeout": 10, "cleanup_timeout": 0.8},
    "iterations": 20,
    "with_stop": True,
}


class Client:
    """A process of ``standing_still.py``.

    Attributes:
        said: its whole output.
        failed: its error; None: it succeeded.
        before: how many calls the service had at the beginning of the pause.
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
        timeouts: dict[str, float] = TIMEOUTS,
        iterations: int = 0,
        loop: str = "asyncio",
        with_stop: bool = False,
        meanwhile: float = 0.0,
        **options: Any,
    ) -> Client:
        """Run it to its end.

        Args:
            scenario: what it does.
            how: stopped or blocked.
            seconds: the length of the pause.
            timeouts: of its endpoints.
            iterations: of its loop before the pause.
            loop: the kind of its loop.
            with_stop: whether the pause begins when a stop is sent.
            meanwhile: seconds that pass at the service during the pause.
            options: further options of its endpoints.
        """
        arguments = ["--how", how, "--seconds", str(seconds), "--iterations", str(iterations)]
        arguments += ["--loop", loop, *(["--with-stop"] if with_stop else [])]
        arguments += ["--options", json.dumps(timeouts | options)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "tests.integration.standing_still"),
            *(scenario, *arguments),
            cwd=ROOT,
            env=os.environ | self._emulator.env(),
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            await self._read(process, meanwhile)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert "still\n" in self.said
        self.failed = json.loads(self.said.splitlines()[-1])["failed"]
        return self

    async def _read(self, process: Process, meanwhile: float) -> None:
        """Read its output to the end, and let time pass at the service during the pause."""
        assert process.stdout is not None
        async for line in process.stdout:
            self.said += line.decode()
            if line == b"still\n":
                self.before = len(self._emulator.calls)
                self._emulator.clock.advance(meanwhile)
        assert await process.wait() == 0, self.said

    def reads_afterwards(self) -> int:
        return sum(call.method == "GET" for call in list(self._emulator.calls)[self.before :])


def left(emulator: Emulator) -> int:
    """How many desktops and machines still run."""
    stopped = {
        call.path.split("/")[-2]
        for call in emulator.calls
        if call.path.endswith("/stop") and call.processed
    }
    now = emulator.clock.now()
    machines = [machine.status_at(now) for machine in emulator.streams.machines.values()]
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
    in_queue = scenario == "stop_in_queue"
    clock = Clock.stopped() if scenario == "cancelled_connect" else None
    async with Emulator(clock=clock) if clock else Emulator(speed=1000) as emulator:
        emulator.faults.add("POST *assign-machine", NO_MACHINE, times=None)
        if with_stop:
            emulator.faults.add("POST */stop", Fault.delay(1.2), times=None)
            options["with_stop"] = True
        if in_queue:
            options["concurrency"] = 1
            emulator.faults.add("GET */desktop/*", Fault.delay(0.3), times=None)
        client = await Client(emulator).run(scenario, how, **options)
        assert emulator.desktops.desktops or emulator.streams.machines
        assert_all_is_stopped(emulator, client)


def ways(quick: str) -> pytest.MarkDecorator:
    """Both kinds of pauses. One runs in the suite, and the other in the long form."""
    others = [pytest.param(how, marks=pytest.mark.long) for how in (STOPPED, BLOCKED)]
    return pytest.mark.parametrize(
        "how", [quick, *[one for one in others if one.values != (quick,)]]
    )


@ways(STOPPED)
async def test_a_cancelled_block_stops_its_desktop_after_the_pause(how: str) -> None:
    await clean_up("cancelled_block", how, **DURING_STOP)


@ways(BLOCKED)
async def test_a_stop_that_waits_in_the_queue_is_sent_after_the_pause(how: str) -> None:
    await clean_up("stop_in_queue", how, iterations=3)


@ways(STOPPED)
async def test_a_client_that_is_closed_stops_what_it_opened_after_the_pause(how: str) -> None:
    await clean_up("closed_client", how, **DURING_STOP)


@ways(BLOCKED)
async def test_a_cancelled_connect_stops_its_machine_after_the_pause(how: str) -> None:
    await clean_up("cancelled_connect", how, iterations=4)


async def test_a_pause_costs_no_cleanup_on_uvloop() -> None:
    await clean_up("cancelled_block", BLOCKED, loop="uvloop", **DURING_STOP)


CLEANUPS = ["cancelled_block", "stop_in_queue", "closed_client", "cancelled_connect"]


@pytest.mark.long
@pytest.mark.parametrize("scenario", CLEANUPS)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("iterations", range(12))
async def test_a_blocked_loop_at_any_iteration_costs_no_cleanup(
    scenario: str, iterations: int, loop: str
) -> None:
    await clean_up(scenario, BLOCKED, iterations=iterations, loop=loop)


@pytest.mark.long
@pytest.mark.parametrize("scenario", CLEANUPS)
@pytest.mark.parametrize(("how", "seconds"), [(STOPPED, 33), (BLOCKED, 10)])
async def test_a_long_pause_costs_no_cleanup_with_the_default_timeouts(
    scenario: str, how: str, seconds: int
) -> None:
    await clean_up(scenario, how, iterations=4, seconds=seconds, timeouts={})


#: What is waited for, and the seconds that it takes at the service.
WAITS = {"machine": 600, "session": 600, "stream_machine": 60, "launch": 60, "connect": 60}


async def wait(scenario: str, how: str, **options: Any) -> None:
    async with Emulator(clock=Clock.stopped(), machines=1) as emulator:
        emulator.faults.add("POST *assign-machine", NO_MACHINE, times=1)
        client = await Client(emulator).run(scenario, how, meanwhile=WAITS[scenario], **options)
        assert client.failed is None
        # The read that was in flight, the final one, and the read in the block of a launch.
        assert 1 <= client.reads_afterwards() <= 2 + (scenario == "launch")
        if scenario == "connect":
            now = emulator.clock.now()
            statuses = [one.status_at(now) for one in emulator.streams.machines.values()]
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
async def test_a_wait_that_was_paused_beyond_its_timeout_finds_the_result(
    scenario: str, how: str
) -> None:
    await wait(scenario, how)


@pytest.mark.parametrize("scenario", ["launch", pytest.param("connect", marks=pytest.mark.long)])
async def test_a_wait_that_was_paused_finds_the_result_on_uvloop(scenario: str) -> None:
    await wait(scenario, STOPPED, loop="uvloop")


@pytest.mark.long
@pytest.mark.parametrize("scenario", WAITS)
@pytest.mark.parametrize(("how", "seconds"), [(STOPPED, 33), (BLOCKED, 10)])
async def test_a_wait_finds_the_result_after_a_long_pause(
    scenario: str, how: str, seconds: int
) -> None:
    await wait(scenario, how, seconds=seconds, timeouts={})
