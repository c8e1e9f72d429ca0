"""Run the whole matrix and print it.

``python -m tests.ends [--guard=SECONDS] [MOMENT|END|LOOP ...]``
"""

from __future__ import annotations

import asyncio
import sys
import time
from random import Random

from tests.ends.cells import GUARD, Cell, anytime, cells
from tests.ends.ends_harness import Verdict, run, table


def _wanted(cell: Cell, words: list[str]) -> bool:
    """Whether each word names its moment, its end or its loop.

    ``create.`` is create with all its forms.
    """
    mine = {cell.moment.name, cell.moment.name.partition(".")[0] + ".", cell.end.name, cell.loop}
    return all(set(word.split(",")) & mine for word in words)


def _brief(verdict: Verdict) -> str:
    """The last 300 characters of each flaw. The tests show all."""
    return "; ".join(" ".join(flaw.split())[-300:] for flaw in verdict.flaws)


def main(words: list[str]) -> int:
    """Print the table and the failures; whether anything failed."""
    began = time.monotonic()
    guards = [float(word.partition("=")[2]) for word in words if word.startswith("--guard=")]
    words = [word for word in words if not word.startswith("--")]
    played = [*cells(), *anytime(Random(0), 200)]
    todo = [cell for cell in played if _wanted(cell, words)]
    verdicts = asyncio.run(run(todo, guard=guards[0] if guards else GUARD))
    print(table(verdicts))
    failed = [verdict for verdict in verdicts if verdict.flaws]
    for verdict in failed:
        print(f"FAILED {verdict.cell} ({verdict.seconds:.1f} s): {_brief(verdict)}")
    passed, all_ = len(verdicts) - len(failed), len(verdicts)
    print(f"{all_} cells, {passed} passed, in {time.monotonic() - began:.0f} s")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
