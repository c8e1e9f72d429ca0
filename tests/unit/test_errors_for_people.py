"""What an error says to a person, and as plain JSON."""

import json
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from vcloud import (
    APIError,
    AuthenticationError,
    CapacityError,
    CleanupError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    OutcomeStatus,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeout,
    ServerError,
    TransportError,
    UnsupportedError,
    VagonCode,
    VCloudError,
    WaitFailed,
    WaitTimeout,
    errors,
)
from vcloud._core.arguments import member, positive_seconds, whole_units
from vcloud.providers.computers import MachineStatus
from vcloud.providers.desktops import ActionResult, ActionsFailed, NoStreamError
from vcloud.providers.streamspace import (
    AgentRejectedError,
    ApprovalTimeoutError,
    DuplicateAgentError,
    InvalidTransitionError,
)

URL = "https://api.example.com/v1/machines/100"


def every_class() -> list[type[VCloudError]]:
    found = [VCloudError]
    for one in found:
        found += [
            kind
            for kind in one.__subclasses__()
            if kind not in found and kind.__module__.startswith("vcloud.")
        ]
    return found


def made(kind: type[VCloudError], words: str = "Machine is busy") -> VCloudError:
    """An error of this class."""
    if issubclass(kind, APIError):
        return kind(words, status=409, provider="computers", method="POST", url=URL)
    if issubclass(kind, WaitTimeout | WaitFailed):
        return kind(words, last="turning_on")
    if kind is ActionsFailed:
        return ActionsFailed(words, index=1, results=(), error=ConnectError("no route"))
    if kind is NoStreamError:
        return NoStreamError(words, status="pending")
    return kind(words)


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_every_error_has_words_for_people_and_is_plain_json(kind: type[VCloudError]) -> None:
    error = made(kind, f"{URL}?token=hunter2 connection refused")
    message = error.user_message
    assert re.fullmatch(r"[A-Z][^<>{}\n]*[.!?]", message)
    assert "example.com" not in message
    assert "hunter2" not in message
    assert len(message) < 300
    plain = error.to_dict()
    assert plain["type"] == kind.__name__
    assert plain["text"] == str(error)
    assert plain["user_message"] == message
    assert json.loads(json.dumps(plain)) == plain
    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain


@pytest.mark.parametrize("kind", every_class()[1:], ids=lambda kind: kind.__name__)
def test_no_error_says_only_that_something_went_wrong(kind: type[VCloudError]) -> None:
    assert not made(kind, "").user_message.startswith(VCloudError("").user_message)


def test_an_outcome_has_the_words_of_its_error() -> None:
    error = ConnectError("no route")
    for raised, said in [
        (error, error.user_message),
        (ValueError("x"), "Something went wrong."),
        (None, None),
    ]:
        assert Outcome("a", None, OutcomeStatus.FAILED, error=raised).user_message == said


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        # From the documents, and from the published server.
        (ConflictError, "Machine is not running", "Machine is not running."),
        (ConflictError, "machine is turning_on", "Machine is turning_on."),
        (NotFoundError, "No agent with ID 'agent-7' exists", "No agent with ID 'agent-7' exists."),
        (NotFoundError, "Template not found", "Template not found."),
        (PermissionDeniedError, "Quota exceeded", "Quota exceeded."),
        (CapacityError, "No agents available", "No agents available. Please try again later."),
        (InvalidRequestError, "Invalid resource request", "Invalid resource request."),
        (
            InvalidTransitionError,
            "Cannot transition from 'terminated' to 'running'",
            "Cannot transition from 'terminated' to 'running'.",
        ),
    ],
)
def test_useful_words_of_a_service_are_kept(kind: type[VCloudError], words: str, said: str) -> None:
    assert made(kind, words).user_message == said


@pytest.mark.parametrize(
    "words",
    [
        # What Go's gin and its validator answer, and the published StreamSpace with it.
        "Key: 'CreateSession.User' Error:Field validation for 'User' failed on the 'required' tag",
        "Invalid query parameter: potential SQL injection detected",
        'pq: duplicate key value violates unique constraint "sessions_pkey"',
        'pq: insert or update on table "sessions" violates foreign key constraint "fk_user"',
        "json: cannot unmarshal string into Go struct field .timeout of type int",
        "dial tcp 10.0.0.7:5432: connect: connection refused",
        "no route to 10.0.0.7",
        "upstream connect error or disconnect/reset before headers",
        "<html><head><title>403 Forbidden</title></head>",
        "the answer began b'<html>'",
        "the answer was empty",
        "no reason given",
        "Traceback (most recent call last)",
        "TypeError: Cannot read properties of undefined (reading 'id')",
        "open /var/lib/vagon/state: permission denied",
        "main.go:42: runtime error",
        "machines_controller_update failed",
        "AUTH_TOKEN_INVALID",
        '{"error": "x"}',
        "see https://docs.example.com",
        "first line\nsecond line",
        "\x1b[31mred\x1b[0m",
        "x" * 300,
        "",
        "?",
    ],
)
def test_words_for_developers_are_replaced_by_ours(words: str) -> None:
    assert made(ConflictError, words).user_message == ("This is not possible in the present state.")


def test_a_documented_meaning_replaces_words_that_say_nothing() -> None:
    error = ConflictError(
        "pq: relation busy",
        status=400,
        code=VagonCode.MACHINE_NOT_RUNNING,
        meaning="machine is not running",
    )
    assert error.user_message == "Machine is not running."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectError("no route"), "The service cannot be reached. Please try again later."),
        (ConnectTimeout("slow"), "The service cannot be reached. Please try again later."),
        (RequestTimeout("slow"), "The service did not answer in time. Please try again later."),
        (
            TransportError("dropped", outcome_unknown=True),
            (
                "The connection to the service was lost. It may have been carried out all the "
                "same: look before you try again."
            ),
        ),
        (
            ServerError("pq: out of memory", status=500),
            "The service has a problem at the moment. Please try again later.",
        ),
        (
            AuthenticationError("JWT expired", status=401),
            "The service did not accept the credentials.",
        ),
        (
            InsufficientFundsError("Insufficient balance", status=402),
            "Insufficient balance.",
        ),
        (ConfigurationError("VCLOUD_URL is wrong"), "This application is not set up correctly."),
        (
            UnsupportedError("streams/94683 has no start(): StreamRef.start_machine starts one"),
            "This is not possible with this kind of machine.",
        ),
        (DecodeError("not JSON"), "The service gave an answer that cannot be used."),
        (
            WaitTimeout("machine 100 ...", last="turning_on"),
            "This took too long. Its last state was: turning on.",
        ),
        (
            WaitFailed("desktop ...", last="error\n\x1b[31m"),
            "This did not succeed. Its last state was: error\\n\\x1b[31m.",
        ),
        (
            CleanupError("desktop d-1 ...", provider="desktops", ids=["d-1", "d-2"]),
            "A machine may still be running and cost money. Look after: d-1, d-2.",
        ),
        (
            ActionsFailed("2 of 3", index=1, results=(), error=ConnectError("no route")),
            "The service cannot be reached. Please try again later.",
        ),
        (AgentRejectedError("no"), "The service did not accept this agent."),
        (ApprovalTimeoutError("no"), "Nobody has approved this agent yet."),
        (DuplicateAgentError("two"), "Another agent of this name is running."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_without_words_of_a_service_has_ours(error: VCloudError, said: str) -> None:
    assert error.user_message == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (45, "45 seconds"),
        (121, "3 minutes"),
        (600, "10 minutes"),
        (7201, "3 hours"),
    ],
)
def test_a_pause_is_rounded_up_in_the_unit_of_a_person(seconds: float, said: str) -> None:
    error = RateLimitError("slow down", status=429)
    error.retry_after = seconds
    assert error.user_message == (
        f"There are too many requests at the moment. Please try again in {said}."
    )


def test_a_wrong_value_is_explained_in_the_argument_s_unit_and_words() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        whole_units(30, timedelta(minutes=1), "expires_in", at_least=1)
    assert str(caught.value) == "expires_in must be at least 60 seconds, not 30 seconds"
    assert caught.value.user_message == "Expires in must be at least 60 seconds, not 30 seconds."
    with pytest.raises(InvalidArgumentError) as caught:
        member("redy", MachineStatus, "status")
    assert caught.value.user_message.startswith("Status must be one of off, creating, turning_on")
    assert "MachineStatus" not in caught.value.user_message


@pytest.mark.parametrize(
    ("value", "unit", "at_least", "said"),
    [
        (59, timedelta(milliseconds=1), 60_000, "at least 60 seconds, not 59 seconds"),
        (90, timedelta(minutes=1), 1, "whole minutes, a multiple of 60 seconds, not 90 seconds"),
        (1.5, timedelta(seconds=1), 0, "whole seconds, not 1.5 seconds"),
        (-1, timedelta(seconds=1), 0, "at least 0 seconds, not -1 seconds"),
        (
            0.0001,
            timedelta(milliseconds=1),
            0,
            "whole milliseconds, a multiple of 0.001 seconds, not 0.0001 seconds",
        ),
        (
            timedelta(days=10_000, seconds=1),
            timedelta(minutes=1),
            1,
            "whole minutes, a multiple of 60 seconds, not 864000001 seconds",
        ),
    ],
)
def test_durations_are_in_seconds_whatever_the_service_counts_in(
    value: timedelta | float, unit: timedelta, at_least: int, said: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        whole_units(value, unit, "time", at_least=at_least)
    assert str(caught.value) == f"time must be {said}"
    with pytest.raises(InvalidArgumentError, match="timeout must be greater than 0 seconds"):
        positive_seconds(0, "timeout")


def test_a_dictionary_has_every_attribute_of_an_error() -> None:
    error = RateLimitError(
        "Too many requests",
        status=429,
        code=VagonCode.MACHINE_RUNNING,
        provider="computers",
        method="POST",
        url=URL,
        request_id="req-1",
        details={"field": "x", "token": "hunter2", "deep": [{"password": "hunter2"}]},
        timestamp=datetime(2026, 2, 5, tzinfo=UTC),
    )
    error.retry_after = 45
    error.add_note("the first of two")
    assert error.to_dict() == {
        "type": "RateLimitError",
        "text": str(error),
        "user_message": error.user_message,
        "outcome_unknown": False,
        "typed": None,
        "created": None,
        "retry_after": 45,
        "status": 429,
        "code": 4206,
        "message": "Too many requests",
        "meaning": "",
        "provider": "computers",
        "method": "POST",
        "url": URL,
        "request_id": "req-1",
        "details": {"field": "x", "token": "***", "deep": [{"password": "***"}]},
        "timestamp": "2026-02-05T00:00:00Z",
        "notes": ["the first of two"],
    }


def test_an_error_of_several_actions_has_theirs() -> None:
    error = ActionsFailed(
        "2 of 3", index=1, results=(ActionResult(output="ok"),), error=ConnectError("no route")
    )
    plain = error.to_dict()
    assert plain["results"] == [{"output": "ok", "error": None, "screenshot": None}]
    assert plain["error"]["type"] == "ConnectError"
    skewed = AuthenticationError("no", status=401)
    skewed.clock_difference = timedelta(days=-2)
    assert skewed.to_dict()["clock_difference"] == -172_800.0
    broken = DecodeError("item 3")
    broken.items = (object(),)
    assert "items" not in broken.to_dict()


class OwnError(errors.ServerError):
    """A subclass of a user."""


def test_a_subclass_of_a_user_has_the_words_of_its_base() -> None:
    assert OwnError("x", status=500).user_message.startswith("The service has a problem")
