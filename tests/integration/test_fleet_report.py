"""The fleet report as a program, against services of which one may fail."""

from __future__ import annotations

import asyncio
import csv
import os
import sys
from pathlib import Path

from vcloud.emulator import Emulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "fleet_report.py"


async def run(environment: dict[str, str], *arguments: str) -> tuple[int | None, str, str]:
    """Its exit status, output and errors."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLE),
        *arguments,
        env=own | {"PYTHONPATH": str(EXAMPLE.parents[1])} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_every_instance_is_in_the_csv_and_counted_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    async with Emulator(machines=250) as emulator:
        (stream_id,) = emulator.streams.streams
        emulator.computers.add_machine(name='=1+1, "quoted"\nand more', remaining_usage=90)
        # A visitor is connected: a machine without one is turned off after five minutes.
        emulator.streams.add_machine(stream_id, "dublin", "connected")
        emulator.clock.advance(3600)
        status, output, errors = await run(emulator.env(), "--csv", str(path))
    assert (status, errors) == (0, "")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows if row["provider"] == "computers"] == [
        str(number) for number in range(100, 351)
    ]
    assert (rows[250]["name"], rows[250]["hours_left"]) == (
        '\'=1+1, "quoted"\nand more',
        "1.50",
    )
    (streamed,) = [row for row in rows if row["provider"] == "streams"]
    assert float(streamed["cost"]) > 0
    lines = {line[:22].strip(): line.split() for line in output.splitlines()}
    assert lines["computers, in all"][3] == "251"
    assert lines["streams, in all"][-1] == f"{float(streamed['cost']):.2f}"
    assert "everything, in all" in lines
    assert "252 instances" in output


async def test_a_failing_provider_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    async with Emulator(machines=3) as emulator:
        status, output, errors = await run(
            emulator.env() | {"VCLOUD_STREAMS_SECRET": "wrong"}, "--csv", str(path)
        )
    assert (status, errors) == (1, "")
    assert "streams did not answer, and is missing here: " in output
    assert "computers, in all" in output
    assert path.read_text(encoding="utf-8").count("computers,") == 3
