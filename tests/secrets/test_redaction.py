"""No error holds a secret that a peer repeats, in any spelling and in any place."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.contract.contract_harness import PROVIDERS, CannedTransport
from tests.hostile.growth import check_growth
from tests.secrets.spelling import WHOLE, shows, spelled, texts_of
from tests.unit.hostile import ONCE, STEADY
from vcloud import APIKeyAuth, BearerAuth, Endpoint, Request, Response, VCloudError
from vcloud._core.client import client_with
from vcloud._core.redaction.sent_secrets import SEARCHED, Redactor, redactor_for
from vcloud.providers.streamspace import InvalidTransitionError, SessionState

SECRET: Final = "ck_+a/secret=of-mine.8"
#: Stands in an answer until the secret is put there.
HOLE: Final = "@@ a hole @@"

CALLS: Final[dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]]] = {
    "desktops": (APIKeyAuth, lambda client: client.ref("1").stop()),
    "streamspace": (BearerAuth, lambda client: client.agents.stats()),
}

#: The places of an answer that enter an error, in the form of either service.
PLACES: Final[dict[str, Mapping[str, Any]]] = {
    "message": {"status": "error", "error": f"bad {HOLE}!", "message": f"the key {HOLE} is wrong"},
    "code": {"status": "error", "error": "bad", "message": "bad", "code": f"A_{HOLE}"},
    "details": {
        "status": "error",
        "error": "bad",
        "message": "bad",
        "code": "VALIDATION_FAILED",
        "details": {"heard": [{"deep": f"[{HOLE}]"}], HOLE: 1},
    },
    "issues": {
        "success": False,
        "error": {"issues": [{"path": ["a", HOLE], "message": f"no {HOLE}"}], "name": "ZodError"},
    },
    "request id": {"status": "error", "error": "bad", "message": "bad", "requestId": HOLE},
    # Behind so many words the error's text ends, and not behind the secret.
    "where it is cut": {"status": "error", "error": f"{'x' * 985} {HOLE}", "message": "y" * 1200},
    "no field of an error": {"id": [HOLE], "status": 7, "total_agents": HOLE, HOLE: HOLE},
}


async def error_of(api: str, secret: str, answer: Response) -> VCloudError:
    auth, call = CALLS[api]
    transport = CannedTransport(answer.status, answer.body, CIMultiDict(answer.headers))  # type: ignore[arg-type]
    endpoint = Endpoint(PROVIDERS[api].document["base_url"], auth=auth(secret), retry=ONCE)
    client = client_with(
        PROVIDERS[api].client_class, endpoint, transport=transport, own=PROVIDERS[api].own
    )
    with pytest.raises(VCloudError) as caught:
        await call(client)
    return caught.value


def assert_hidden(error: VCloudError, secret: str) -> None:
    copy = pickle.loads(pickle.dumps(error))
    for text in (*texts_of(error), *texts_of(copy)):
        assert not shows(text, secret), text


SECRETS = st.text(
    st.sampled_from("abcXYZ0189-._~+/=:%&\"'\\<> éß🙂\u2028"), min_size=8, max_size=24
)
#: Those that a header can carry.
HEADER_SECRETS = st.text(
    st.sampled_from("abcXYZ0189-._~+/=%&\"'\\<>"), min_size=8, max_size=24
).filter(lambda text: not text.isspace())
AROUND = st.text(st.sampled_from("ab1 .,:[]{}'\"/\n"), max_size=8)


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("api", CALLS)
async def test_an_answers_text_is_shown_without_the_secret(api: str, place: str, way: str) -> None:
    echoed = json.dumps(PLACES[place]).replace(HOLE, json.dumps(WHOLE[way](SECRET))[1:-1])
    for status in (200, 400, 401, 503):
        assert_hidden(await error_of(api, SECRET, Response(status, {}, echoed.encode())), SECRET)


@pytest.mark.parametrize("way", [way for way in WHOLE if "JSON" in way])
@pytest.mark.parametrize("place", PLACES)
async def test_an_escape_of_the_answers_own_hides_nothing_from_the_search(
    place: str, way: str
) -> None:
    echoed = json.dumps(PLACES[place]).replace(HOLE, WHOLE[way](SECRET).strip('"'))
    for status in (200, 400):
        answer = Response(status, {}, echoed.encode())
        assert_hidden(await error_of("streamspace", SECRET, answer), SECRET)


@pytest.mark.parametrize("way", WHOLE)
async def test_invalid_json_is_quoted_without_the_secret(way: str) -> None:
    said = WHOLE[way](SECRET)
    for api in CALLS:
        for page in (f"<html>{said}</html>", said, f'{{"error": "{said}', f"\ufeff {said}"):
            for status in (200, 502):
                answer = Response(status, {"Content-Type": "text/html"}, page.encode())
                assert_hidden(await error_of(api, SECRET, answer), SECRET)


@pytest.mark.parametrize("way", WHOLE)
async def test_a_header_is_shown_without_the_secret(way: str) -> None:
    said = WHOLE[way](SECRET).replace("\n", "")
    headers = {"X-Request-Id": said, "Location": f"https://me:{said}@host/{said}?{said}#{said}"}
    for status in (302, 400, 503):
        answer = Response(status, headers, b'{"status":"error","error":"bad"}')
        for api in CALLS:
            assert_hidden(await error_of(api, SECRET, answer), SECRET)


@pytest.mark.parametrize("way", ["as it is", "JSON, escaped", "percent", "Base64 after one"])
@pytest.mark.parametrize("left", [0.4, 0.6, 0.9])
async def test_a_secret_that_is_cut_off_at_the_end_of_an_answer_is_redacted(
    way: str, left: float
) -> None:
    secret = "ck_0123456789abcdefghijklmnopqrstuvwxyz-ABCDEF"
    said = WHOLE[way](secret)
    body = f'{{"error":"{said[: int(len(said) * left)]}'.encode()
    for status in (200, 400):
        error = await error_of("desktops", secret, Response(status, {}, body))
        for text in texts_of(error):
            assert not shows(text, secret[:10])


@pytest.mark.parametrize("way", WHOLE)
async def test_an_answer_too_large_to_search_is_quoted_without_the_secret(way: str) -> None:
    secret = "ck_0123456789abcdefghijklmnopqrstuvwxyz-ABCDEF"
    said = WHOLE[way](secret)
    for at in (0, 60, 90, 110, 980):
        for place in ("error", "code", "details", "requestId"):
            echoed = {"status": "error", "error": "b", place: "x" * at + said, "z": "y" * SEARCHED}
            for status in (200, 400):
                answer = Response(status, {}, json.dumps(echoed).encode())
                for api in CALLS:
                    error = await error_of(api, secret, answer)
                    for text in texts_of(error):
                        assert not shows(text, secret[:10])


def test_a_header_that_is_not_utf_8_is_searched_by_its_bytes() -> None:
    redactor = Redactor(["pässwörd-é1"])
    # As aiohttp reads it.
    header = "für pässwörd-é1!".encode("latin-1").decode("utf-8", "surrogateescape")

    clean = redactor.response(Response(400, {"X-Request-Id": header}, b"{}"))

    assert clean.headers["X-Request-Id"] == "f\udcfcr ***!"
    assert redactor.text("\ud83d \udcfc") == "\ud83d \udcfc"
    assert redactor.text("\ud83d \udcfc pässwörd-é1") == "\ud83d \udcfc ***"


async def test_the_states_of_a_large_refusal_are_shown_without_the_secret() -> None:
    words = f"Cannot transition from '{SECRET}' to '{SECRET}'"
    echoed = json.dumps({"error": words, "fields": "y" * SEARCHED}).encode()

    error = await error_of("streamspace", SECRET, Response(400, {}, echoed))

    assert isinstance(error, InvalidTransitionError)
    assert (error.from_state, error.to_state) == (SessionState("***"), SessionState("***"))
    assert_hidden(error, SECRET)


@settings(STEADY, max_examples=150)
@given(st.data())
def test_a_secret_in_any_spelling_is_not_left_in_a_text(data: st.DataObject) -> None:
    secret = data.draw(SECRETS)
    said = data.draw(AROUND) + data.draw(spelled(secret)) + data.draw(AROUND)
    assert not shows(Redactor([secret]).text(said), secret)


@pytest.mark.long
@settings(STEADY, max_examples=20_000)
@given(st.data())
def test_a_secret_in_any_spelling_is_not_left_in_a_text_at_length(data: st.DataObject) -> None:
    secret = data.draw(SECRETS)
    said = data.draw(AROUND) + data.draw(spelled(secret)) + data.draw(AROUND)
    assert not shows(Redactor([secret]).text(said), secret)


@settings(STEADY, max_examples=60)
@given(st.data())
async def test_a_secret_in_any_spelling_in_any_place_is_in_no_error(data: st.DataObject) -> None:
    secret = data.draw(HEADER_SECRETS.filter(lambda text: ":" not in text))
    said = data.draw(AROUND) + data.draw(spelled(secret)) + data.draw(AROUND)
    place = data.draw(st.sampled_from(list(PLACES)))
    echoed = json.dumps(PLACES[place]).replace(HOLE, json.dumps(said)[1:-1]).encode()
    body = data.draw(st.sampled_from([echoed, said.encode(), echoed[:-20], b"<p>" + said.encode()]))
    status = data.draw(st.sampled_from([200, 302, 400, 401, 404, 429, 500]))
    headers = {"X-Request-Id": " ".join(said.split())}
    answer = Response(status, headers, body)
    assert_hidden(await error_of(data.draw(st.sampled_from(list(CALLS))), secret, answer), secret)


@given(st.text(max_size=60))
@example("100 %, \\u00e9 and &amp; \\")
def test_a_text_that_repeats_nothing_is_the_same(text: str) -> None:
    assert Redactor([SECRET], ["hunter2"]).text(text) is text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("hunter2 is too weak", "*** is too weak"),
        ("password 'hunter2': HUNTER2", "password '***': ***"),
        ("hunter%32, hunter\\u0032", "***, ***"),
        ("hunter200 is a user, and hunter a word", "hunter200 is a user, and hunter a word"),
    ],
)
def test_a_short_password_is_taken_out_as_a_word(said: str, expected: str) -> None:
    assert Redactor((), ["hunter2"]).text(said) == expected


def test_a_short_header_is_a_word_like_any_other() -> None:
    redactor = redactor_for(Request("GET", "/"), [("X-Region", "dublin")])
    assert redactor.text("no room in dublin") == "no room in dublin"


def test_a_password_is_found_as_basic_has_it() -> None:
    body = json.dumps({"username": "me", "password": "pw 1"}).encode()
    redactor = redactor_for(Request("POST", "/login", body=body, sensitive=True), ())
    assert redactor.text("Basic bWU6cHcgMQ== is wrong") == "Basic ***Q== is wrong"


def test_the_key_of_a_signed_request_is_found_alone() -> None:
    redactor = redactor_for(
        Request("GET", "/"), [("Authorization", f"HMAC ak_12345678:{'a1' * 32}:{'b2' * 16}:17")]
    )
    assert redactor.text("AK_12345678 or ak%5F12345678 is unknown") == "*** or *** is unknown"


def test_the_signature_alone_is_found_and_a_short_key_and_the_time_are_not() -> None:
    signature, nonce = "a1" * 32, "b2" * 16
    redactor = redactor_for(
        Request("GET", "/"), [("Authorization", f"HMAC ak_1:{signature}:{nonce}:1700000000000")]
    )
    said = f"ak_1 sent {signature.upper()} at 1700000000000"
    assert redactor.text(said) == "ak_1 sent *** at 1700000000000"


def test_json_stays_json_and_text_next_to_the_secret_is_kept() -> None:
    body = b'{"n":\\u0000'.replace(b"\\u0000", b"1.50") + b',"t":"\\nsecret-1","u":"a secret-1 b"}'
    clean = Redactor(["nsecret-1", "secret-1"]).response(Response(400, {}, body))
    assert json.loads(clean.body) == {"n": 1.5, "t": "\n***", "u": "a *** b"}


MIXED: Final = b"%255c\\\\u0025&amp;\\/ abcdefgh ck_+a/"


PIECES: Final = [b"a", b"\\", b"%25", b"\\u0041", b"&amp;", b"QWxhZGRpbg+/ ", SECRET.encode()]


@pytest.mark.parametrize(
    "piece", [MIXED, b"aaaaaaa1", *[pytest.param(one, marks=pytest.mark.long) for one in PIECES]]
)
def test_the_search_takes_time_in_proportion_to_the_answer(piece: bytes) -> None:
    redactor = Redactor([SECRET, "a" * 40, "aaaaaaaaab", "a secret with spaces"])
    check_growth(make=lambda size: piece * (size // len(piece) + 1), work=redactor.data)


def test_the_search_takes_time_in_proportion_to_the_secrets() -> None:
    text = MIXED * 100
    check_growth(
        make=lambda size: Redactor([f"secret number {one}" for one in range(size)]),
        work=lambda redactor: redactor.data(text),
        size=4,
    )
