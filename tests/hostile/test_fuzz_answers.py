"""Any bytes from a peer: the call gives a value or a typed error, printable and without secrets."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import re
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS
from tests.hostile.answers import SPELLINGS, Answer, Peer, answers, heads
from tests.unit.hostile import ONCE, STEADY, Case, cases
from vcloud import APIKeyAuth, Auth, BearerAuth, Endpoint, HMACAuth, VCloudError
from vcloud._core.client import client_with
from vcloud._core.codec import Codec

SECRETS: Final = {
    "key": "AKIA/kana+rie=key~0123456789",
    "secret": "kana/rie+secret 0123456789",
    "quoted": 'kanarie "password"\\ é/+&1',  # in no request; for the judge
    "token": "eyJhbGciOi.kanarie-token_0123.c2lnbmF0dXJl",
    "password": "your-password",  # of the document's example of a login
}
AUTHS: Final[dict[str, Callable[[], Auth]]] = {
    "computers": lambda: HMACAuth(SECRETS["key"], SECRETS["secret"]),
    "streams": lambda: HMACAuth(SECRETS["key"], SECRETS["secret"]),
    "streamspace": lambda: BearerAuth(SECRETS["token"]),
    "desktops": lambda: APIKeyAuth(SECRETS["token"]),
}
#: Seconds after which a call hangs, on a machine that is busy too.
GUARD: Final = 60.0
#: Characters. A refusal is read to 64 KiB, and what is kept of it is no more than some copies.
KEPT: Final = 1_000_000
LINE: Final = 5_000
_CODEC: Final = Codec()
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}")


def readings(text: str) -> Iterator[str]:
    """The text, and what whoever knows the usual spellings reads in it."""
    yield text
    yield unquote(text)
    yield unquote(unquote(text))
    plain = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    yield re.sub(r"\\+([\"\\/])", r"\1", plain)
    yield plain.replace("\\", "")
    for word in _BASE64.findall(text):
        for start in range(4):
            part = word[start:].replace("-", "+").replace("_", "/")
            part = part[:-1] if len(part) % 4 == 1 else part
            yield base64.b64decode(part + "=" * (-len(part) % 4)).decode(errors="replace")


def leaks(text: str, credentials: list[str]) -> list[str]:
    """Which credentials can be read in a text."""
    return [
        credential
        for credential in credentials
        for reading in readings(text)
        if credential in reading or credential.replace("\\", "") in reading
    ]


def acting(text: str) -> set[str]:
    """The characters of a text that are not printed as themselves."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


class Heard(logging.Handler):
    """Keeps the texts of all that is logged."""

    def __init__(self) -> None:
        super().__init__(1)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def heard() -> Iterator[list[str]]:
    handler, logger = Heard(), logging.getLogger("vcloud")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(1)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def judge(got: object, lines: list[str], sent: list[str]) -> None:
    """Refuse what a call must not come to.

    Args:
        got: the value or the error.
        lines: what was logged.
        sent: the credentials that went out with the request.
    """
    for line in lines:
        assert not acting(line), f"logged: {line!a}"
        assert not leaks(line, sent), "a credential was logged"
    if not isinstance(got, VCloudError):
        repr(got)
        return
    for text in (str(got), repr(got), *getattr(got, "__notes__", ())):
        assert len(text) <= LINE, f"{len(text)} characters"
        assert not acting(text), f"{text!a}"
        text.encode()
        assert not leaks(text, sent), f"a credential is in {text!a}"
    trace = "".join(traceback.format_exception(got))
    assert not leaks(trace, sent), "a credential is in the traceback"
    trace.encode()
    assert not acting(trace.replace("\n", "")), f"{trace!a}"
    pickled = pickle.dumps(got)
    assert len(pickled) <= KEPT, f"{len(pickled)} bytes are kept"
    for text in texts([pickle.loads(pickled).__dict__, got.args]):
        assert not leaks(text, sent), f"a credential is in {text!a}"


def texts(value: Any) -> Iterator[str]:
    """All texts in what an error carries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


class Fuzzed:
    """A peer, and clients of it for many examples."""

    def __init__(self, runner: asyncio.Runner, peer: Peer) -> None:
        self._runner, self._peer = runner, peer

    def play(self, case: Case, answer: Answer) -> None:
        """Make one call, which is given this answer, and judge what came of it."""
        self._peer.answer = answer
        self._peer.heads.clear()
        with heard() as lines:
            got = self._runner.run(self._outcome(case))
        signatures = [
            word
            for head in self._peer.heads
            for word in re.split(r"[\s:]+", head.partition("Authorization: ")[2].partition("\r")[0])
            if len(word) > 30
        ]
        judge(got, lines, [*SECRETS.values(), *signatures])

    async def _outcome(self, case: Case) -> object:
        auth = AUTHS[case.provider.api]()
        end = Endpoint(self._peer.url, auth=auth, retry=ONCE, timeout=GUARD / 2, max_pages=3)
        async with (
            client_with(
                case.provider.client_class, end, codec=_CODEC, own=case.provider.own
            ) as client,
            asyncio.timeout(GUARD),
        ):
            try:
                return await case.call(client)
            except VCloudError as error:
                return error


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    peer = Peer()
    with asyncio.Runner() as runner:
        runner.run(peer.start())
        yield Fuzzed(runner, peer)
        runner.run(peer.aclose())


#: Makes answers to a call.
Answers = Callable[[Case], st.SearchStrategy[Answer]]


@st.composite
def examples(draw: st.DrawFn, api: str, made: Answers) -> tuple[Case, Answer]:
    case = draw(st.sampled_from(cases(api)))
    return case, draw(made(case))


def check(api: str, fuzzed: Fuzzed, made: Answers, count: int) -> None:
    @settings(
        STEADY,
        max_examples=count,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(examples(api, made))
    def play(example: tuple[Case, Answer]) -> None:
        fuzzed.play(*example)

    play()


@pytest.mark.parametrize("made", [answers, heads])
@pytest.mark.parametrize("api", PROVIDERS)
def test_any_answer_is_a_value_or_a_typed_error(api: str, made: Answers, fuzzed: Fuzzed) -> None:
    check(api, fuzzed, made, 60)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("made", [answers, heads])
@pytest.mark.parametrize("api", PROVIDERS)
def test_any_of_many_answers_is_a_value_or_a_typed_error(
    api: str, made: Answers, fuzzed: Fuzzed
) -> None:
    check(api, fuzzed, made, 5_000)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", SECRETS.values())
def test_the_judge_reads_every_spelling(spelling: Callable[[str], str], secret: str) -> None:
    assert leaks(f"see '{spelling(secret)}' there", [secret])
    assert not leaks("nothing of it", [secret])
