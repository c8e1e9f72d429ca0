"""Every example runs without configuration, succeeds and prints something."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from vcloud.emulator import Emulator

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


# One of them types for a minute.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_example_runs_against_the_embedded_emulator(example: Path, tmp_path: Path) -> None:
    code, output, errors = await run(example, tmp_path, {})
    assert code == 0, errors.decode()
    assert errors == b""
    assert len(output.splitlines()) > 5


@pytest.mark.parametrize(
    "example",
    [path for path in EXAMPLES if "VCLOUD_EXAMPLE_BUY" in path.read_text()],
    ids=lambda path: path.stem,
)
async def test_example_spends_nothing_on_a_real_service_without_permission(
    example: Path, tmp_path: Path
) -> None:
    async with Emulator(machines=3) as emulator:
        before = emulator.streams.machines.keys() | emulator.computers.machines.keys()
        await run(example, tmp_path, emulator.env())
        sent = {f"{call.method} {call.path}" for call in emulator.calls if call.method != "GET"}
        assert sent <= {"POST /api/v1/auth/login", "POST /api/v1/auth/logout"}
        assert emulator.streams.machines.keys() | emulator.computers.machines.keys() == before


async def run(
    example: Path, folder: Path, environment: Mapping[str, str]
) -> tuple[int | None, bytes, bytes]:
    """Run it with only these VCLOUD_* variables; returns its status, output and errors."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(example),
        cwd=folder,
        env={**others, **environment, "PYTHONPATH": str(example.parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output, errors
