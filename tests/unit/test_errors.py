from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import vcloud
from vcloud import (
    APIError,
    AuthenticationError,
    ConflictError,
    InvalidArgumentError,
    RateLimitError,
    RequestTimeout,
    TransportError,
    VagonCode,
    VCloudError,
    WaitFailed,
    WaitTimeout,
    errors,
)
from vcloud._core.error_for_status import error_for_status

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, VCloudError)
]


def conflict() -> ConflictError:
    return ConflictError(
        "Machine is running",
        status=400,
        code=VagonCode.MACHINE_RUNNING,
        meaning="machine is running",
        provider="computers",
        method="POST",
        url="https://api.vagon.io/organization-management/v1/machines/100/reset",
        request_id="req-1",
        details={"field": "x"},
        timestamp=datetime(2026, 2, 5, tzinfo=UTC),
    )


def samples() -> list[VCloudError]:
    limited = RateLimitError("slow down", status=429)
    limited.retry_after = 45.0
    lost = TransportError("dropped", outcome_unknown=True)
    lost.add_note("a note")
    return [
        conflict(),
        limited,
        lost,
        RequestTimeout("slow"),
        errors.ConnectTimeout("silent"),
        WaitTimeout("machine 100", last="turning_on"),
        WaitFailed("desktop", last="error"),
        InvalidArgumentError("no"),
    ]


@pytest.mark.parametrize("error", samples(), ids=lambda error: type(error).__name__)
def test_errors_pickle_with_all_they_know(error: VCloudError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Machine is not running (off)", "Machine is not running (off)"),
        ("machine is not running.", "machine is not running."),
        ("no", "no (machine is not running)"),
    ],
)
def test_an_error_gives_the_meaning_of_its_code_only_where_it_adds_something(
    message: str, said: str
) -> None:
    error = ConflictError(
        message,
        status=400,
        code=VagonCode.MACHINE_NOT_RUNNING,
        meaning=VagonCode.MACHINE_NOT_RUNNING.meaning,
        provider="computers",
        method="POST",
        url="https://x/machines/100/stop",
    )
    assert str(error).endswith(f"was refused: 400, code 4204: {said}")


def test_the_meaning_of_a_code_does_not_name_its_source() -> None:
    assert [code for code in VagonCode if "client" in code.meaning] == []


def test_an_api_error_says_where_what_and_why_in_one_line() -> None:
    text = str(conflict())
    for part in ("computers", "POST", "/machines/100/reset", "4206", "Machine is running", "req-1"):
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("message", "meaning", "text"),
    [
        ("Machine is not running (off)", "machine is not running", "Machine is not running (off)"),
        ("Disk is being resized", "the disk is being resized", "Disk is being resized"),
        ("Insufficient balance.", "insufficient balance", "Insufficient balance."),
        ("Machine is running", "machine is running: do it while it is off", None),
        ("no can do", "not found", None),
        ("no can do", "", "no can do"),
    ],
)
def test_the_meaning_is_said_only_where_it_adds_something(
    message: str, meaning: str, text: str | None
) -> None:
    error = APIError(message, status=400, meaning=meaning, provider="computers", method="POST")
    expected = text or f"{message} ({meaning})"
    assert str(error) == f"computers: POST  was refused: 400: {expected}"


@pytest.mark.parametrize("code", VagonCode)
def test_no_error_says_where_its_meaning_is_from(code: VagonCode) -> None:
    assert "client" not in code.meaning


def test_an_unknown_outcome_is_not_called_a_refusal() -> None:
    error = APIError("Bad Gateway", status=502, provider="computers", method="POST", url="u")
    assert str(error) == "computers: POST u was refused: 502: Bad Gateway"
    error.outcome_unknown = True
    assert str(error) == (
        "computers: POST u was answered with 502: Bad Gateway; "
        "whether the service carried it out is unknown, so look before you repeat it"
    )


def test_the_tree_is_the_documented_one() -> None:
    for kind in CLASSES:
        assert kind.__name__ in errors.__doc__, "drawn in the module's docstring"
        assert kind.__name__ in dir(vcloud)
        assert kind.__doc__
    assert issubclass(errors.ConnectError, TransportError)
    assert issubclass(RequestTimeout, TransportError)
    assert issubclass(errors.ConnectTimeout, errors.ConnectError)
    assert issubclass(errors.ConnectTimeout, RequestTimeout)
    assert issubclass(InvalidArgumentError, ValueError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (409, "ConflictError"),
        (429, "RateLimitError"),
        (400, "InvalidRequestError"),
        (422, "InvalidRequestError"),
        (500, "ServerError"),
        (502, "ServerError"),
        (302, "APIError"),
    ],
)
def test_a_status_that_no_table_names_has_a_class(status: int, kind: str) -> None:
    assert error_for_status(status).__name__ == kind
    assert issubclass(error_for_status(status), APIError)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_a_copy_has_its_own_notes(copied: Callable[[VCloudError], VCloudError]) -> None:
    error = AuthenticationError("no", status=401)
    error.add_note("tried 4 times")
    made = copied(error)
    made.add_note("of one call")
    assert error.__notes__ == ["tried 4 times"]
    assert made.__notes__ == ["tried 4 times", "of one call"]
