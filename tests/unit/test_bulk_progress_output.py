"""Progress lines without a terminal, and runs that continue after standard error has failed."""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from vcloud import Bulk

POSIX = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX's")


class Clock:
    """The time of the loop, which only moves when a test moves it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self.now = float(round(loop.time()))  # so that sums of seconds are exact
        patch.setattr(loop, "time", lambda: self.now)

    async def move(self, seconds: float) -> None:
        self.now += seconds
        for _ in range(5):
            await asyncio.sleep(0)


class Run:
    """A run of ten items, which finish when a test says so."""

    def __init__(self, **options: Any) -> None:
        self.ends: list[asyncio.Future[None]] = [
            asyncio.get_running_loop().create_future() for _ in range(10)
        ]
        bulk = Bulk(range(10), self._act, progress="Starting", **options)
        self.task = asyncio.create_task(bulk.run())

    async def _act(self, number: int) -> None:
        await self.ends[number]

    def end(self, count: int, error: Exception | None = None) -> None:
        """Finish this many more items."""
        for one in [one for one in self.ends if not one.done()][:count]:
            one.set_exception(error) if error else one.set_result(None)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(asyncio.get_running_loop(), monkeypatch)


async def test_without_a_terminal_a_line_is_written_every_30_seconds(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)  # lines do not need it
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    run = Run()
    await clock.move(0)
    run.end(2)
    await clock.move(29)
    assert log.getvalue() == ""
    await clock.move(1)
    assert log.getvalue() == "Starting: 2/10, after 0:00:30\n"
    # Although no item has finished meanwhile.
    await clock.move(30)
    assert log.getvalue().splitlines()[1:] == ["Starting: 2/10, after 0:01:00"]
    run.end(3, ValueError())
    await clock.move(15)
    assert len(log.getvalue().splitlines()) == 2
    await clock.move(15)
    assert log.getvalue().splitlines()[2:] == ["Starting: 5/10, 3 failed, after 0:01:30"]
    run.end(5)
    await clock.move(7)
    assert (await run.task).done == 7
    assert log.getvalue().splitlines()[3:] == ["Starting: 10/10, 3 failed, after 0:01:37; ended"]
    await clock.move(300)
    assert len(log.getvalue().splitlines()) == 4, "the timer ended with the run"


async def test_the_last_line_has_the_reason_why_the_run_was_stopped(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    run = Run(deadline=40)
    await clock.move(0)
    run.end(1)
    await clock.move(31)
    await clock.move(10)
    assert (await run.task).stopped == "deadline"
    assert log.getvalue().splitlines() == [
        "Starting: 1/10, after 0:00:31",
        "Starting: 10/10, 9 unknown, after 0:00:41; stopped: deadline",
    ]


async def test_after_a_pause_of_the_process_one_line_is_written(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    run = Run()
    await clock.move(0)
    await clock.move(8 * 3600)
    assert log.getvalue() == "Starting: 0/10, after 8:00:00\n"
    run.end(10)
    await run.task


async def test_a_line_is_one_line_without_control_characters(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    ended = asyncio.get_running_loop().create_future()

    async def act(_: int) -> None:
        await ended

    task = asyncio.create_task(Bulk([1], act, progress="a\x1b[2J\nINFO forged").run())
    await clock.move(0)
    await clock.move(31)
    assert log.getvalue() == "a\\x1b[2J\\nINFO forged: 0/1, after 0:00:31\n"
    ended.set_result(None)
    await task


class Stream(io.StringIO):
    """Standard error that takes this many writes, and then fails."""

    def __init__(self, error: Exception, writes: int, *, terminal: bool) -> None:
        super().__init__()
        self.error, self.left, self.terminal = error, writes, terminal
        self.failures = 0

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            self.failures += 1
            raise self.error
        return super().write(text)


ERRORS = [OSError(5, "Input/output error"), BrokenPipeError(), ValueError("closed"), KeyError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("writes", [0, 1])
async def test_a_log_that_cannot_be_written_does_not_end_the_run(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception, writes: int
) -> None:
    monkeypatch.setattr(sys, "stderr", log := Stream(error, writes, terminal=False))
    run = Run()
    for _ in range(4):
        await clock.move(30.1)
    run.end(10)
    assert (await run.task).done == 10
    assert log.failures == 1


async def test_a_broken_pipe_does_not_end_the_run(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1) as log:
        monkeypatch.setattr(sys, "stderr", log)
        run = Run()
        await clock.move(0)
        await clock.move(31)
        assert os.read(reader, 1000) == b"Starting: 0/10, after 0:00:31\n"
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            log.write("it is gone\n")
        await clock.move(31)
        run.end(10)
        assert (await run.task).done == 10
        with suppress(BrokenPipeError):
            log.close()


async def test_a_slow_reader_of_the_log_gets_later_lines(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Stream(BlockingIOError(), 0, terminal=False)
    monkeypatch.setattr(sys, "stderr", log)
    run = Run()
    await clock.move(0)
    await clock.move(31)
    log.left = 9
    await clock.move(31)
    assert log.getvalue() == "Starting: 0/10, after 0:01:02\n"
    run.end(10)
    await run.task


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("writes", [0, 5])
async def test_a_terminal_that_fails_later_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, error: Exception, writes: int
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Stream(error, writes, terminal=True))
    streams = sys.stdout, sys.stderr
    run = Run()
    for _ in range(3):
        await asyncio.sleep(0.12)  # the bar is drawn in a thread, ten times a second
        run.end(1)
        print("this goes above the bar", file=sys.stderr)
    run.end(7)
    assert (await run.task).done == 10
    assert (sys.stdout, sys.stderr) == streams
    assert terminal.failures >= 1


@pytest.mark.parametrize("stream", [None, "closed", "without methods"])
async def test_without_a_usable_standard_error_nothing_is_shown(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, stream: str | None
) -> None:
    gone = io.StringIO()
    gone.close()
    given: Any = {None: None, "closed": gone, "without methods": object()}[stream]
    monkeypatch.setattr(sys, "stderr", given)
    monkeypatch.setattr(sys, "stdout", given)
    run = Run()
    await clock.move(0)
    await clock.move(31)
    run.end(10)
    assert (await run.task).done == 10


async def test_a_terminal_without_a_standard_output_shows_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Stream(KeyError(), 10**6, terminal=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", None)
    run = Run()
    await asyncio.sleep(0)
    run.end(10)
    await run.task
    assert "10/10" in terminal.getvalue()


async def test_two_bars_at_once_both_write_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Stream(KeyError(), 10**6, terminal=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    first, second = Run(), Run()
    await asyncio.sleep(0.25)
    for run in (first, second):
        run.end(10)
        await run.task
    assert terminal.getvalue().count("\x1b[?25h") == 2
    assert sys.stderr is terminal


async def test_a_bar_that_cannot_be_drawn_is_replaced_by_lines(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.live._RefreshThread.start", fail)
    terminal = Stream(KeyError(), 10**6, terminal=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    run = Run()
    await clock.move(0)
    assert sys.stderr is terminal
    await clock.move(31)
    assert terminal.getvalue().endswith("Starting: 0/10, after 0:00:31\n")
    run.end(10)
    await run.task


# Real processes.

#: Prints a line when the bar is shown, and continues after a line of input.
PROGRAM = """
    import asyncio, signal, sys
    from vcloud import Bulk

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does

    async def act(number):
        if number == 3:
            print("begun", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        await asyncio.sleep(0.3)  # the bar is drawn ten times a second
        print(number, flush=True)

    async def main():
        totals = await Bulk(range(6), act, concurrency=1, progress="Starting").run()
        print(totals.done, flush=True)

    asyncio.run(main())
"""


def said_by_program(
    stderr: int | None,
    meanwhile: Callable[[], object],
    *,
    shell: str = "",
    at_last: Callable[[], object] = lambda: None,
) -> str:
    """Run the program, and return its output after ``meanwhile``.

    ``at_last`` is called when all items have finished.
    """
    python = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    command = ["sh", "-c", f'exec "$@" {shell}', "sh", *python] if shell else python
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "TERM": "xterm"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdin is not None
            assert [process.stdout.readline() for _ in range(4)] == ["0\n", "1\n", "2\n", "begun\n"]
            meanwhile()
            process.stdin.write("go on\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(3)] == ["3\n", "4\n", "5\n"]
            at_last()
            process.stdin.close()
            # communicate() would not see what readline() has read ahead.
            said = process.stdout.read()
            process.wait(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    return said


@POSIX
def test_a_terminal_that_is_closed_does_not_end_the_run() -> None:
    master, slave = os.openpty()
    drawn: list[bytes] = []

    def close() -> None:
        os.close(slave)
        drawn.append(os.read(master, 1000))
        os.close(master)

    assert said_by_program(slave, close) == "6\n"
    assert b"Starting" in drawn[0] or b"\x1b[" in drawn[0]


@POSIX
def test_a_stopped_terminal_delays_no_item() -> None:
    master, slave = os.openpty()
    # As Ctrl-S does: a writer waits.
    flow = importlib.import_module("termios")

    def go_on() -> None:
        flow.tcflow(slave, flow.TCOON)
        os.close(slave)

    said = said_by_program(slave, lambda: flow.tcflow(slave, flow.TCOOFF), at_last=go_on)
    assert said == "6\n"
    os.close(master)


@POSIX
def test_a_process_without_a_standard_error_runs() -> None:
    assert said_by_program(None, lambda: None, shell="2>&-") == "6\n"
