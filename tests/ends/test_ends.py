"""Every machine is stopped or named, however a program ends and whatever it is doing."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from random import Random

import pytest

if sys.platform == "win32":
    pytest.skip("programs are forked, and ended by signals", allow_module_level=True)

from tests.ends.cells import IMPOSSIBLE, LOOPS, MOMENTS, Cell, End, anytime, cells, quick
from tests.ends.ends_harness import require, run, table

#: The eight kinds of moments.
GROUPS = {
    "waiting in a queue",
    "the create under way",
    "the block running",
    "stopping",
    "connect starting",
    "connect assigning",
    "its undo",
    "a bulk run with a journal",
}


def test_every_moment_is_run_with_every_end_on_every_loop() -> None:
    assert {moment.group for moment in MOMENTS} == GROUPS
    pairs = len(End) * len(LOOPS) - len(IMPOSSIBLE)
    assert len(set(map(str, cells()))) == len(cells()) == len(MOMENTS) * pairs
    assert {(cell.moment.group, cell.end) for cell in quick()} == {
        (group, end) for group in GROUPS for end in End
    }
    assert {cell.loop for cell in quick()} == set(LOOPS)


def test_uvloop_continues_after_a_signal_handler_raises_an_ordinary_exception() -> None:
    """Why one end is impossible there."""
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


async def test_however_a_program_ends_no_machine_is_left_unnamed() -> None:
    verdicts = await run(quick())
    print(f"\n{table(verdicts)}")
    require(verdicts)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_however_a_program_ends_no_machine_is_left_unnamed_in_any_form() -> None:
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


async def test_a_signal_at_any_time_leaves_no_machine_unnamed() -> None:
    # A handler that raises in uvloop's own code may end the process without any output: seen once.
    await at_any_time(25, [loop for loop in LOOPS if loop != "uvloop"])


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_signal_at_any_time_leaves_no_machine_unnamed_a_thousand_times() -> None:
    await at_any_time(1000)


def cell(moment: str, end: End = End.TIMEOUT) -> Cell:
    return Cell(next(one for one in MOMENTS if one.name == moment), end, "asyncio")


@pytest.mark.parametrize(
    ("mutant", "ill", "words"),
    [
        ("never_stop", cell("block"), "still runs"),
        ("never_stop", cell("undo"), "the moment was never reached"),
        ("log_nothing", cell("block.unanswered"), "not named at ERROR"),
        ("log_false_errors", cell("block"), "logged an error without a cause"),
        ("send_after_the_end", cell("queue.create"), "sent after the end"),
        ("never_end_a_stop", cell("block"), "it hung"),
        ("forget_the_journal", cell("bulk"), "were bought, and the journal has {}"),
    ],
    ids=str,
)
async def test_a_broken_client_is_caught(mutant: str, ill: Cell, words: str) -> None:
    (verdict,) = await run([ill], mutant=mutant, guard=4)
    assert any(words in flaw for flaw in verdict.flaws), verdict.flaws
