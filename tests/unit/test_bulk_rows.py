"""The journal as a table: rows of plain values, and a CSV file."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from vcloud import Bulk, ConfigurationError, InvalidArgumentError, Journal, VCloudError


async def works(_: object) -> None:
    pass


async def test_rows_are_plain_values_of_all_items(tmp_path: Path) -> None:
    path = tmp_path / "journal"

    async def act(item: str) -> Any:
        if item == "bad":
            raise VCloudError("no", outcome_unknown=True)
        return {"name": "portal"} if item == "one" else 5

    await Bulk(["one", "two", "bad"], act, journal=path, record=lambda result: result).run()
    rows = await Journal(path).rows()
    assert [row["key"] for row in rows] == ["bad", "one", "two"]
    assert [row["status"] for row in rows] == ["unknown", "done", "done"]
    assert [row["recorded"] for row in rows] == [None, '{"name": "portal"}', 5]
    assert rows[0]["error"].startswith("VCloudError: no")
    assert list(rows[0]) == ["key", "status", "attempts", "duration_s", "error", "recorded"]
    assert all(type(row["status"]) is str and row["duration_s"] >= 0 for row in rows)
    assert json.loads(json.dumps(rows)) == rows


async def test_rows_of_an_open_journal_and_while_its_run_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    async with Bulk(["a"], works, journal=journal) as run:
        await anext(run)
        assert [row["key"] for row in await journal.rows()] == ["a"]
        with pytest.raises(ConfigurationError, match="in use"):
            await Journal(journal.path).rows()
    async with journal:
        assert len(await journal.rows()) == len(await journal.entries()) == 1


async def test_a_journal_that_no_run_has_made_has_no_rows_and_is_not_made(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ConfigurationError, match="there is no journal .*: no run has made it"):
        await journal.rows()
    with pytest.raises(ConfigurationError, match="there is no journal"):
        await journal.to_csv(tmp_path / "out.csv")
    assert not journal.path.exists()
    assert not (tmp_path / "out.csv").exists()


async def test_the_csv_file_has_every_row_and_no_formulas(tmp_path: Path) -> None:
    path, out = tmp_path / "journal", tmp_path / "out.csv"
    keys = ["=1+1", "a,b", 'say "hi"', "two\nlines", "-1", "é"]

    async def act(item: str) -> str:
        if item == "é":
            raise VCloudError("@no")
        return "\ud800" if item == "-1" else f"+{item}"

    journal = Journal(path)
    plan = journal.plan([*keys, "never"])
    await Bulk(plan, act, record=str, max_failures=1, concurrency=1).run()
    assert await journal.to_csv(out) == 7
    with out.open(encoding="utf-8", newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"'=1+1", "a,b", 'say "hi"', "two\nlines", "é", "'-1", "never"}
    assert rows["a,b"]["recorded"] == "'+a,b"
    assert rows["'-1"]["recorded"] == "\\ud800"
    assert rows["never"]["status"] == "undone"
    assert rows["é"]["error"] == "VCloudError: @no"
    with pytest.raises(InvalidArgumentError, match="path must be the path of a file, not <"):
        await journal.to_csv(sys.stdout)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        await journal.to_csv(tmp_path / "no folder" / "out.csv")
    with pytest.raises(IsADirectoryError):
        await journal.to_csv(tmp_path)
    # The journal can be used all the same.
    assert len(await journal.rows()) == 7
