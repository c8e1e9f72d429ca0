"""A client whose process is stopped, or whose loop is blocked, past its timeouts.

What has arrived by then is used. The emulator runs in this process, and the client in another one.
While the client is stopped, the emulator answers in time, and the answers are in the client's
sockets, unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.each_loop import FORMS, LOOPS
from vcloud.emulator import Emulator, Fault

if sys.platform == "win32":
    pytest.skip("there is no SIGSTOP for Windows", allow_module_level=True)

ROOT = Path(__file__).parents[2]
TIMEOUT, ANSWER, STOP = 0.5, 0.2, 1.0
THERE_BEFORE = 3

each_loop = pytest.mark.parametrize(("loop", "tls"), FORMS)


@contextlib.asynccontextmanager
async def client(
    emulator: Emulator, loop: str, what: str, **options: object
) -> AsyncIterator[Process]:
    """Run the program `frozen_client`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tests.integration.frozen_client"),
        *(loop, what, json.dumps(options)),
        cwd=ROOT,
        env=os.environ | emulator.env(),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def stop(process: Process, seconds: float) -> None:
    """Stop the process for so long."""
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGCONT)


async def report(process: Process) -> Any:
    """The report of the program at its end."""
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    assert not complaints, complaints.decode()
    return json.loads(said)


def processed(emulator: Emulator, method: str, path: str) -> int:
    """How many such requests the service has carried out."""
    return sum(
        call.processed and call.method == method and call.path.endswith(path)
        for call in emulator.calls
    )


@pytest.mark.parametrize(
    ("loop", "tls", "how"),
    [
        ("asyncio", True, "stopped"),
        ("uvloop", False, "blocked"),
        *[
            pytest.param(loop, tls, how, marks=pytest.mark.long)
            for loop in LOOPS
            for tls in (False, True)
            for how in ("stopped", "blocked")
            if (loop, tls, how) not in {("asyncio", True, "stopped"), ("uvloop", False, "blocked")}
        ],
    ],
)
async def test_an_answer_that_arrived_during_the_stop_is_used(
    loop: str, tls: bool, how: str
) -> None:
    async with Emulator(machines=THERE_BEFORE, tls=tls, speed=300) as emulator:
        blocked = STOP if how == "blocked" else 0
        async with client(emulator, loop, "each_kind", timeout=TIMEOUT, blocked=blocked) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            emulator.faults.add("*", Fault.delay(ANSWER), times=None)
            process.stdin.write(b"\n")
            for _ in range(0 if blocked else 2):
                assert await process.stdout.readline() == b"sent\n"
                await stop(process, STOP)
            said = await report(process)
        bought = list(emulator.computers.machines)[THERE_BEFORE:]
        assert sorted(
            [said["create"], said["create with a deadline"], *said["bulk with a deadline"].split()]
        ) == sorted(bought)
        assert said["launch"] in emulator.desktops.desktops
        assert len(emulator.desktops.desktops) == 1
        assert said["read"] == "100"
        assert processed(emulator, "GET", "/machines/100") == 1
        assert said["login"] == "True"
        assert processed(emulator, "POST", "/auth/login") == 2, "one of them before the stop"
        assert said["handshake"] == "RFB 003.008"


async def bought_in_bulk(
    emulator: Emulator, process: Process, *, count: int, stops: int, seconds: float
) -> None:
    """Stop the bulk run of creates so often. Each machine must be made once."""
    for number in range(stops):
        so_far = count * (number + 1) // (stops + 2)
        while processed(emulator, "POST", "/machines") < so_far:
            assert process.returncode is None, await report(process)
            await asyncio.sleep(0.001)
        await stop(process, seconds)
    said = await report(process)
    assert said["outcomes"] == {"done": count}, said["errors"]
    bought = list(emulator.computers.machines)[THERE_BEFORE:]
    assert sorted(said["ids"]) == sorted(bought)
    assert len(bought) == count
    assert processed(emulator, "POST", "/machines") == count


@each_loop
async def test_a_bulk_run_that_is_stopped_three_times_loses_and_repeats_no_create(
    loop: str, tls: bool
) -> None:
    async with Emulator(machines=THERE_BEFORE, tls=tls) as emulator:
        emulator.faults.add("POST *", Fault.delay(0.05), times=None)
        options = {"count": 80, "concurrency": 8, "timeout": TIMEOUT, "blocked": 0}
        async with client(emulator, loop, "bulk", **options) as process:
            await bought_in_bulk(emulator, process, count=80, stops=3, seconds=STOP)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("loop", "tls"), [("asyncio", False), ("uvloop", True)])
async def test_a_bulk_run_of_1000_creates_survives_ten_stops_of_33_seconds_with_default_timeouts(
    loop: str, tls: bool
) -> None:
    async with Emulator(machines=THERE_BEFORE, tls=tls) as emulator:
        emulator.faults.add("POST *", Fault.delay(0.2), times=None)
        options = {"count": 1000, "concurrency": 20, "timeout": None, "blocked": 10}
        async with client(emulator, loop, "bulk", **options) as process:
            await bought_in_bulk(emulator, process, count=1000, stops=10, seconds=33)
