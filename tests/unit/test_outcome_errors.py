"""Errors say that the outcome is unknown, and the README shows the table."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scripted import Time
from tests.unit.test_errors import CLASSES
from vcloud import (
    APIError,
    VCloudError,
)
from vcloud._core.outcome import EVIDENCE, Form, Proof, proof_of_answer
from vcloud.errors.wording import UNKNOWN
from vcloud.providers.desktops import NoStreamError


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


# -- the errors themselves ---------------------------------------------------------------------


def made(kind: type[VCloudError]) -> VCloudError:
    given: dict[type[VCloudError], dict[str, Any]] = {APIError: {"status": 500}}
    return kind("it broke", **next((a for k, a in given.items() if issubclass(kind, k)), {}))


CARRYING = [kind for kind in CLASSES if not kind.__name__.startswith("Wait")]


@pytest.mark.parametrize("kind", CARRYING, ids=lambda kind: kind.__name__)
def test_an_error_says_in_its_text_that_the_outcome_is_unknown_and_keeps_it(
    kind: type[VCloudError],
) -> None:
    assert kind.outcome_unknown is False
    assert made(kind).outcome_unknown is False
    assert UNKNOWN not in str(made(kind))
    error = kind(
        "it broke", outcome_unknown=True, **({"status": 500} if issubclass(kind, APIError) else {})
    )
    for same in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert same.outcome_unknown is True
        assert str(same).count(UNKNOWN) == 1
    quoting = kind(
        str(error), outcome_unknown=True, **({"status": 500} if issubclass(kind, APIError) else {})
    )
    assert str(quoting).count(UNKNOWN) == 1, "once is enough"


def test_a_wait_that_ends_and_a_stream_that_is_not_there_leave_nothing_unknown() -> None:
    from vcloud import WaitFailed, WaitTimeout

    for error in (
        WaitTimeout("machine 100", last=None),
        WaitFailed("machine 100", last="error"),
        NoStreamError("pending", status="pending"),
    ):
        assert error.outcome_unknown is False


# -- the table ---------------------------------------------------------------------------------


def test_the_table_answers_for_every_status_and_form() -> None:
    for form in Form:
        for status in range(1000):
            assert proof_of_answer(status, form) in Proof
    assert {proof_of_answer(status, Form.FOREIGN) for status in range(1000) if status != 429} == {
        Proof.NONE
    }, "nobody but the service proves anything about it"


def test_the_readme_shows_the_table() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", readme, re.MULTILINE)
    for row in EVIDENCE:
        forms = (
            "any form"
            if row.forms == frozenset(Form)
            else ", ".join(form.value for form in Form if form in row.forms)
        )
        assert (row.answers, forms, row.proof.value, row.source) in shown
