"""Outcomes if a proxy may have repeated a request, or a clock is wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest

from tests.unit.outcomes import (
    DELETE,
    OTHER_TIME,
    POST,
    PUT,
    REPLAYED,
    code,
    ended,
    says,
    session,
)
from tests.unit.scripted import GET, Script, Time
from vcloud import (
    AuthenticationError,
    BearerAuth,
    NotFoundError,
    Request,
    Response,
    RetryPolicy,
    ServerError,
)
from vcloud._core.connections.options import TransportOptions
from vcloud.providers.vagon import is_replay


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


@pytest.mark.parametrize("request_", [GET, PUT, DELETE], ids=lambda request: request.method)
async def test_a_request_that_a_proxy_repeated_is_signed_again_if_a_repeat_is_harmless(
    request_: Request, time: Time
) -> None:
    script = Script(REPLAYED, REPLAYED, code(200, 200))
    await session(script, time).send(request_)
    signatures = {headers["Authorization"] for _, _, headers, _ in script.asked}
    assert len(signatures) == len(script.asked) == 3


async def test_a_repeated_read_is_signed_anew_as_often_as_the_policy_says(time: Time) -> None:
    script = Script(REPLAYED)
    error = await ended(script, time, GET, retry=RetryPolicy(attempts=3))
    assert len(script.asked) == 3
    assert (type(error), error.outcome_unknown) == (ServerError, False)


@pytest.mark.parametrize("form", [{}, {"Date": OTHER_TIME}], ids=["plain", "with another time"])
async def test_a_create_that_a_proxy_repeated_is_not_a_credential_error(
    form: Mapping[str, str], time: Time
) -> None:
    script = Script(Response(REPLAYED.status, form, REPLAYED.body), code(200, 200))
    error = await ended(script, time, POST)
    assert type(error) is ServerError, "an AuthenticationError would mean that nothing was done"
    assert error.outcome_unknown
    assert len(script.asked) == 1, "no clock is learnt from it"
    assert "a proxy between repeated the request" in str(error)
    assert "already used" in str(error)
    assert error.status == 401


class Slow(Script):
    """Takes so long for each answer, by one of the clocks or by both."""

    def __init__(self, seconds: float, time: Time, *acts: Response) -> None:
        super().__init__(*acts)
        self._seconds, self._time = seconds, time

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self._time.now += self._seconds
        return await super().exchange(method, url, headers, body, wire)


#: The service's refusal of a second copy, in unknown words.
COPY = says(401, {"client_code": 401, "message": "Unauthorized"}, Date=OTHER_TIME)


async def test_a_create_whose_refusal_came_late_is_not_signed_again(time: Time) -> None:
    error = await ended(script := Slow(5.1, time, COPY, code(200, 200)), time, POST)
    assert type(error) is AuthenticationError
    assert error.outcome_unknown, "a proxy may have repeated it, after the first copy was done"
    assert "came 5 s after the request was sent" in "".join(error.__notes__)
    assert len(script.asked) == 1


#: 1060 seconds by the clock of the tests, which shows 1000.
A_MINUTE_AHEAD = {"Date": "Thu, 01 Jan 1970 00:17:40 GMT"}


async def test_a_create_is_not_signed_again_at_an_accepted_clock_skew(time: Time) -> None:
    """Wrong by a minute, which the service puts up with."""
    copied = Response(401, A_MINUTE_AHEAD, COPY.body)
    ok = Response(200, A_MINUTE_AHEAD, code(200, 200).body)
    shared = session(script := Script(code(404, 404), ok, copied, ok), time)
    with pytest.raises(NotFoundError):
        await shared.send(GET)
    await shared.send(GET)
    with pytest.raises(AuthenticationError) as caught:
        await shared.send(POST)
    assert caught.value.outcome_unknown
    assert len(script.asked) == 3


async def test_a_clock_that_went_wrong_after_it_was_accepted_is_corrected(time: Time) -> None:
    copied = Response(401, A_MINUTE_AHEAD, COPY.body)
    ok = Response(200, {"Date": "Thu, 01 Jan 1970 00:16:40 GMT"}, code(200, 200).body)
    shared = session(script := Script(ok, copied, ok), time)
    await shared.send(GET)
    await shared.send(POST)
    assert len(script.asked) == 3


async def test_a_create_is_not_signed_again_after_a_machine_has_slept(time: Time) -> None:
    """The monotonic clock stands still meanwhile, the time of day does not."""
    script = Slow(600, asleep := copy.copy(time), COPY, code(200, 200))
    slept = session(script, time, boottime=asleep)
    with pytest.raises(AuthenticationError) as caught:
        await slept.send(POST)
    assert caught.value.outcome_unknown
    assert len(script.asked) == 1


async def test_a_refusal_that_came_late_is_not_remembered(time: Time) -> None:
    shared = session(Slow(5.1, time, COPY, code(200, 200)), time)
    with pytest.raises(AuthenticationError):
        await shared.send(POST)
    await shared.send(POST)


@pytest.mark.parametrize(
    ("request_", "seconds"),
    [(GET, 60.0), (DELETE, 60.0), (POST, 4.9)],
    ids=["a read", "a delete", "a create that was refused soon"],
)
async def test_a_wrong_clock_is_corrected_where_a_repeat_does_no_harm(
    request_: Request, seconds: float, time: Time
) -> None:
    script = Slow(seconds, time, COPY, code(200, 200))
    await session(script, time).send(request_)
    assert len(script.asked) == 2


async def test_a_delete_that_a_proxy_repeated_may_be_what_removed_it(time: Time) -> None:
    error = await ended(Slow(6.0, time, COPY, code(404, 404)), time, DELETE)
    assert type(error) is NotFoundError
    assert error.outcome_unknown


async def test_a_token_works_more_than_once_so_a_late_refusal_of_it_is_a_refusal(
    time: Time,
) -> None:
    error = await ended(Slow(6.0, time, COPY), time, POST, auth=BearerAuth("token-token"))
    assert not error.outcome_unknown


@pytest.mark.parametrize(
    ("words", "used"),
    [
        ("nonce '***' already used", True),
        ("Nonce has already been used.", True),
        ("Invalid nonce", True),
        ("The nonce is not unique", True),
        ("replayed request", True),
        ("This request was replayed", True),
        # The words for a wrong signature and a malformed header name the nonce, too.
        ("malformed header: expected HMAC {key}:{signature}:{nonce}:{timestamp}", False),
        (
            "signature does not match: expected HMAC over {key}POST/x{timestamp}{nonce}{2 bytes}",
            False,
        ),
        ("nonce is missing", False),
        ("this key is used by another account", False),
        ("", False),
    ],
)
def test_a_used_nonce_is_distinguished_from_other_refusals(words: str, used: bool) -> None:
    assert is_replay(401, words) is used
    assert not is_replay(404, words), "of what is not there nothing is said"
