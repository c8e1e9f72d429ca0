"""Run the whole matrix and print it: ``python -m tests.faults``."""

from __future__ import annotations

import asyncio
import sys

from tests.faults import cancelled
from tests.faults.matrix import cells, outcomes, run, table


def main() -> int:
    """Print the table, the outcomes under each fault, and the failures; whether anything failed."""
    verdicts = asyncio.run(run(cells()))
    print(table(verdicts))
    print(f"\n{'':<30}{'once':<60}each time\n{outcomes(verdicts)}")
    stopped = asyncio.run(cancelled.run(cancelled.cases()))
    passed = sum(not wrong for wrong in stopped.values())
    print(
        "\ncancelled in the queue, while waiting for the answer, and before the next attempt: "
        f"{len(stopped)} cases, {passed} passed"
    )
    failed = {str(verdict.cell): verdict.flaws for verdict in verdicts} | {
        str(case): wrong for case, wrong in stopped.items()
    }
    for name, flaws in failed.items():
        if flaws:
            print(f"FAILED {name}: {'; '.join(flaws)}")
    return any(failed.values())


if __name__ == "__main__":
    sys.exit(main())
