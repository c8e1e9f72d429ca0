"""However a program ends, whatever it is doing: every machine is stopped, or named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from random import Random

import pytest

if sys.platform == "win32":
    pytest.skip("programs are forked, and ended by signals", allow_module_level=True)

from tests.ends.cells import LOOPS, MOMENTS, SENSELESS, Cell, End, anytime, cells, quick
from tests.ends.ends_harness import require, run, table

#: The issue's eight moments.
GROUPS = {
    "waiting in line",
    "the create under way",
    "the block running",
    "stopping",
    "connect starting",
    "connect assigning",
    "its undo",
    "a bulk run with a journal",
}


def test_every_moment_is_played_with_every_end_on_every_loop() -> None:
    assert {moment.group for moment in MOMENTS} == GROUPS
    pairs = len(End) * len(LOOPS) - len(SENSELESS)
    assert len(set(map(str, cells()))) == len(cells()) == len(MOMENTS) * pairs
    assert {(cell.moment.group, cell.end) for cell in quick()} == {
        (group, end) for group in GROUPS for end in End
    }
    assert {cell.loop for cell in quick()} == set(LOOPS)


def test_uvloop_goes_on_where_a_signals_handler_raises_an_ordinary_exception() -> None:
    """Why one end makes no sense there."""
    code = textwrap.dedent("""
        import asyncio, os, signal, uvloop
        def late(*_): raise TimeoutError
        async def main():
            signal.signal(signal.SIGUSR1, late)
            asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(0.1)
            print("went on")
        uvloop.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "went on\n"
    assert "TimeoutError" in done.stderr


async def test_whatever_ends_a_program_nothing_is_left_unnamed() -> None:
    verdicts = await run(quick())
    print(f"\n{table(verdicts)}")
    require(verdicts)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_whatever_ends_a_program_nothing_is_left_unnamed_in_any_form() -> None:
    verdicts = await run(cells())
    print(f"\n{table(verdicts)}")
    assert len(verdicts) == len(cells())
    require(verdicts)


async def at_any_time(count: int, loops: Sequence[str] = LOOPS) -> None:
    seed = Random().randrange(10**6)
    print(f"seed {seed}")
    verdicts = await run(anytime(Random(seed), count, loops))
    print(f"{sum(len(one.facts.machines) for one in verdicts)} machines in {count} programs")
    require(verdicts)


async def test_a_signal_at_any_time_leaves_nothing_unnamed() -> None:
    # A handler that raises in uvloop's own code may end the process without a word: seen once.
    await at_any_time(25, [loop for loop in LOOPS if loop != "uvloop"])


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_signal_at_any_time_leaves_nothing_unnamed_a_thousand_times() -> None:
    await at_any_time(1000)


def cell(moment: str, end: End = End.TIMEOUT) -> Cell:
    return Cell(next(one for one in MOMENTS if one.name == moment), end, "asyncio")


@pytest.mark.parametrize(
    ("mutant", "ill", "words"),
    [
        ("never_stop", cell("block"), "still runs"),
        ("never_stop", cell("undo"), "the moment never came"),
        ("say_nothing", cell("block.deaf"), "not named at ERROR"),
        ("cry_wolf", cell("block"), "alarmed about nothing"),
        ("send_after_all", cell("line.create"), "sent after the end"),
        ("wait_for_ever", cell("block"), "it hung"),
        ("forget_the_journal", cell("bulk"), "were bought, and the journal has {}"),
    ],
    ids=str,
)
async def test_a_broken_client_is_caught(mutant: str, ill: Cell, words: str) -> None:
    (verdict,) = await run([ill], mutant=mutant, guard=4)
    assert any(words in flaw for flaw in verdict.flaws), verdict.flaws
