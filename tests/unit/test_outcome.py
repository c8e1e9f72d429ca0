"""Whether an error says that the service may have acted: each kind of answer, provider and verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.desktops_wired import ID, answering, response
from tests.unit.outcomes import (
    DELETE,
    PAGE,
    POST,
    PUT,
    VAGON,
    code,
    desktops,
    ended,
    says,
    session,
    streamspace,
)
from tests.unit.scripted import GET, Fetched, Script, Time
from vcloud import (
    APIError,
    AuthenticationError,
    BearerAuth,
    ConflictError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    LimitExceededError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    Request,
    RequestTimeout,
    Response,
    RetryPolicy,
    TransportError,
    VCloudError,
)
from vcloud._core.auth import Send
from vcloud._core.connections.options import TransportOptions
from vcloud._core.decoding.shape import plain
from vcloud._core.service import Service
from vcloud.errors.wording import UNKNOWN
from vcloud.providers.desktops import ActionsFailed, MoveMouse
from vcloud.providers.desktops.errors import SERVICE as DESKTOPS
from vcloud.providers.streamspace.errors import SERVICE as STREAMSPACE
from vcloud.providers.vagon import DONE, Envelope

SERVICES: Mapping[str, Service] = {
    "vagon": VAGON,
    "streamspace": STREAMSPACE,
    "desktops": DESKTOPS,
}


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


#: What a create is answered with: by whom, what, whether it may have been done, and whether it is
#: sent again.
ANSWERS = [
    # Vagon: the envelope's code, whatever the HTTP status.
    ("vagon", code(480), False, False),
    ("vagon", code(480, 200), False, False),
    ("vagon", code(4206, 500), False, False),
    ("vagon", code(4999), False, False),
    ("vagon", code(503, 503), False, True),
    ("vagon", code(503, 200), False, True),
    ("vagon", code(429, 429), False, True),
    ("vagon", code(500, 500), True, False),
    ("vagon", code(502, 502), True, False),
    ("vagon", code(504, 504), True, False),
    ("vagon", code(500, 200), True, False),
    ("vagon", code(7000, 200), True, False),
    ("vagon", code(200, 502), True, False),
    ("vagon", code(408, 408), True, False),
    ("vagon", says(200, {"machine": {"client_code": 200}}), True, False),
    # Every attempt has a nonce of its own: somebody repeated the request, and the copy that was let
    # in may have been done.
    ("vagon", says(401, {"client_code": 401, "message": "nonce 'x' already used"}), True, False),
    ("vagon", says(403, {"client_code": 403, "message": "Duplicate nonce"}), True, False),
    ("vagon", says(200, {"client_code": 401, "message": "Replay attack"}), True, False),
    ("vagon", says(401, {"client_code": 401, "message": "signature does not match"}), False, False),
    ("vagon", says(401, b"nonce already used"), True, False),
    # StreamSpace: a documented code, or the error object.
    ("streamspace", streamspace(409, code="SESSION_TERMINATING"), False, False),
    ("streamspace", streamspace(409), False, False),
    ("streamspace", streamspace(503, code="NO_AGENTS_AVAILABLE"), False, True),
    ("streamspace", streamspace(503, message="later"), False, True),
    ("streamspace", streamspace(503), True, False),
    ("streamspace", streamspace(503, message="later", status=503, path="/x"), True, False),
    ("streamspace", streamspace(500, code="SESSION_PROVISIONING_FAILED"), False, False),
    ("streamspace", streamspace(500, message="it broke"), True, False),
    ("streamspace", streamspace(504, message="it broke"), True, False),
    # Desktops: two error objects, and two failures that are known.
    ("desktops", desktops(409), False, False),
    ("desktops", desktops(503), False, True),
    ("desktops", desktops(500), True, False),
    ("desktops", desktops(502), True, False),
    ("desktops", desktops(200), True, False),
    ("desktops", desktops(500, "… Command failed with code 1"), False, False),
    ("desktops", desktops(200, "… Command failed with code 1"), False, False),
    ("desktops", says(400, {"success": False, "error": {"issues": []}}), False, False),
    ("desktops", says(200, {"success": False, "error": {"issues": []}}), False, False),
    ("desktops", says(404, b"404 Not Found", **{"Content-Type": "text/plain"}), False, False),
    # Whoever says it.
    *[
        (whose, answer, unknown, again)
        for whose in SERVICES
        for answer, unknown, again in (
            (says(429, b""), False, True),
            *[
                (says(status, PAGE), True, False)
                for status in (400, 401, 403, 404, 408, 413, 421, 425, 500, 502, 503, 504)
            ],
            (says(503, b""), True, False),
            (says(503, {"message": "no healthy upstream"}), True, False),
            *[(says(status, b"", Location="/x"), True, False) for status in (301, 303, 307)],
        )
    ],
]


@pytest.mark.parametrize(("whose", "answer", "unknown", "again"), ANSWERS)
async def test_only_the_services_own_words_prove_that_a_create_was_not_done(
    whose: str, answer: Response, unknown: bool, again: bool, time: Time
) -> None:
    script = Script(answer)
    request = Request("POST", f"/desktop/{ID}/computer-action")
    error = await ended(script, time, request, SERVICES[whose], retry=RetryPolicy(attempts=2))
    assert error.outcome_unknown is unknown
    assert len(script.asked) == (2 if again else 1)
    assert (" was refused: " in str(error)) is (isinstance(error, APIError) and not unknown)
    # A read leaves nothing open whatever it is answered.
    assert not (await ended(Script(answer), time, GET, SERVICES[whose])).outcome_unknown


@pytest.mark.parametrize("whose", SERVICES)
@pytest.mark.parametrize("status", [408, 421, 425, 503])
async def test_a_read_is_repeated_after_what_proves_nothing_for_a_create(
    whose: str, status: int, time: Time
) -> None:
    script = Script(says(status, PAGE))
    await ended(script, time, GET, SERVICES[whose], retry=RetryPolicy(attempts=3))
    assert len(script.asked) == 3


async def test_a_500_is_a_known_failure_only_for_an_id_that_is_not_a_uuid(
    time: Time,
) -> None:
    unexpected = desktops(500, "An unexpected internal server error occurred.")
    for id, unknown in (("desktop_12345", False), (ID, True)):
        for path in (f"/desktop/{id}/bash-action", f"/desktop/{id}/stop"):
            request = Request("POST", path, repeatable=path.endswith("stop"))
            script = Script(unexpected)
            error = await ended(script, time, request, DESKTOPS)
            assert error.outcome_unknown is unknown
            assert len(script.asked) == (4 if unknown and request.repeatable else 1)
    assert (
        await ended(Script(unexpected), time, Request("POST", "/desktop"), DESKTOPS)
    ).outcome_unknown


@pytest.mark.parametrize(
    ("acts", "request_", "kind", "unknown"),
    [
        ([TransportError("reset")], POST, TransportError, True),
        ([RequestTimeout("slow")], POST, RequestTimeout, True),
        ([ConnectError("refused")], POST, ConnectError, False),
        ([TransportError("reset")], PUT, TransportError, True),
        ([TransportError("reset")], GET, TransportError, False),
        ([LimitExceededError("too large")], POST, LimitExceededError, True),
        ([LimitExceededError("too large")], GET, LimitExceededError, False),
        ([Response(200, {}, b"{}")], POST, DecodeError, True),
        ([Response(200, {}, b"{}")], GET, DecodeError, False),
        # What an earlier attempt left open, a later refusal does not close.
        ([TransportError("reset"), code(4206)], PUT, ConflictError, True),
        ([says(502, PAGE), code(4206)], DELETE, ConflictError, True),
        ([TransportError("reset"), code(404, 404)], DELETE, NotFoundError, True),
        ([TransportError("reset"), ConnectError("refused")], DELETE, TransportError, True),
        ([TransportError("reset"), ConnectTimeout("silent")], DELETE, RequestTimeout, True),
        ([TransportError("reset"), ConnectTimeout("silent")], GET, ConnectTimeout, False),
        ([ConnectTimeout("silent")], POST, ConnectTimeout, False),
        (
            [TransportError("reset"), says(401, {"client_code": 401})],
            PUT,
            AuthenticationError,
            True,
        ),
        ([code(503, 503), code(4206)], PUT, ConflictError, False),
        ([code(503, 503), ConnectError("refused")], POST, ConnectError, False),
    ],
)
async def test_every_attempt_of_a_call_counts(
    acts: list[Any], request_: Request, kind: type[VCloudError], unknown: bool, time: Time
) -> None:
    error = await ended(Script(*acts), time, request_)
    assert (type(error), error.outcome_unknown) == (kind, unknown)


async def test_an_attempt_without_a_connection_proves_nothing_about_others(time: Time) -> None:
    silent = ConnectTimeout("silent; nothing was sent")
    error = await ended(Script(TransportError("reset"), silent), time, DELETE)
    assert "silent; this time nothing was sent" in str(error)
    assert str(await ended(Script(silent), time, POST, retry=RetryPolicy(attempts=1))).endswith(
        "silent; nothing was sent"
    )


async def test_a_deadline_and_a_limit_after_a_lost_attempt_leave_the_outcome_unknown(
    time: Time,
) -> None:
    lost = [TransportError("reset")]
    one: dict[str, Any] = {"deadline": 50, "rate_limits": [RateLimit(1, per=100)]}
    late = await ended(Script(*lost), time, DELETE, **one)
    assert (type(late), late.outcome_unknown) == (RequestTimeout, True)
    assert not (await ended(Script(*lost), time, GET, **one)).outcome_unknown
    limited = await ended(Script(*lost), time, DELETE, rate_limits=[RateLimit(1, per=1000)])
    assert (type(limited), limited.outcome_unknown) == (RateLimitError, True)
    soon = await ended(Script(*lost), time, PUT, deadline=0.3)
    assert soon.outcome_unknown


class LostLogin(Script):
    """Every login is lost; the rest is played."""

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        if url.endswith(("/auth/login", "/token")):
            raise TransportError("reset")
        return await super().exchange(method, url, headers, body, wire)


class ForgetfulAuth(Fetched):
    """A strategy that needs a new token for each attempt."""

    def ready(self, now: float) -> bool:
        return False

    async def acquire(self, send: Send, *, now: float) -> None:
        if self.fails:
            await super().acquire(send, now=now)
        self.token, self.fails = "fresh", True

    fails = False


async def test_a_login_that_is_lost_leaves_nothing_unknown_of_the_create_that_waited_for_it(
    time: Time,
) -> None:
    for auth in (BearerAuth.login("admin", "hunter2"), Fetched()):
        error = await ended(LostLogin(code(200, 200)), time, POST, auth=auth)
        assert (type(error), error.outcome_unknown) == (TransportError, False)


async def test_a_login_that_fails_after_a_lost_attempt_does_not_hide_that(time: Time) -> None:
    script = LostLogin(TransportError("reset"))
    error = await ended(script, time, DELETE, auth=ForgetfulAuth())
    assert len(script.asked) == 1
    assert error.outcome_unknown
    assert "/token" in str(error)


async def test_a_create_is_not_signed_again_after_the_401_of_a_gateway(
    time: Time,
) -> None:
    script = Script(says(401, PAGE, Date="Thu, 01 Jan 1970 02:00:00 GMT"), code(200, 200))
    assert (await ended(script, time, POST)).outcome_unknown
    assert len(script.asked) == 1
    own = says(401, {"client_code": 401}, Date="Thu, 01 Jan 1970 02:00:00 GMT")
    await session(Script(own, code(200, 200)), time).send(POST)


async def test_an_answer_that_was_decoded_later_leaves_unknown_what_it_was_to(time: Time) -> None:
    script = Script(Response(200, {}, b'{"client_code":200}'))
    one = session(script, time)
    answer = await one.send(POST)
    assert one.read(POST, answer, DONE) is None
    with pytest.raises(DecodeError, match=r"POST https://host.test/v1/machines: ") as caught:
        one.read(POST, Response(200, {}, b"{}"), DONE)
    assert caught.value.outcome_unknown
    with pytest.raises(DecodeError) as read:
        one.read(GET, Response(200, {}, b"{}"), DONE)
    assert not read.value.outcome_unknown


async def test_a_page_is_decoded_once(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[type[object]] = []
    one = session(Script(code(200, 200)), time)
    real = one.codec.decode

    def decode(body: bytes, wire: type[Any], *, sensitive: bool = False) -> Any:
        decoded.append(wire)
        return real(body, wire, sensitive=sensitive)

    monkeypatch.setattr(one.codec, "decode", decode)
    monkeypatch.setattr("vcloud.providers.vagon._CODEC.decode", decode)
    await one.fetch(POST, plain(Envelope))
    assert decoded == [Envelope]


async def test_the_error_of_several_actions_says_whether_one_may_have_been_done() -> None:
    done = response({"output": ""})
    refused = response({"status": "error", "error": "not running"}, 409)
    for answers, unknown in (
        ([done, TransportError("reset")], True),
        ([TransportError("reset")], True),
        # Repeating them all would repeat the first, which was done.
        ([done, refused], True),
        ([refused], False),
    ):
        client, _ = answering(*answers)
        with pytest.raises(ActionsFailed) as caught:
            await client.ref(ID).perform_all([MoveMouse(1, 2), MoveMouse(3, 4)])
        assert caught.value.outcome_unknown is unknown
        assert str(caught.value).count(UNKNOWN) == int(unknown)
