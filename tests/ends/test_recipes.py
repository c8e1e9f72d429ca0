"""The README's recipes for ends: real programs, ended as containers and servers end them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from vcloud.emulator import Emulator, Fault

if sys.platform == "win32":
    pytest.skip("there is no SIGTERM to handle", allow_module_level=True)

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "README.md")
    .read_text(encoding="utf-8")
    .partition("## When the program ends\n")[2]
    .partition("\n## ")[0]
)
SCRIPT, SOFT_LIMIT, TASK_GROUP, WEB_APP = re.findall(
    r"^```python\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL
)
#: Seconds that a container has to end. The service answers at once, so a fraction is enough.
GRACE = 30.0
LAUNCH, INSIDE = "POST */desktop", "POST */*-action"
SLOW, NEVER = Fault.stall_headers(0.3), Fault.stall_headers()
WHEN = pytest.mark.parametrize(
    ("route", "fault"), [(LAUNCH, SLOW), (INSIDE, NEVER)], ids=["launching", "inside"]
)


def as_in_a_terminal() -> None:
    """Let signals without a handler end this process."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@asynccontextmanager
async def running(emulator: Emulator, folder: Path, *command: str) -> AsyncIterator[Process]:
    """Run a program. It has ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=folder,
        env=os.environ | emulator.env() | {"PYTHONPATH": str(ROOT)},
        stdout=PIPE,
        stderr=STDOUT,
        # A child inherits ignored signals, as those of nohup or of a background job.
        preexec_fn=as_in_a_terminal,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(there: Callable[[], bool], process: Process) -> None:
    while not there():
        assert process.returncode is None, "it ended too early"
        await asyncio.sleep(0.005)  # neither side has an event for it


async def stop_as_a_container(process: Process, first: signal.Signals = signal.SIGTERM) -> str:
    """Send the signal, and SIGKILL after the grace period. Returns the output."""
    # The request has arrived, and the program waits for the answer.
    await asyncio.sleep(0.05)
    process.send_signal(first)
    # Its output is read, so that it never waits for the test.
    reading = asyncio.create_task(process.communicate())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await asyncio.shield(reading)
    if process.returncode is None:
        process.kill()
    output, _ = await reading
    return str(output.decode())


def left(emulator: Emulator) -> list[str]:
    """The desktops that still run, by the service's records."""
    assert emulator.desktops.desktops, "nothing was launched, so this shows nothing"
    return [one.id for one in emulator.desktops.desktops.values() if one.forced != "terminated"]


async def ended(
    code: str, folder: Path, route: str, fault: Fault, number: signal.Signals
) -> tuple[int | None, str, list[str]]:
    """Run it, and end it while this request is in flight.

    Returns:
        its status, its output, and the desktops that still run.
    """
    (folder / "recipe.py").write_text(code, encoding="utf-8")
    async with Emulator(speed=200) as emulator:
        rule = emulator.faults.add(route, fault)
        async with running(emulator, folder, "-W", "error", "recipe.py") as process:
            await until(lambda: rule.hits == 1, process)
            output = await stop_as_a_container(process, number)
        return process.returncode, output, left(emulator)


@WHEN
async def test_a_script_that_is_stopped_like_a_container_leaves_nothing_running(
    route: str, fault: Fault, tmp_path: Path
) -> None:
    status, output, remaining = await ended(SCRIPT, tmp_path, route, fault, signal.SIGTERM)
    assert remaining == [], output
    assert status not in (None, -signal.SIGKILL, -signal.SIGTERM), output
    assert "never" not in output


@WHEN
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGALRM"])
async def test_a_soft_time_limit_leaves_nothing_running(
    name: str, route: str, fault: Fault, tmp_path: Path
) -> None:
    code = SOFT_LIMIT.replace("SIGUSR1", name)
    number = signal.Signals[name]
    status, output, remaining = await ended(code, tmp_path, route, fault, number)
    assert remaining == [], output
    assert (status, output) == (0, "too late, and nothing was left running\n")


async def test_a_task_group_stops_the_desktops_of_the_others_when_one_fails(
    tmp_path: Path,
) -> None:
    (tmp_path / "recipe.py").write_text(TASK_GROUP, encoding="utf-8")
    async with Emulator(speed=200) as emulator:
        # The last command fails; the others never end by themselves.
        emulator.faults.add("POST */bash-action", NEVER, times=2)
        emulator.faults.add("POST */bash-action", Fault.server_error(500))
        async with running(emulator, tmp_path, "-W", "error", "recipe.py") as process:
            output, _ = await process.communicate()
        assert len(emulator.desktops.desktops) == 3
        assert left(emulator) == [], output.decode()


@WHEN
async def test_a_web_app_that_is_stopped_leaves_nothing_running(
    route: str, fault: Fault, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(WEB_APP, encoding="utf-8")
    async with Emulator(speed=200) as emulator:
        rule = emulator.faults.add(route, fault)
        command = ("-m", "uvicorn", "app:app", "--port", "0", "--timeout-graceful-shutdown", "1")
        async with running(emulator, tmp_path, *command) as process:
            assert process.stdout is not None
            said = await process.stdout.readuntil(b"(Press CTRL+C to quit)")
            found = re.search(rb"http://127\.0\.0\.1:(\d+)", said)
            assert found, said
            _, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: rule.hits == 1, process)
            output = await stop_as_a_container(process)
            writer.close()
        assert left(emulator) == [], output
        assert process.returncode != -signal.SIGKILL, output
        assert "Finished server process" in output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_that_ends_it_without_running_python_leaves_its_desktop_running(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The control experiment, and the case that the README excludes."""
    code = "".join(line for line in SCRIPT.splitlines(True) if "add_signal_handler" not in line)
    assert code != SCRIPT
    status, output, remaining = await ended(code, tmp_path, INSIDE, NEVER, number)
    assert (status, output) == (-number, "")
    assert len(remaining) == 1
