"""Signatures, and the correction of clock skew."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.auth_service import NOW, refusal
from vcloud import (
    BearerAuth,
    HMACAuth,
    Request,
    Response,
)
from vcloud._core.request import json_body

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


@pytest.mark.parametrize("skew", [-7200.0, -6.0, 6.0, 86400.0])
def test_clock_skew_is_corrected_by_the_date_of_the_refusal(skew: float) -> None:
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


def test_a_correction_that_did_not_help_is_dropped_and_not_repeated_at_once() -> None:
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


def test_an_answer_to_a_request_of_an_earlier_offset_does_not_affect_the_present_one() -> None:
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
def test_a_clock_skew_of_more_than_a_day_is_not_corrected(skew: float) -> None:
    auth = HMACAuth("ak", "sk")
    sent, _ = signed_by(auth)
    assert not auth.refused(refusal(NOW + skew), sent, now=NOW)
    assert signed_by(auth)[1] == pytest.approx(0, abs=0.01), "nothing is signed for another day"
    found = differs(auth, refusal(NOW + skew))
    assert found is not None
    assert abs(found.total_seconds() - skew) <= 1


@pytest.mark.parametrize("skew", [0.0, 3600.0, -DAY + 2, DAY])
def test_a_clock_skew_that_can_be_corrected_is_not_reported(skew: float) -> None:
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
def test_after_a_jump_a_date_that_matches_an_estimate_is_used(
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
        # This correction is tried like any other difference.
        assert not auth.rejected(sent, now=NOW)
        assert signed_by(auth)[1] == pytest.approx(0, abs=0.01)
        assert not auth.refused_after_jump(refusal(NOW + jump), sent, now=NOW, clocks=opinions)
        auth = HMACAuth("ak", "sk")
        sent, _ = signed_by(auth)


def test_after_a_jump_a_date_that_matches_no_estimate_is_not_used() -> None:
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
