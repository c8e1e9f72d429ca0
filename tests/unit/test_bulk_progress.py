"""The progress bar: there for those who watch, silent for all others."""

from __future__ import annotations

import io
import sys

import pytest

from vcloud import Bulk, ConfigurationError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error, watched by a person. No fixture: pytest would put its own in place again before the test."""
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


async def test_on_a_terminal_it_shows_how_far_the_run_is_and_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    await Bulk(range(8), act, progress="Starting [all] machines").run()
    assert "Starting [all] machines" in terminal.getvalue()
    assert "8/8, 1 failed" in terminal.getvalue()
    assert terminal.getvalue().rindex(SHOWN) > terminal.getvalue().rindex(HIDDEN)


async def test_of_a_source_without_a_length_it_shows_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    await Bulk(iter(range(8)), act, progress="Starting").run()
    assert "8, 1 failed" in terminal.getvalue()


async def test_the_terminal_is_left_as_it_was_when_the_run_is_given_up(
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


async def test_what_is_printed_meanwhile_into_a_file_arrives_there(
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


async def test_where_nobody_watches_it_is_silent_and_needs_no_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    await Bulk(range(8), act, progress="Starting").run()
    assert capsys.readouterr() == ("", "")


async def test_where_somebody_watches_a_missing_rich_is_named_before_anything_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ConfigurationError, match=r"vcloud-sdk\[progress\]"):
        await Bulk(range(8), act, progress="Starting").run()
    assert terminal.getvalue() == ""
