"""Whether an error says that the service may have acted: each kind of answer, provider and verb."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.desktops_wired import ID, answering, response
from tests.unit.test_errors import CLASSES
from tests.unit.test_session import GET, Fetched, Script, Time
from vcloud import (
    APIError,
    Auth,
    AuthenticationError,
    BearerAuth,
    ConflictError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    Endpoint,
    HMACAuth,
    LimitExceededError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    Request,
    RequestTimeout,
    Response,
    RetryPolicy,
    ServerError,
    TransportError,
    VCloudError,
)
from vcloud._core.auth import Send
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.decoding.shape import plain
from vcloud._core.dialect import Dialect
from vcloud._core.outcome import EVIDENCE, Form, Proof, proof_of_answer
from vcloud._core.session import Session
from vcloud.errors.wording import UNKNOWN
from vcloud.providers.desktops import ActionsFailed, MoveMouse, NoStreamError
from vcloud.providers.desktops.errors import DIALECT as DESKTOPS
from vcloud.providers.streamspace.errors import DIALECT as STREAMSPACE
from vcloud.providers.vagon import DONE, Envelope, VagonDialect, is_replay

VAGON = VagonDialect("computers")
DIALECTS: Mapping[str, Dialect] = {
    "vagon": VAGON,
    "streamspace": STREAMSPACE,
    "desktops": DESKTOPS,
}
POST, PUT, DELETE = (Request(method, "/machines") for method in ("POST", "PUT", "DELETE"))
PAGE = b"<html><body>502 Bad Gateway</body></html>"


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def session(
    script: Script,
    time: Time,
    dialect: Dialect = VAGON,
    auth: Auth | None = None,
    boottime: Time | None = None,
    **options: Any,
) -> Session:
    endpoint = Endpoint("https://host.test/v1", auth=auth or HMACAuth("ak", "sk"), **options)
    return Session(
        dialect,
        endpoint,
        "https://host.test/v1",
        script,
        sources=Sources(clock=time, wall=time, boottime=boottime, entropy=lambda: 0.5),
    )


async def ended(
    script: Script, time: Time, request: Request, dialect: Dialect = VAGON, **options: Any
) -> VCloudError:
    with pytest.raises(VCloudError) as caught:
        await session(script, time, dialect, **options).send(request)
    error = caught.value
    assert (UNKNOWN in str(error)) is error.outcome_unknown, "the text says what the attribute says"
    return error


def says(status: int, body: object, **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def code(client_code: int, status: int = 400) -> Response:
    return says(status, {"client_code": client_code, "message": "no"})


def streamspace(http_status: int, **more: object) -> Response:
    return says(http_status, {"error": "no", **more})


def desktops(status: int, error: object = "no", **more: object) -> Response:
    return says(status, {"status": "error", "error": error, **more})


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
        for whose in DIALECTS
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
    error = await ended(script, time, request, DIALECTS[whose], retry=RetryPolicy(attempts=2))
    assert error.outcome_unknown is unknown
    assert len(script.asked) == (2 if again else 1)
    assert (" was refused: " in str(error)) is (isinstance(error, APIError) and not unknown)
    # A read leaves nothing open whatever it is answered.
    assert not (await ended(Script(answer), time, GET, DIALECTS[whose])).outcome_unknown


@pytest.mark.parametrize("whose", DIALECTS)
@pytest.mark.parametrize("status", [408, 421, 425, 503])
async def test_a_read_is_repeated_after_what_proves_nothing_for_a_create(
    whose: str, status: int, time: Time
) -> None:
    script = Script(says(status, PAGE))
    await ended(script, time, GET, DIALECTS[whose], retry=RetryPolicy(attempts=3))
    assert len(script.asked) == 3


REPLAYED = says(401, {"client_code": 401, "message": "nonce 'x' already used"})
#: Two hours from the clock of the tests, which a strategy could learn from.
OTHER_TIME = "Thu, 01 Jan 1970 02:00:00 GMT"


@pytest.mark.parametrize("request_", [GET, PUT, DELETE], ids=lambda request: request.method)
async def test_what_a_proxy_repeated_is_signed_anew_where_a_repeat_does_no_harm(
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
async def test_a_create_that_a_proxy_repeated_is_no_matter_of_credentials(
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


#: What the service says of a second copy, in words that nobody knows.
COPY = says(401, {"client_code": 401, "message": "Unauthorized"}, Date=OTHER_TIME)


async def test_a_create_whose_refusal_came_late_is_not_signed_again(time: Time) -> None:
    error = await ended(script := Slow(5.1, time, COPY, code(200, 200)), time, POST)
    assert type(error) is AuthenticationError
    assert error.outcome_unknown, "a proxy may have repeated it, after the first copy was done"
    assert "came 5 s after the request was sent" in "".join(error.__notes__)
    assert len(script.asked) == 1


#: 1060 seconds by the clock of the tests, which shows 1000.
A_MINUTE_AHEAD = {"Date": "Thu, 01 Jan 1970 00:17:40 GMT"}


async def test_a_clock_that_was_accepted_is_no_reason_to_sign_a_create_again(time: Time) -> None:
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
def test_a_used_nonce_is_told_from_other_refusals(words: str, used: bool) -> None:
    assert is_replay(401, words) is used
    assert not is_replay(404, words), "of what is not there nothing is said"


async def test_an_id_that_is_no_uuid_is_a_known_failure_and_a_500_for_another_is_none(
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


async def test_an_attempt_without_a_connection_speaks_for_itself_alone(time: Time) -> None:
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


async def test_a_create_is_not_signed_again_because_a_gateway_wants_to_know_who_it_is(
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


async def test_what_of_several_actions_failed_says_whether_it_may_have_been_done() -> None:
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
            "anybody's"
            if row.forms == frozenset(Form)
            else ", ".join(form.value for form in Form if form in row.forms)
        )
        assert (row.answers, forms, row.proof.value, row.source) in shown
