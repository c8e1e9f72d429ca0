"""Runs all benchmarks, or the named ones, each in its own process.

    python -m tests.benchmarks [call_path overhead listing fanout memory imports budget profile
                                tunnel storm soak]
        [--rounds N] [--quick] [--uvloop]

Without --rounds, each benchmark has its own default. Each can also be run alone, for example with
``python -m tests.benchmarks.call_path``.
"""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.harness import ROOT, options, parser

BENCHMARKS = (
    "call_path",
    "overhead",
    "listing",
    "fanout",
    "memory",
    "imports",
    "budget",
    "profile",
    "tunnel",
    "storm",
    "soak",
)


def main() -> int:
    """Run them, and return how many failed."""
    arguments = parser(__doc__, None)
    arguments.add_argument(
        "names", nargs="*", metavar="name", help=f"one of {', '.join(BENCHMARKS)}; default: all"
    )
    given = arguments.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        arguments.error(
            f"there is no benchmark {', '.join(sorted(unknown))}: "
            f"name one of {', '.join(BENCHMARKS)}"
        )
    flags = options(given).flags() + (
        [] if given.rounds is None else ["--rounds", str(given.rounds)]
    )
    commands = [
        [sys.executable, "-m", f"tests.benchmarks.{name}", *flags]
        for name in given.names or BENCHMARKS
    ]
    return sum(
        subprocess.run(command, cwd=ROOT, check=False).returncode != 0 for command in commands
    )


if __name__ == "__main__":
    sys.exit(main())
