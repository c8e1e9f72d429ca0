"""examples/bulk_start.py as a process: killed ten times, and interrupted by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import Counter
from pathlib import Path

from vcloud import Journal, OutcomeStatus
from vcloud.emulator import Emulator, Fault

ROOT = Path(__file__).parents[2]
MACHINES = 120
KILLS = 10
THERE_BEFORE = 3


async def begin(emulator: Emulator, folder: Path, machines: int = MACHINES) -> Process:
    environment = (
        os.environ
        | emulator.env()
        | {"VCLOUD_EXAMPLE_BUY": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    )
    command = [
        str(ROOT / "examples" / "bulk_start.py"),
        "--count",
        str(machines),
        "--concurrency",
        "8",
    ]
    times = ["--settle-time", "0.2", "--poll", "0.02", "--journals", str(folder / "journals")]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *command,
        *times,
        cwd=folder,
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )


def spending(emulator: Emulator) -> int:
    """How many creates and starts the service has received."""
    return sum(call.method == "POST" for call in emulator.calls)


def assert_each_was_bought_and_started_once(emulator: Emulator, machines: int = MACHINES) -> None:
    posts = Counter(
        call.path for call in emulator.calls if call.method == "POST" and call.processed
    )
    creates = posts.pop("/organization-management/v1/machines")
    assert creates == machines
    assert len(emulator.computers.machines) == THERE_BEFORE + machines
    assert set(posts.values()) == {1}
    assert len(posts) == machines
    assert all(path.endswith("/start") for path in posts)
    # Not those that are on: with such a fast clock, the first machines have stopped by themselves
    # when the last one is started.
    started = [
        machine
        for machine in list(emulator.computers.machines.values())[THERE_BEFORE:]
        if machine.started
    ]
    assert len(started) == machines


async def test_killed_at_ten_random_moments_it_buys_and_starts_every_machine_once(
    tmp_path: Path,
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    # Moments of its work and not of the clock, so that they cover all of it on any machine: from
    # before the first create to the starts. The last ones are left out, because it might end before
    # it is killed.
    moments = sorted(chance.sample(range(2 * MACHINES - 40), KILLS))
    async with Emulator(machines=THERE_BEFORE, speed=200) as emulator:
        # Some requests are carried out only after the process was killed.
        emulator.faults.add("POST *", Fault.delay(0.02), times=None)
        for moment in moments:
            process = await begin(emulator, tmp_path)
            assert process.stdout is not None
            try:
                await process.stdout.readuntil(b"at a time;")
                while spending(emulator) < moment and process.returncode is None:  # noqa: ASYNC110 - the emulator has no event for it
                    await asyncio.sleep(0.001)
                await asyncio.sleep(chance.uniform(0, 0.03))
            finally:
                process.kill()
                output, _ = await process.communicate()
            assert process.returncode == -signal.SIGKILL, output.decode()
            print(f"killed when the service had seen {spending(emulator)} of {2 * MACHINES}")
        process = await begin(emulator, tmp_path)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert f"{MACHINES} of {MACHINES} machines were started.".encode() in output
        assert_each_was_bought_and_started_once(emulator)


async def test_machines_whose_answers_were_lost_are_adopted(
    tmp_path: Path,
) -> None:
    async with Emulator(machines=THERE_BEFORE, speed=200) as emulator:
        emulator.faults.add("POST */machines", Fault.reset_after(), times=3)
        emulator.faults.add("POST */start", Fault.reset_after(), times=2)
        codes = []
        for _ in range(3):
            process = await begin(emulator, tmp_path, 12)
            output, _ = await process.communicate()
            codes.append(process.returncode)
        assert codes == [1, 0, 0], output.decode()
        assert_each_was_bought_and_started_once(emulator, 12)


async def test_it_buys_nothing_if_another_process_buys_too(tmp_path: Path) -> None:
    async with Emulator(machines=THERE_BEFORE, speed=200) as emulator:
        emulator.faults.add("POST */machines", Fault.reset_after(), times=3)
        await (await begin(emulator, tmp_path, 12)).communicate()
        emulator.computers.add_machine()
        before = spending(emulator)
        process = await begin(emulator, tmp_path, 12)
        output, _ = await process.communicate()
        assert process.returncode == 1
        assert b"somebody else buys too" in output
        assert b"Traceback" not in output
        assert spending(emulator) == before


async def statuses(folder: Path, step: str, emulator: Emulator) -> Counter[OutcomeStatus]:
    service = f"<VagonComputers at {emulator.env()['VCLOUD_COMPUTERS_URL']}>"
    async with Journal(
        folder / "journals" / f"{step}.journal", job=f"{step} at {service}"
    ) as journal:
        return Counter(entry.status for entry in await journal.entries())


async def interrupt(emulator: Emulator, folder: Path, *, presses: int) -> tuple[int | None, str]:
    """Run it against a service that answers only thirty creates, and press Ctrl-C."""
    emulator.faults.add("POST */machines", Fault.delay(0.01), times=30)
    emulator.faults.add("POST */machines", Fault.delay(3600), times=None)
    process = await begin(emulator, folder)
    assert process.stdout is not None
    try:
        await process.stdout.readuntil(b"at a time;")
        async with asyncio.timeout(60):
            while spending(emulator) < 30:  # noqa: ASYNC110 - the emulator has no event for it
                await asyncio.sleep(0.001)
        pressed_at = time.monotonic()
        for _ in range(presses):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.01)
        output, _ = await process.communicate()
        print(f"Ctrl-C to exit: {time.monotonic() - pressed_at:.3f} s")
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode()


async def test_ctrl_c_ends_it_with_a_summary_that_agrees_with_the_journal(
    tmp_path: Path,
) -> None:
    async with Emulator(machines=THERE_BEFORE, speed=200) as emulator:
        code, output = await interrupt(emulator, tmp_path, presses=1)
        written = await statuses(tmp_path, "buy", emulator)
    assert code == 130, output
    assert "Traceback" not in output
    assert "Run it again" in output
    summary = re.search(
        r"bought: (\d+) done, 0 failed, (\d+) unknown, (\d+) undone of 120 in .* interrupted",
        output,
    )
    assert summary, output
    done, unknown, undone = map(int, summary.groups())
    assert written == {OutcomeStatus.DONE: done, OutcomeStatus.UNKNOWN: unknown}
    assert len(emulator.computers.machines) == THERE_BEFORE + 30
    assert 22 <= done <= 30, "an answer may have been on its way"
    assert done + unknown >= 30
    assert unknown <= 8
    assert done + unknown + undone == MACHINES


async def test_a_second_ctrl_c_does_not_damage_the_journal(tmp_path: Path) -> None:
    async with Emulator(machines=THERE_BEFORE, speed=200) as emulator:
        code, output = await interrupt(emulator, tmp_path, presses=4)
        written = await statuses(tmp_path, "buy", emulator)
    assert code != 0, output
    assert written.keys() <= {OutcomeStatus.DONE, OutcomeStatus.UNKNOWN}
    assert len(emulator.computers.machines) == THERE_BEFORE + 30
    assert written[OutcomeStatus.DONE] <= 30 <= written.total() <= 38
