"""Answers in the request loop: undecodable ones, redirects, refusals."""

from __future__ import annotations

import pytest

from tests.unit.scripted import (
    GET,
    OK,
    POST,
    Script,
    ServerErrorAnswer,
    Time,
    refused,
    session,
)
from vcloud import (
    APIError,
    ConflictError,
    DecodeError,
    InvalidRequestError,
    Request,
    Response,
    RetryPolicy,
    ServerError,
)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b'{"client_code":', b"[1]", b"null"])
async def test_a_success_without_an_envelope_is_a_decode_error(time: Time, body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"computers: POST https://vagon.test/v1/machines"):
        await session(Script(Response(200, {}, body)), time).send(POST)


async def test_a_proxys_html_is_an_error_with_its_status_and_first_words(time: Time) -> None:
    with pytest.raises(ServerError, match="bad gateway") as caught:
        await session(Script(ServerErrorAnswer), time, retry=RetryPolicy(attempts=1)).send(GET)
    assert caught.value.status == 502


async def test_a_redirect_is_an_error_and_not_followed(time: Time) -> None:
    script = Script(Response(302, {"Location": "https://elsewhere.test/"}, b""))
    with pytest.raises(
        APIError, match="redirects to https://elsewhere.test/, and redirects are not followed"
    ):
        await session(script, time).send(GET)
    assert len(script.asked) == 1


async def test_a_password_that_the_service_quotes_is_hidden(time: Time) -> None:
    request = Request("PUT", "/streams/1", body=b'{"password":"hunter2"}', sensitive=True)
    quoted = Response(400, {}, b'{"client_code":400,"message":"hunter2 is too weak"}')
    with pytest.raises(InvalidRequestError, match=r"\*\*\* is too weak") as caught:
        await session(Script(quoted), time).send(request)
    assert "hunter2" not in repr(caught.value) + str(vars(caught.value))


async def test_client_code_decides_over_http_200_wherever_the_key_stands(time: Time) -> None:
    for body in (b'{"client_code":2001,"message":"x"}', b'{"client_code":200.5}'):
        with pytest.raises((APIError, DecodeError)):
            await session(Script(Response(200, {}, body)), time).send(POST)
    for body in (
        b'{"client_code":4206,"message":"x"}',
        b'{ "message" : "x", "client_code" : 4206 }',
    ):
        with pytest.raises(ConflictError):
            await session(Script(Response(200, {}, body)), time).send(POST)
    text = b'{"message":"not a key: \\"client_code\\":200","client_code":4206}'
    with pytest.raises(ConflictError):
        await session(Script(Response(200, {}, text)), time).send(POST)


async def test_a_503_says_when_to_come_back_too(time: Time) -> None:
    script = Script(refused(503, 503, {"Retry-After": "7"}), OK)
    await session(script, time).send(POST)
    assert time.slept[0] >= 7
    with pytest.raises(ServerError) as caught:
        await session(Script(refused(503, 503, {"Retry-After": "3600"})), time).send(GET)
    assert caught.value.retry_after == 3600
