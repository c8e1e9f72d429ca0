"""The errors of the desktop-action API, and what they must not contain."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable

import pytest

from tests.unit.desktops_wired import DESKTOP, ID, SECRET, STREAM, answering, response
from vcloud import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    DecodeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    Response,
    ServerError,
    VCloudError,
)
from vcloud.providers.desktops import (
    Desktops,
    DesktopStatus,
    TypeText,
    Wait,
)

KINDS = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
    500: ServerError,
    502: ServerError,
}

OPERATIONS: dict[str, Callable[[Desktops], Awaitable[object]]] = {
    "get": lambda c: c.get(ID),
    "launch": lambda c: c.launch(),
    "stop": lambda c: c.ref(ID).stop(),
    "action": lambda c: c.ref(ID).move(1, 2),
    "bash": lambda c: c.ref(ID).bash("pwd"),
}


async def refused(answer: Response, operation: str = "action") -> APIError:
    desktops, _ = answering(answer)
    with pytest.raises(APIError) as caught:
        await OPERATIONS[operation](desktops)
    return caught.value


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("status", "kind"), KINDS.items())
async def test_each_documented_status_has_its_error_in_both_forms(
    status: int, kind: type[APIError], operation: str
) -> None:
    own = await refused(
        response({"status": "error", "error": "no can do", "docs": "https://d"}, status), operation
    )
    issue = {"code": "invalid_type", "path": ["start", "x"], "message": "Required"}
    zod = await refused(
        response({"success": False, "error": {"issues": [issue], "name": "ZodError"}}, status),
        operation,
    )
    for error in (own, zod):
        assert type(error) is kind
        assert (error.status, error.provider) == (status, "desktops")
        assert error.meaning
        assert error.meaning in str(error)
    assert (own.message, own.details) == ("no can do", {"docs": "https://d"})
    assert (zod.message, zod.details) == ("start.x: Required", {"issues": [issue]})


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_error_under_http_200_raises(operation: str) -> None:
    error = await refused(
        response({"status": "error", "error": "broke", "details": "it did"}), operation
    )
    assert type(error) is ServerError
    assert (error.status, error.message, error.details) == (200, "broke", {"details": "it did"})


async def test_a_schema_violation_under_http_200_raises_too() -> None:
    error = await refused(response({"success": False, "error": {"issues": [], "name": "ZodError"}}))
    assert error.message == "the request violates the service's schema"


async def test_a_desktop_whose_status_is_error_is_not_an_error() -> None:
    desktops, _ = answering(response({**DESKTOP, "status": "error"}))
    assert (await desktops.get(ID)).status is DesktopStatus.ERROR
    desktops, _ = answering(response({"id": ID, "status": "error"}))
    assert (await desktops.launch()).status is DesktopStatus.ERROR


async def test_an_error_output_of_a_successful_action_is_returned() -> None:
    desktops, _ = answering(response({"output": "", "error": "a warning"}))
    assert (await desktops.ref(ID).perform(Wait(1))).error == "a warning"


async def test_the_exit_code_of_a_failing_action_is_kept() -> None:
    error = await refused(
        response({"status": "error", "error": "… Command failed with code 127", "docs": "d"}, 500)
    )
    assert error.details == {"docs": "d", "exit_code": 127}


async def test_a_plain_text_404_means_that_the_key_is_missing() -> None:
    error = await refused(
        response(b"404 Not Found", 404, **{"Content-Type": "text/plain; charset=UTF-8"})
    )
    assert type(error) is AuthenticationError
    assert error.status == 404
    assert "the API key is missing" in str(error)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[]", b"null", b'"x"', b'{"error":', b'{"error":null}'],
)
async def test_an_error_of_a_proxy_keeps_its_status(body: bytes) -> None:
    error = await refused(response(body, 502, **{"Content-Type": "text/html"}))
    assert type(error) is ServerError
    assert error.meaning in str(error)


async def test_request_id_and_retry_after_are_kept() -> None:
    answer = response(
        {"status": "error", "error": "slow down"},
        429,
        **{"X-Request-Id": "req-7", "Retry-After": "12"},
    )
    error = await refused(answer)
    assert isinstance(error, RateLimitError)
    assert (error.request_id, error.retry_after) == ("req-7", 12.0)
    assert "[request req-7]" in str(error)


# Secrets.


async def test_the_stream_url_is_in_no_repr_error_or_pickle() -> None:
    desktops, _ = answering(response(DESKTOP), response({**DESKTOP, "created_at": 5}))
    desktop = await desktops.get(ID)
    assert desktop.stream_url == STREAM == desktop.raw["stream_url"]
    assert SECRET not in repr(desktop)
    packed = pickle.dumps(desktop)
    assert SECRET.encode() not in packed
    copied = pickle.loads(packed)
    assert (copied.id, copied.status, copied.timeout_at, copied.stream_url) == (
        ID,
        "running",
        desktop.timeout_at,
        None,
    )
    with pytest.raises(DecodeError) as caught:
        await desktops.get(ID)
    assert SECRET not in str(caught.value)
    with pytest.raises(ConfigurationError, match="belongs to no client"):
        await copied.stop()


REPEATING: list[Response] = [
    response(
        {
            "status": "error",
            "error": f"Command failed with code 2: xdotool type '{SECRET}'",
            "docs": "https://d",
        },
        500,
    ),
    response({"status": "error", "error": "no", "details": f"ran {SECRET}"}),
    response(
        {
            "success": False,
            "error": {
                "issues": [{"path": [], "message": f"what is {SECRET}?"}],
                "name": "ZodError",
            },
        },
        400,
    ),
    response(f"<html>{SECRET}</html>".encode(), 502),
    response(f'{{"output": {{"{SECRET}": 1}}}}'.encode()),
    response(f"oops {SECRET}".encode()),
]


@pytest.mark.parametrize("answer", REPEATING, ids=range(len(REPEATING)))
async def test_a_typed_text_or_command_is_in_no_error(answer: Response) -> None:
    calls: list[Callable[[Desktops], Awaitable[object]]] = [
        lambda c: c.ref(ID).type(SECRET),
        lambda c: c.ref(ID).bash(f"echo {SECRET} > key"),
        lambda c: c.ref(ID).perform_all([TypeText(f"my password is {SECRET}")]),
    ]
    for call in calls:
        desktops, _ = answering(answer)
        with pytest.raises(VCloudError) as caught:
            await call(desktops)
        error = caught.value
        assert (
            SECRET not in f"{error} {error!r} {error.__dict__} {error.__cause__} "
            f"{getattr(error.__cause__, '__dict__', '')}"
        )


async def test_a_message_that_does_not_repeat_the_command_is_shown() -> None:
    error = await refused(
        response({"status": "error", "error": "Desktop is not running", "docs": "https://d"}, 409),
        "bash",
    )
    assert error.message == "Desktop is not running"
    hidden = await refused(
        response(
            {"status": "error", "error": "failed: pwd (Command failed with code 9)", "docs": "d"},
            500,
        ),
        "bash",
    )
    assert "not shown" in hidden.message
    assert hidden.details == {"docs": "d", "exit_code": 9}
