"""Each benchmark runs and prints its tables. Their figures are not checked."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.harness import Options
from tests.benchmarks.soak import MINUTES, soak

ROWS = {
    "call_path": {"single object", "page of 20"},
    "overhead": {"page of 20, decoding", "page of 20", "list of 1000", "memory of 1000"},
    "listing": {"one by one", "8 pages ahead"},
    "fanout": {"CPU time", "wall time"},
    "memory": {"waiting, 10 in flight, traced", "all in flight, traced"},
    "imports": {"import vcloud", "a client made / dependencies"},
    "budget": {"creates", "reads"},
    "profile": {"bare aiohttp", "request loop", "signing", "vcloud"},
    "tunnel": {"forward_vnc / TCP, 3 relays, down", "all closed", "forward_vnc, up"},
    "storm": {"requests sent", "lost, doubled, untold", "memory after 250"},
    "soak": {"memory, MB", "descriptors", "tasks", "lines of log a minute", "CPU of a call, us"},
}

#: These take many seconds of CPU, so that the suite runs only the others.
LONG = {"profile", "tunnel", "memory", "storm", "soak"}


def names_of_rows(printed: str) -> set[str]:
    return {line.split("  ")[0] for line in printed.splitlines()}


def test_every_benchmark_is_tested() -> None:
    assert set(ROWS) == set(BENCHMARKS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in ROWS]
)
async def test_a_benchmark_prints_its_rows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    # Only the clients that are always installed.
    await import_module(f"tests.benchmarks.{name}").main(Options(rounds=1, quick=True, alone=True))
    assert ROWS[name] <= names_of_rows(capsys.readouterr().out)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_an_hour_of_all_features_leaks_nothing() -> None:
    _, start, end = (await soak(MINUTES)).readings
    assert end.memory <= 1.05 * start.memory
    assert (end.descriptors, end.tasks) == (start.descriptors, start.tasks)


def test_the_command_runs_the_named_benchmarks_with_its_options() -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.benchmarks",
        "call_path",
        "--quick",
        "--alone",
        "--uvloop",
    ]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    )
    assert "on uvloop" in done.stdout
    assert ROWS["call_path"] <= names_of_rows(done.stdout)
    assert not ROWS["listing"] & names_of_rows(done.stdout)
