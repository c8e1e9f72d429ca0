"""Hostile texts in reports: cells of CSV, a journal, notes on errors."""

from __future__ import annotations

import contextlib
import csv
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from examples.fleet_report import Row, csv_text
from tests.hostile.texts import (
    HALF,
    HOSTILE,
    ONCE,
    answering,
    assert_harmless,
    assert_printable_lines,
    harmful,
    listening,
    said,
)
from vcloud import (
    APIKeyAuth,
    Bulk,
    CleanupError,
    DecodeError,
    Endpoint,
    Journal,
    OutcomeStatus,
    VCloudError,
)
from vcloud.bulk.entry import Entry
from vcloud.bulk.store import JournalStore
from vcloud.providers.desktops import Desktops

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_takes_for_a_formula_gets_an_apostrophe(text: str) -> None:
    row = Row("computers", text, text, text, text, None, Decimal("-1.50"), Decimal(-2))
    (_, cells) = csv.reader(csv_text([row]).splitlines(keepends=True))
    assert cells == ["computers", *[f"'{text}"] * 4, "", "-1.50", "-2"]


@pytest.mark.parametrize("text", ["Zürich", "a=b", "1-2", "'quoted", "", " =1", HOSTILE])
def test_any_other_text_is_an_unchanged_cell(text: str) -> None:
    row = Row("computers", text, "off", "1", text, None, None, None)
    (_, cells) = csv.reader(csv_text([row]).splitlines(keepends=True))
    assert (cells[1], cells[4]) == (text, text)


async def test_a_journal_says_what_went_wrong_on_one_printable_line(tmp_path: Path) -> None:
    async def act(_: str) -> None:
        raise VCloudError(HALF)

    path = tmp_path / "journal"
    key = HOSTILE
    async with Bulk([key], act, journal=path) as run:
        outcomes = [outcome async for outcome in run]
    assert str(outcomes[0].error) == str(VCloudError(HALF))
    async with Journal(path) as journal:
        (entry,) = await journal.entries()
    assert entry.key == key
    assert entry.error is not None
    assert not harmful(entry.error)
    assert entry.error.startswith(r"VCloudError: busy\x1b[2J")


async def test_entries_of_an_earlier_version_are_shown_printable(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = JournalStore(path, "")
    store.run_together([lambda one: one.finish(Entry("1", OutcomeStatus.FAILED, error=HOSTILE))])
    store.close()

    async def act(_: str) -> None:
        raise AssertionError("it stands in the journal")

    async with Bulk(["1"], act, journal=path, retry_failed=False) as run:
        (outcome,) = [outcome async for outcome in run]
    assert outcome.resumed
    assert not harmful(str(outcome.error))
    async with Journal(path) as journal:
        (entry,) = await journal.entries()
    assert not harmful(entry.error or "")


async def test_why_a_look_failed_is_a_printable_note(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    store = JournalStore(path, "")
    store.run_together([lambda one: one.finish(Entry("1", OutcomeStatus.UNKNOWN, error="lost"))])
    store.close()

    async def never(_: str) -> None:
        raise AssertionError("nobody knows whether it was done")

    async def look(_: str) -> Any:
        raise DecodeError(HALF)

    async with Bulk(["1"], never, journal=path, settle=look) as run:
        (outcome,) = [outcome async for outcome in run]
    assert outcome.error is not None
    assert r"DecodeError: busy\x1b[2J" in outcome.error.__notes__[0]
    assert_harmless(outcome.error)


@pytest.mark.parametrize("closes", [False, True])
async def test_a_desktop_that_may_be_left_running_is_named_printable(*, closes: bool) -> None:
    path = f"/desktop/{quote(HOSTILE, safe='')}"
    view = {"id": HOSTILE, "status": "running", "stream_url": "https://127.0.0.1/x"}
    answers = {
        "/desktop": said(body=view),
        path: said(body=view),
        f"{path}/stop": said("500 No", {"status": "error", "error": HOSTILE}),
    }

    async def leave(desktops: Desktops) -> None:
        async with desktops.launch(poll=0.01):
            if closes:
                with pytest.raises(CleanupError) as failed:
                    await desktops.aclose()
                assert_harmless(failed.value)
                assert failed.value.ids == (HOSTILE,)
            raise LookupError("mine")

    with listening() as lines:
        async with answering(answers) as url:
            endpoint = Endpoint(url, auth=APIKeyAuth("an api key of mine"), retry=ONCE)
            desktops = await Desktops(endpoint).aopen()
            with pytest.raises(LookupError) as caught:
                await leave(desktops)
            with contextlib.suppress(CleanupError):  # once more, of the one that closed it
                await desktops.aclose()
    assert [note for note in caught.value.__notes__ if r"desktop busy\x1b[2J" in note]
    assert_harmless(caught.value)
    assert any(line.startswith("ERROR vcloud.desktops") for line in lines)
    for line in lines:
        assert_printable_lines(line)
