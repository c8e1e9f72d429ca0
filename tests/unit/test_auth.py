from __future__ import annotations

import asyncio
import copy
import hmac
import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud import (
    APIKeyAuth,
    Auth,
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    DecodeError,
    Endpoint,
    HMACAuth,
    Request,
    Response,
    ServerError,
    TransportError,
    VagonComputers,
)
from vcloud._core.auth import Send, bound_auth
from vcloud._core.request import json_body

NOW = 1_771_000_000.0
SECRETS = ("sk_canary", "hunter2", "tok_canary", "api_canary")

# Computed with openssl; the signing string is from Vagon's documentation of authentication.
VECTORS = [
    (
        "GET",
        "/organization-management/v1/machines",
        1712567890123,
        "3f2b8c1e-0000-4000-8000-000000000001",
        None,
        "fc656993ee3c4c7091d06ba18a9e5069783491ae1fb16d3714a1b0daf2d1310f",
    ),
    (
        "POST",
        "/app-stream-management/v2/streams/1381/start-machine",
        1712567890124,
        "nonce-2",
        '{"region":"dublin"}',
        "b23e433bb5a660e32e8cca289a31fa3d6420273334000484c25c7bf59ce8801d",
    ),
    (
        "PATCH",
        "/organization-management/v1/machines/100",
        1712567890125,
        "nonce-3",
        '{"usage_source":"team_balance"}',
        "a3bc96440bc39b70b9825b585fea6be78ae7a4894b734d25083653177bae5cd0",
    ),
    (
        "POST",
        "/organization-management/v1/machines/100/tasks",
        1712567890126,
        "nonce-4",
        '{"uid":"Grüße-012"}',
        "13f8ec11cc8ff561e48af357ea19d2c509a6d1062af0434c12e0246acb75f427",
    ),
]


@pytest.mark.parametrize(("method", "path", "timestamp", "nonce", "body", "signature"), VECTORS)
def test_hmac_reproduces_the_check_vectors(
    method: str, path: str, timestamp: int, nonce: str, body: str | None, signature: str
) -> None:
    auth = HMACAuth("ak_test_1", "sk_test_1")
    encoded = body.encode() if body else None
    assert auth.sign(method, path, timestamp, nonce, encoded) == signature
    headers = auth.headers(
        Request(method, path, body=encoded), path, now=timestamp / 1000, nonce=nonce
    )
    assert headers == {"Authorization": f"HMAC ak_test_1:{signature}:{nonce}:{timestamp}"}


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200),
    body=st.none() | st.binary(),
)
def test_the_signature_is_hmac_sha256_whatever_the_secret_and_the_body(
    secret: str, body: bytes | None
) -> None:
    expected = hmac.digest(
        secret.encode(), b"keyPOST/v1/x1700nonce" + (body or b""), "sha256"
    ).hex()
    assert HMACAuth("key", secret).sign("POST", "/v1/x", 1700, "nonce", body) == expected


def test_the_bytes_that_json_body_makes_are_the_bytes_of_the_vectors() -> None:
    assert json_body({"uid": "Grüße-012"}).decode() == '{"uid":"Grüße-012"}'


def refusal(at: float) -> Response:
    date = datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    return Response(401, {"Date": date}, b"{}")


@pytest.mark.parametrize("skew", [-7200.0, -6.0, 6.0, 86400.0])
def test_a_wrong_clock_is_learnt_from_the_refusals_date(skew: float) -> None:
    auth = HMACAuth("ak", "sk")
    first, second = (auth.headers(Request("GET", "/"), "/", now=NOW, nonce=nonce) for nonce in "ab")
    assert auth.refused(refusal(NOW + skew), first, now=NOW)
    again = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="c")
    assert abs(int(again["Authorization"].rsplit(":", 1)[1]) / 1000 - (NOW + skew)) < 1
    assert auth.refused(refusal(NOW + skew), second, now=NOW), (
        "one that was sent before this was learnt is signed again too"
    )
    assert not auth.refused(refusal(NOW + skew), again, now=NOW), (
        "what was signed with the right time has another fault"
    )


def signed_by(auth: HMACAuth, now: float = NOW) -> tuple[Mapping[str, str], float]:
    """What is sent now, and by how much its time differs from ours."""
    sent = auth.headers(Request("GET", "/"), "/", now=now, nonce="n")
    return sent, int(sent["Authorization"].rsplit(":", 1)[1]) / 1000 - now


def test_a_clock_that_did_not_help_is_dropped_and_not_learnt_again_at_once() -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    assert auth.refused(refusal(NOW + 1200), sent, now=NOW)
    again, ahead = signed_by(auth)
    assert ahead == pytest.approx(1200, abs=1)
    assert not auth.rejected(again, now=NOW + 1), "it may have been the clock"
    sent, ahead = signed_by(auth)
    assert ahead == pytest.approx(0, abs=0.01)
    assert not auth.refused(refusal(NOW + 1200), sent, now=NOW)
    assert auth.rejected(sent, now=NOW), "refused with either clock"
    assert auth.refused(refusal(NOW + 1200), sent, now=NOW), "when it is tried again"


def test_a_clock_that_helped_is_kept_when_the_next_one_does_not_help() -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    assert auth.refused(refusal(NOW + 3600), sent, now=NOW)
    right, _ = signed_by(auth)
    auth.accepted(right, now=NOW)
    assert auth.refused(refusal(NOW + 9000), right, now=NOW)
    wrong, ahead = signed_by(auth)
    assert ahead == pytest.approx(9000, abs=1)
    assert not auth.rejected(wrong, now=NOW)
    assert signed_by(auth)[1] == pytest.approx(3600, abs=1)


def test_an_answer_to_what_another_clock_signed_settles_nothing_about_the_present_one() -> None:
    auth = HMACAuth("ak", "sk")
    before, _ = signed_by(auth)
    assert auth.refused(refusal(NOW + 1200), before, now=NOW)
    auth.accepted(before, now=NOW + 1)
    assert not auth.rejected(before, now=NOW + 1)
    assert signed_by(auth)[1] == pytest.approx(1200, abs=1), "still on trial"
    sent, _ = signed_by(auth)
    assert not auth.rejected(sent, now=NOW + 1)
    assert signed_by(auth)[1] == pytest.approx(0, abs=0.01), "the first answer did not prove it"


@pytest.mark.parametrize("skew", [0.0, 4.0, -4.0])
def test_a_clock_that_is_right_is_left_alone(skew: float) -> None:
    auth = HMACAuth("ak", "sk")
    sent = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="n")
    assert not auth.refused(refusal(NOW + skew), sent, now=NOW)


def test_a_refusal_without_a_date_teaches_nothing() -> None:
    assert not HMACAuth("ak", "sk").refused(Response(401, {}, b""), {}, now=NOW)


def differs(auth: HMACAuth, response: Response) -> timedelta | None:
    return auth.clock_difference(response, now=NOW)


DAY = 86_400.0


@pytest.mark.parametrize("skew", [DAY + 2, -DAY - 2, 30 * DAY, -30 * DAY, 73 * 365 * DAY])
def test_a_clock_that_is_more_than_a_day_off_is_not_learnt(skew: float) -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    assert not auth.refused(refusal(NOW + skew), sent, now=NOW)
    assert signed_by(auth)[1] == pytest.approx(0, abs=0.01), "nothing is signed for another day"
    found = differs(auth, refusal(NOW + skew))
    assert found is not None
    assert abs(found.total_seconds() - skew) <= 1


@pytest.mark.parametrize("skew", [0.0, 3600.0, -DAY + 2, DAY])
def test_a_clock_that_can_be_learnt_is_no_difference_to_be_told_of(skew: float) -> None:
    assert differs(HMACAuth("ak", "sk"), refusal(NOW + skew)) is None
    assert differs(HMACAuth("ak", "sk"), Response(401, {}, b"")) is None


def test_many_refusals_never_move_the_signed_time_by_more_than_a_day() -> None:
    auth = HMACAuth("ak", "sk")
    for step in range(1, 50):
        sent, ahead = signed_by(auth)
        assert abs(ahead) <= DAY
        # Each Date is only some hours after the time that was signed last.
        learnt = auth.refused(refusal(NOW + ahead + 20_000), sent, now=NOW)
        assert learnt == (ahead + 20_000 <= DAY), step
        if learnt:
            auth.accepted(signed_by(auth)[0], now=NOW)
    assert 0 < signed_by(auth)[1] <= DAY


@pytest.mark.parametrize("jump", [30 * DAY, -30 * DAY, 73 * 365 * DAY])
def test_after_a_jump_a_date_is_learnt_that_one_of_the_machines_opinions_vouches_for(
    jump: float,
) -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    # The machine's clock was put right during the run, or what it began with was right.
    for opinions in ((NOW, NOW + jump + 30), (NOW + jump - 30, NOW)):
        assert not auth.refused(refusal(NOW + jump), sent, now=NOW)
        assert auth.refused_after_jump(refusal(NOW + jump), sent, now=NOW, clocks=opinions)
        sent, ahead = signed_by(auth)
        assert ahead == pytest.approx(jump, abs=1)
        # What is learnt is on trial like any other difference.
        assert not auth.rejected(sent, now=NOW)
        assert signed_by(auth)[1] == pytest.approx(0, abs=0.01)
        assert not auth.refused_after_jump(refusal(NOW + jump), sent, now=NOW, clocks=opinions)
        auth = HMACAuth("ak", "sk")
        sent, _ = signed_by(auth)


def test_a_date_that_no_opinion_vouches_for_is_not_learnt_after_a_jump_either() -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    opinions = (NOW, NOW + 30 * DAY)
    assert not auth.refused_after_jump(refusal(NOW + 15 * DAY), sent, now=NOW, clocks=opinions)
    assert signed_by(auth)[1] == pytest.approx(0, abs=0.01)


ODD_DATES = [
    "Fri, 31 Dec 9999 23:59:59 -1400",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Mon, 01 Jan 0001 00:00:00 +1400",
    "Mon, 01 Jan 0001 00:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Tue, 32 Jan 2026 00:00:00 GMT",
    "Tue, \uff101 Dec 2026 00:00:00 GMT",
    "1e400",
    "nan",
    "9" * 5000,
    "",
]


@pytest.mark.parametrize("date", ODD_DATES)
async def test_an_odd_date_teaches_nothing_and_breaks_nothing(date: str) -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    response = Response(401, {"Date": date}, b"{}")
    assert not auth.refused(response, sent, now=NOW)
    assert signed_by(auth)[1] == pytest.approx(0, abs=0.01)
    differs(auth, response)
    auth.note_success(response, sent)
    auth.may_be_a_copy(response, sent, seconds=0.0)
    # A token's life is reckoned with the Date of its login.
    bearer = BearerAuth.login("somebody", "a password")

    async def send(request: Request) -> Response:
        body = json_body({"token": "t", "expires_at": "9999-12-31T23:59:59.999999-14:00"})
        return Response(200, {"Date": date}, body)

    await bearer.acquire(send, now=NOW)
    assert bearer.ready(NOW), "it is used until it is refused, or ends"


@pytest.mark.parametrize(
    "bad", ["", "   ", "line\nbreak", "crlf\r\nX: y", "nul\0", "ümlaut", None, 5]
)
def test_credentials_that_cannot_travel_are_refused_without_being_shown(bad: object) -> None:
    for make in (
        lambda: HMACAuth("ak", bad),  # type: ignore[arg-type]
        lambda: HMACAuth(bad, "sk"),  # type: ignore[arg-type]
        lambda: APIKeyAuth(bad),  # type: ignore[arg-type]
        lambda: BearerAuth(bad),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert not isinstance(bad, str) or not bad.strip() or bad not in str(caught.value)


@pytest.mark.parametrize(
    "auth",
    [
        HMACAuth("ak", "sk_canary"),
        APIKeyAuth("api_canary"),
        BearerAuth("tok_canary"),
        BearerAuth.login("admin", "hunter2"),
    ],
)
def test_secrets_are_in_no_repr_and_no_pickle(auth: object) -> None:
    for text in (repr(auth), str(auth), f"{auth!r}"):
        assert not any(secret in text for secret in SECRETS)
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            spread(auth)


class Service:
    """A login endpoint that counts."""

    def __init__(self, *, life: timedelta = timedelta(hours=24), key: str = "expires_at") -> None:
        self.logins = 0
        self.life = life
        self.key = key
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: Request) -> Response:
        self.logins += 1
        assert (request.method, request.path, request.authenticated) == (
            "POST",
            "/auth/login",
            False,
        )
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        expires = (datetime.fromtimestamp(NOW, UTC) + self.life).isoformat()
        return Response(
            200, {}, json_body({"token": f"tok-{self.logins}", self.key: expires, "user": {}})
        )


def bearer(auth: BearerAuth) -> str:
    return auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")["Authorization"]


async def test_five_hundred_tasks_without_a_token_log_in_once() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(500)]
    await asyncio.sleep(0)
    service.gate.set()
    await asyncio.gather(*tasks)
    assert service.logins == 1
    assert bearer(auth) == "Bearer tok-1"


async def test_a_failed_login_fails_for_all_who_waited_and_is_tried_once() -> None:
    auth, service = BearerAuth.login("admin", "wrong"), Service()
    service.failure = AuthenticationError("Invalid username or password", status=401)
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    service.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert service.logins == 1
    assert {type(outcome) for outcome in outcomes} == {AuthenticationError}


async def test_who_waited_for_a_refused_login_knows_that_nothing_was_sent_for_him() -> None:
    auth, service = BearerAuth.login("admin", "wrong"), Service()
    service.failure = AuthenticationError("Invalid username or password", status=401)
    service.gate.clear()
    tasks = [asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(50)]
    await asyncio.sleep(0)
    service.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(outcome, "remembered", None) for outcome in outcomes].count(True) == 49
    with pytest.raises(AuthenticationError) as caught:
        await auth.acquire(service, now=NOW)
    assert caught.value.remembered
    assert service.logins == 1


@pytest.mark.parametrize(
    "failure",
    [
        ServerError("broken", status=500),
        TransportError("reset", outcome_unknown=True),
        AuthenticationError("a gateway's page", status=401, outcome_unknown=True),
    ],
    ids=["5xx", "lost", "gateway"],
)
async def test_a_login_that_failed_otherwise_is_tried_again_by_the_next_call(
    failure: Exception,
) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.failure = failure
    with pytest.raises(type(failure)):
        await auth.acquire(service, now=NOW)
    service.failure = None
    await auth.acquire(service, now=NOW)
    assert auth.ready(NOW)


async def test_when_the_task_that_logs_in_is_cancelled_the_next_one_does_it() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    service.gate.clear()
    first, second = (asyncio.create_task(auth.acquire(service, now=NOW)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    service.gate.set()
    await second
    assert service.logins == 2
    assert first.cancelled()


@pytest.mark.parametrize("key", ["expires_at", "expiresAt"])
async def test_a_token_is_renewed_shortly_before_it_expires(key: str) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service(key=key)
    assert not auth.ready(NOW)
    await auth.acquire(service, now=NOW)
    end = NOW + service.life.total_seconds()
    assert auth.expires_at == datetime.fromtimestamp(end, UTC)
    assert auth.ready(end - 61)
    assert not auth.ready(end - 59)


async def test_a_short_lived_token_is_not_renewed_for_every_request() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service(life=timedelta(seconds=30))
    await auth.acquire(service, now=NOW)
    assert auth.ready(NOW + 20)


async def test_a_refusal_of_an_old_token_never_throws_away_a_newer_one() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    await auth.acquire(service, now=NOW)
    old = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
    assert auth.refused(Response(401, {}, b""), old, now=NOW)
    assert not auth.ready(NOW)
    await auth.acquire(service, now=NOW)
    assert auth.refused(Response(401, {}, b""), old, now=NOW), (
        "worth another try, with the newer one"
    )
    assert auth.ready(NOW)
    assert bearer(auth) == "Bearer tok-2"


def test_a_static_token_is_not_worth_a_second_try() -> None:
    assert not BearerAuth("tok").refused(
        Response(401, {}, b""), {"Authorization": "Bearer tok"}, now=NOW
    )


async def test_a_malformed_login_answer_does_not_show_itself() -> None:
    async def send(request: Request) -> Response:
        return Response(200, {}, b'{"tokn": "tok_canary"}')

    with pytest.raises(DecodeError) as caught:
        await BearerAuth.login("admin", "hunter2").acquire(send, now=NOW)
    assert "canary" not in str(caught.value)


def test_a_token_that_no_server_would_take_is_not_sent() -> None:
    """It would be in every request, and be looked for in every refusal."""
    auth = BearerAuth("the-first-token")
    auth.adopt("t" * 16_384, None, now=NOW)

    with pytest.raises(
        DecodeError, match=r"invalid token: the token has 16385 characters, more than 16384$"
    ):
        auth.adopt("t" * 16_385, None, now=NOW)


async def test_a_tokens_life_is_counted_by_the_services_clock() -> None:
    async def send(request: Request) -> Response:
        # The service is two hours behind us; its tokens last for one.
        expires = datetime.fromtimestamp(NOW - 7200 + 3600, UTC)
        return Response(
            200,
            dict(refusal(NOW - 7200).headers),
            json_body({"token": "tok", "expires_at": expires}),
        )

    auth = BearerAuth.login("admin", "hunter2")
    await auth.acquire(send, now=NOW)
    assert auth.ready(NOW + 3500)
    assert not auth.ready(NOW + 3590)


def test_one_strategy_serves_one_event_loop_after_another() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()

    async def three_at_once() -> None:
        auth.forget()
        service.gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, service.gate.set)
        await asyncio.gather(*[auth.acquire(service, now=NOW) for _ in range(3)])

    asyncio.run(three_at_once())
    asyncio.run(three_at_once())
    assert service.logins == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: HMACAuth("ak:sk", "sk"),
        lambda: BearerAuth("Bearer tok_canary"),
        lambda: HMACAuth("ak ", "sk"),
    ],
)
def test_credentials_that_are_put_together_wrongly_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert "canary" not in str(caught.value)


def test_a_login_needs_both_halves() -> None:
    with pytest.raises(ConfigurationError, match="(username|password) must be a non-empty text"):
        BearerAuth.login("admin", "")


# -- one strategy, several services --------------------------------------------------------------

A, B = "https://a.example/api/v1", "https://b.example/api/v1"


async def test_a_token_of_one_base_url_is_unknown_to_another() -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    first, second = auth.for_base_url(A), auth.for_base_url(B)
    await first.acquire(service, now=NOW)
    assert first.ready(NOW)
    assert not second.ready(NOW)
    await second.acquire(service, now=NOW)
    assert (bearer(first), bearer(second)) == ("Bearer tok-1", "Bearer tok-2")
    first.forget()
    assert second.has_token


async def test_credentials_given_at_one_base_url_stay_there() -> None:
    auth = BearerAuth.login("admin", "hunter2")
    auth.for_base_url(A).adopt(
        "tok", None, now=NOW, credentials=Request("POST", "/auth/login", body=b'{"other":1}')
    )
    assert auth.for_base_url(B).credentials != auth.for_base_url(A).credentials
    given = BearerAuth("given")
    given.for_base_url(A).adopt("of-a", None, now=NOW)
    assert bearer(given.for_base_url(B)) == "Bearer given"


def test_a_clock_offset_is_learnt_for_one_base_url() -> None:
    auth = HMACAuth("ak", "sk")
    first, second = auth.for_base_url(A), auth.for_base_url(B)
    sent = first.headers(Request("GET", "/"), "/", now=NOW, nonce="a")
    assert first.refused(refusal(NOW + 7200), sent, now=NOW)
    other = second.headers(Request("GET", "/"), "/", now=NOW, nonce="b")
    assert other["Authorization"].endswith(f":{NOW * 1000:.0f}")


@pytest.mark.parametrize("make", [lambda: HMACAuth("ak", "sk"), lambda: BearerAuth("tok")])
def test_one_base_url_has_one_state_however_often_it_is_asked_for(
    make: Callable[[], HMACAuth | BearerAuth],
) -> None:
    auth = make()
    assert auth.for_base_url(A) is auth
    assert auth.for_base_url(B) is auth.for_base_url(B)
    assert auth.for_base_url(B).for_base_url(B) is auth.for_base_url(B)
    assert type(auth.for_base_url(B)) is type(auth)


def test_a_subclass_keeps_what_is_its_own_at_every_base_url() -> None:
    class Named(BearerAuth):
        def __init__(self, name: str, token: str) -> None:
            super().__init__(token)
            self.name = name

    auth = Named("mine", "tok")
    auth.for_base_url(A)
    assert auth.for_base_url(B).name == "mine"
    assert bearer(auth.for_base_url(B)) == "Bearer tok"


class Stateless(Auth):
    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Mine": "yes"}


class Stateful(Stateless):
    async def acquire(self, send: Send, *, now: float) -> None:
        await send(Request("POST", "/token", authenticated=False))


def test_a_strategy_of_ones_own_without_state_serves_every_base_url() -> None:
    auth = Stateless()
    for base_url in (A, B):
        VagonComputers(Endpoint(base_url, auth=auth))
        assert bound_auth(auth, base_url) is auth


def test_a_strategy_of_ones_own_with_state_serves_one_base_url() -> None:
    auth = Stateful()
    for _ in range(2):
        VagonComputers(Endpoint(A, auth=auth))
    with pytest.raises(ConfigurationError, match="Stateful cannot serve two base URLs"):
        VagonComputers(Endpoint(B, auth=auth))


def test_a_strategy_of_ones_own_can_say_what_serves_a_base_url() -> None:
    class Each(Stateful):
        def for_base_url(self, base_url: str) -> Auth:
            return Stateful()

    auth = Each()
    used = [bound_auth(auth, url) for url in (A, B)]
    assert used[0] is not used[1]
    for url in (A, B):
        VagonComputers(Endpoint(url, auth=auth))


def test_secrets_are_in_no_repr_and_no_pickle_of_what_serves_a_second_base_url() -> None:
    for auth in (HMACAuth("ak", "sk_canary"), BearerAuth("tok_canary")):
        auth.for_base_url(A)
        other = auth.for_base_url(B)
        assert not any(secret in repr(vars(other)) for secret in SECRETS)
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(other)


# -- tokens that seem to have ended --------------------------------------------------------------


@pytest.mark.parametrize(
    "expires_at",
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00Z"],
)
async def test_a_token_that_seems_past_its_end_is_used_until_it_is_refused(expires_at: str) -> None:
    logins = 0

    async def send(request: Request) -> Response:
        nonlocal logins
        logins += 1
        return Response(200, {}, json_body({"token": f"tok-{logins}", "expires_at": expires_at}))

    auth = BearerAuth.login("admin", "hunter2")
    for _ in range(8):
        if not auth.ready(NOW):
            await auth.acquire(send, now=NOW)
    assert logins == 1
    assert auth.refused(
        Response(401, {}, b""), auth.headers(Request("GET", "/"), "/", now=NOW, nonce=""), now=NOW
    )
    assert not auth.ready(NOW)


async def test_an_empty_authorization_header_is_never_made() -> None:
    auth = BearerAuth.login("admin", "hunter2")
    with pytest.raises(ConfigurationError, match="no token yet"):
        bearer(auth)
    await auth.acquire(Service(), now=NOW)
    auth.forget()
    with pytest.raises(ConfigurationError, match="no token yet"):
        bearer(auth)


@pytest.mark.parametrize("had_a_token", [False, True])
async def test_who_waited_for_a_token_that_was_refused_meanwhile_logs_in_anew(
    had_a_token: bool,
) -> None:
    auth, service = BearerAuth.login("admin", "hunter2"), Service()
    if had_a_token:
        auth.adopt("about-to-end", None, now=NOW)
    service.gate.clear()

    async def use() -> str:
        await auth.acquire(service, now=NOW)
        return bearer(auth)

    async def use_and_be_refused() -> None:
        await auth.acquire(service, now=NOW)
        sent = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
        auth.refused(Response(401, {}, b""), sent, now=NOW)

    first = asyncio.create_task(use_and_be_refused())
    others = [asyncio.create_task(use()) for _ in range(5)]
    await asyncio.sleep(0)
    service.gate.set()
    await first
    assert await asyncio.gather(*others) == ["Bearer tok-2"] * 5
    assert service.logins == 2
