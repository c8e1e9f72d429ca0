"""The progress bar: shown on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from vcloud import Bulk, ConfigurationError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal.

    This is no fixture, because pytest would replace it before the test.
    """
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


async def act(number: int) -> int:
    if number == 3:
        raise ValueError
    return number


SHOWN, HIDDEN = "\x1b[?25h", "\x1b[?25l"


async def test_a_terminal_shows_the_progress_and_the_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    await Bulk(range(8), act, progress="Starting [all] machines").run()
    assert "Starting [all] machines" in terminal.getvalue()
    assert "8/8, 1 failed" in terminal.getvalue()
    assert terminal.getvalue().rindex(SHOWN) > terminal.getvalue().rindex(HIDDEN)


async def test_a_source_without_a_length_shows_only_the_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    await Bulk(iter(range(8)), act, progress="Starting").run()
    assert "8, 1 failed" in terminal.getvalue()


async def test_the_terminal_is_restored_when_the_run_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)

    async def give_up() -> None:
        async with Bulk(range(8), act, progress="Starting") as run:
            async for _ in run:
                raise KeyboardInterrupt

    streams = sys.stdout, sys.stderr
    with pytest.raises(KeyboardInterrupt):
        await give_up()
    assert terminal.getvalue().rindex(SHOWN) > terminal.getvalue().rindex(HIDDEN)
    assert (sys.stdout, sys.stderr) == streams


async def test_output_that_is_printed_to_a_file_meanwhile_arrives_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    async with Bulk(range(3), act, progress="Starting") as run:
        async for outcome in run:
            print("done", outcome.item)
    assert sorted(file.getvalue().splitlines()) == ["done 0", "done 1", "done 2"]
    assert "done 0" not in terminal.getvalue()


async def test_without_a_terminal_there_is_no_bar_and_no_need_for_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    await Bulk(range(8), act, progress="Starting").run()
    assert capsys.readouterr() == ("", "")


async def test_a_missing_rich_is_reported_before_any_item_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ConfigurationError, match=r"vcloud-sdk\[progress\]"):
        await Bulk(range(8), act, progress="Starting").run()
    assert terminal.getvalue() == ""
