"""The time of ``import vcloud``, and of making a client relative to importing the dependencies.

    python -m tests.benchmarks.imports [--rounds 15]

Each import is a fresh process, and all four are started in turn in each round. CPU is the user and
system time of the process. Python's own start is subtracted from all of them, so a ratio is one of
imports alone. All modules are compiled before, as an installer does.
"""

from __future__ import annotations

import compileall
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.benchmarks.harness import ROOT, Options, Table, in_turn, ratio, run, spread

ROUNDS = 15
PROGRAMS = {
    "python": "pass",
    "import": "import vcloud",
    "dependencies": "import aiohttp, attrs, cattrs, msgspec",
    "client": (
        "from vcloud import Endpoint, HMACAuth, VCloud\n"
        "VCloud(computers=Endpoint(auth=HMACAuth('ak_test_1', 'sk_test_1'))).computers.machines"
    ),
}


def spent() -> float:
    """CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def main(chosen: Options) -> None:
    """Measure, and print."""
    compileall.compile_dir(ROOT / "vcloud", quiet=1)
    walls: dict[str, list[float]] = {name: [] for name in PROGRAMS}

    async def measure(name: str) -> float:
        before, begin = spent(), time.perf_counter()
        subprocess.run([sys.executable, "-c", PROGRAMS[name]], cwd=ROOT, check=True)  # noqa: ASYNC221 - nothing else runs here
        walls[name].append(time.perf_counter() - begin)
        return spent() - before

    measures = {name: lambda name=name: measure(name) for name in PROGRAMS}
    cpus = await in_turn(measures, chosen.rounds, warm=not chosen.quick)
    table = Table(f"Imports, ms beyond Python itself, {chosen.rounds} rounds", ("CPU", "wall"))
    # The first measurement of each may have been a warm-up.
    taken = {
        "CPU": cpus,
        "wall": {name: values[-chosen.rounds :] for name, values in walls.items()},
    }
    net = {
        kind: {name: beyond(values[name], values["python"]) for name in values}
        for kind, values in taken.items()
    }
    for row, name in (
        ("import vcloud", "import"),
        ("aiohttp attrs cattrs msgspec", "dependencies"),
        ("a client made", "client"),
    ):
        table.row(row, {kind: spread(values[name], ".1f") for kind, values in net.items()})
    table.row(
        "a client made / dependencies",
        {kind: ratio(values["client"], values["dependencies"]) for kind, values in net.items()},
    )


def beyond(values: Sequence[float], python: Sequence[float]) -> list[float]:
    """The milliseconds beyond those of Python itself in the same round."""
    return [(value - own) * 1000 for value, own in zip(values, python, strict=True)]


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
