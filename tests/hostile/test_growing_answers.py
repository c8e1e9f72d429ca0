"""The cost of any answer grows at most in proportion to its size, and errors stay small."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from attrs import frozen

from tests.contract.contract_harness import PROVIDERS
from tests.hostile.growth import check_growth, shared_out
from tests.unit.hostile import answered
from vcloud import APIError, VCloudError
from vcloud._core.decoding.plain_json import MAX_COMMAS
from vcloud.providers.computers import MachineStatus

Make = Callable[[int], bytes]

#: What is bounded, or read at a gigabyte a second, is repeated rather than made larger.
LARGEST = 2**15
#: Characters of an error's text and of its notes, whatever was answered.
MOST_TEXT = 5000


@frozen
class Listed:
    """A call of one provider whose answer grows with the account."""

    call: Callable[[Any], Any]
    head: bytes
    item: bytes
    #: The same as services in the field may write it, so that the lenient way reads it.
    lenient: bytes
    tail: bytes = b"]}"

    def page(self, item: bytes, count: int) -> bytes:
        return self.head + b",".join([item] * count) + self.tail


async def _machines(cloud: Any) -> Any:
    return await cloud.machines.list(per_page=1).first()


_MACHINE = b'"type":"machine","attributes":{"name":"m","friendly_status":"off","region":"dublin"}}'
LISTS = {
    "computers": Listed(
        _machines,
        b'{"client_code":200,"next_page":null,"machines":[',
        b'{"id":"1",' + _MACHINE,
        b'{"id":1,' + _MACHINE,
    ),
    "streams": Listed(
        _machines,
        b'{"client_code":200,"next_page":null,"machines":[',
        b'{"id":"1","type":"machine","attributes":{"uid":"u","region":"dublin"}}',
        b'{"id":1,"type":"machine","attributes":{"uid":7,"region":"dublin"}}',
    ),
    "streamspace": Listed(
        lambda cloud: cloud.sessions.list().first(),
        b'{"pagination":{"page":1,"limit":1,"total":1,"total_pages":1},"sessions":[',
        b'{"id":"s","user":"u","template":"t","state":"running","tags":["a"]}',
        b'{"id":"s","user":"u","template":"t","state":"running","activeConnections":"1"}',
    ),
    "streamspace-published": Listed(
        lambda cloud: cloud.sessions.list().first(),
        b'{"total":1,"sessions":[',
        b'{"name":"s","user":"u","template":"t","state":"running","idleTimeout":""}',
        b'{"name":"s","user":"u","template":"t","state":"running","persistentHome":"true"}',
    ),
}


def call_of(api: str) -> Callable[[Any], Any]:
    if api == "desktops":
        return lambda cloud: cloud.get("d")
    return LISTS[api].call


def working(api: str, status: int, *, headers: dict[str, str] | None = None) -> Callable[..., Any]:
    """What is measured: a call that is answered with this body."""
    call = call_of(api)

    async def work(body: bytes) -> None:
        client, _ = answered(PROVIDERS[api], status, headers or {}, body)
        errors = []
        try:
            await call(client)
        except VCloudError as error:
            errors.append(error)
        assert all(map(is_small, errors))

    return work


def is_small(error: VCloudError) -> bool:
    texts = [str(error), repr(error), *getattr(error, "__notes__", ())]
    kept = json.dumps(getattr(error, "details", None))
    return max(map(len, texts)) < MOST_TEXT and len(kept) < 100_000


def wrapped(api: str, inner: bytes) -> bytes:
    """A success of this API with more at its top."""
    starts = {
        "computers": b'{"client_code":200,"next_page":null,"machines":[],',
        "streams": b'{"client_code":200,"next_page":null,"machines":[],',
        "streamspace": b'{"total":0,"sessions":[],',
        "streamspace-published": b'{"total":0,"sessions":[],',
        "desktops": b'{"id":"d","status":"running",',
    }
    return starts[api] + inner + b"}"


# -- pages -----------------------------------------------------------------------------------------

WRONG_ITEMS = {
    "empty objects": b"{}",
    "texts": b'"x"',
    "lists": b"[[[]]]",
    "wrong types": (
        b'{"id":[],"type":[],"attributes":{"name":[],"region":[],"permissions":7},"tags":7}'
    ),
    "wrong within lists": b'{"id":"1","attributes":{"machine_types":[7,7]},"tags":[[],[]]}',
}


@pytest.mark.parametrize(("api", "wrong"), shared_out(LISTS, WRONG_ITEMS))
def test_a_page_on_which_every_item_is_wrong(api: str, wrong: str) -> None:
    def make(size: int) -> bytes:
        return LISTS[api].page(WRONG_ITEMS[wrong], size)

    check_growth(make=make, work=working(api, 200))


def peak(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("api", "wrong"), shared_out(LISTS, WRONG_ITEMS))
def test_describing_a_broken_page_takes_no_longer_than_reading_it(api: str, wrong: str) -> None:
    """An error for each item would be proportional too, but a hundred times the page."""
    body = LISTS[api].page(WRONG_ITEMS[wrong], 5000)
    work = working(api, 200)
    asyncio.run(work(body))

    with asyncio.Runner() as runner:
        taken = peak(lambda: runner.run(work(body)))

    assert taken < 2 * peak(lambda: msgspec.json.decode(body)) + 1_500_000


@pytest.mark.parametrize(("api", "wrong"), shared_out(LISTS, ["empty objects", "lists"]))
def test_a_page_of_more_values_than_anybody_looks_at_costs_no_more_than_its_bytes(
    api: str, wrong: str
) -> None:
    """A million of them take the time of a read; an object for each would take gigabytes."""
    body = LISTS[api].page(WRONG_ITEMS[wrong], MAX_COMMAS + 10)
    found: list[object] = []

    async def read() -> None:
        client, _ = answered(PROVIDERS[api], 200, {}, body)
        try:
            await LISTS[api].call(client)
        except VCloudError as error:
            found.append(error)

    with asyncio.Runner() as runner:
        taken = peak(lambda: runner.run(read()))

    assert taken < 2 * len(body) + 1_500_000
    assert "too many values to say where" in str(found[0])
    assert is_small(found[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("api", LISTS)
def test_a_good_page_of_which_the_last_item_alone_is_wrong(api: str) -> None:
    listed = LISTS[api]

    def make(size: int) -> bytes:
        return listed.page(listed.item, size).removesuffix(listed.tail) + b",7" + listed.tail

    check_growth(make=make, work=working(api, 200))


@pytest.mark.parametrize("api", LISTS)
def test_a_good_page_that_only_the_lenient_way_reads(api: str) -> None:
    listed = LISTS[api]

    check_growth(make=lambda size: listed.page(listed.lenient, size), work=working(api, 200))


# -- anything at the top of an answer --------------------------------------------------------------

TOPS: dict[str, Make] = {
    "unknown fields": lambda size: b",".join(b'"f%d":%d' % (n, n) for n in range(size)),
    "one field again and again": lambda size: b",".join([b'"message":"x"'] * size),
    "a field of the wrong type again and again": lambda size: b",".join([b'"id":[]'] * size),
    "a long name": lambda size: b'"%s":1' % (b"x" * size),
    "a long text": lambda size: b'"message":"%s"' % (b"x" * size),
    "a long number": lambda size: b'"page":1' + b"0" * size,
    "a long fraction": lambda size: b'"page":1.' + b"0" * size,
    "lone surrogates": lambda size: b'"message":"%s","id":7' % (rb"\ud800\\" * size),
    "backslashes": lambda size: b'"message":"%s\\ud800","id":[]' % (b"\\\\" * size),
    "depth": lambda size: b'"more":' + b"[" * size + b"]" * size,
    "a broken end": lambda size: b'"more":[%s' % (b"{}," * size),
    "no text in UTF-8": lambda size: b'"more":"%s\xff"' % ("é".encode() * size),
}


@pytest.mark.parametrize(
    ("api", "top"),
    shared_out(["computers", "desktops", "streamspace", "streamspace-published"], TOPS),
)
def test_a_success_with_much_more_at_its_top(api: str, top: str) -> None:
    def make(size: int) -> bytes:
        return wrapped(api, TOPS[top](size))

    check_growth(make=make, work=working(api, 200), largest=LARGEST)


# -- refusals --------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[int, Make]] = {
    "a page of HTML": (404, lambda size: b"<html>" + b"<p>not found</p>" * size),
    "nothing but spaces": (500, lambda size: b" " * size),
    "a long message": (
        400,
        lambda size: (
            b'{"client_code":4204,"message":"%s","error":"%s"}' % (b"x" * size, b"y" * size)
        ),
    ),
    "long details": (
        400,
        lambda size: b'{"client_code":400,"error":"no","details":[%s{}]}' % (b"{}," * size),
    ),
    "many issues": (
        400,
        lambda size: b'{"status":"error","error":{"issues":[%s{}]}}' % (b'{"path":["a"]},' * size),
    ),
    "a refusal under 200": (
        200,
        lambda size: (
            b'{"client_code":4204,"status":"error","error":{"issues":[%s{}]},"message":[%s{}]}'
            % (b"{}," * size, b"{}," * size)
        ),
    ),
    "a long one under 200": (
        200,
        lambda size: (
            b'{"client_code":4204,"status":"error","error":"%s","message":"%s"}'
            % (b"nonce used " * size, b"nonce used " * size)
        ),
    ),
}


@pytest.mark.parametrize(("api", "refusal"), shared_out(PROVIDERS, REFUSALS))
def test_a_long_refusal(api: str, refusal: str) -> None:
    """As a dialect receives it. From a socket it has at most 64 KiB, unless it is a 200."""
    status, make = REFUSALS[refusal]

    check_growth(make=make, work=working(api, status), largest=LARGEST)


# -- what is searched for the secrets that were sent -----------------------------------------------

#: Each character is encoded several times over, in another order each, and some are in Base64.
ENCODED = rb"\u0025\u0032\u0035%5C%5Cu0026&amp;#37;41QUFBQUFBQUFBQUFBQUFBQUFBQUFB "


def encoded(size: int) -> bytes:
    return (ENCODED * (size // len(ENCODED) + 1))[:size]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("api", PROVIDERS)
def test_repeated_encodings_are_decoded_to_a_bounded_depth(api: str, status: int) -> None:
    """To search all of it would take seconds. Ten times as much costs little more."""
    check_growth(make=encoded, work=working(api, status), size=2**14, largest=2**14, most_time=3.0)


@pytest.mark.parametrize("api", PROVIDERS)
def test_encoded_headers_are_not_decoded_to_their_end(api: str) -> None:
    """A hundred of 8 KiB each are as many as aiohttp lets in."""

    async def work(count: int) -> None:
        value = encoded(8000).decode()
        headers = {f"X-{number}": value for number in range(count)}
        client, _ = answered(PROVIDERS[api], 400, headers, b"{}")
        with pytest.raises(APIError):
            await call_of(api)(client)

    check_growth(make=lambda size: size, work=work, size=10, largest=10, most_time=3.0)


# -- words of a request that a refusal may repeat --------------------------------------------------


def refused_command(command: str, said: str) -> APIError:
    body = json.dumps({"status": "error", "error": said}).encode()

    async def call() -> APIError:
        client, _ = answered(PROVIDERS["desktops"], 400, {}, body)
        with pytest.raises(APIError) as caught:
            await client.ref("d").bash(command)
        return caught.value

    return asyncio.run(call())


def numbered(words: int) -> str:
    return " ".join(f"word{number:07}" for number in range(words))


def test_looking_for_the_words_of_a_command_takes_no_longer_than_reading_both() -> None:
    def make(size: int) -> tuple[str, bytes]:
        said = "word" * (min(size, 40_000) // 4)
        return numbered(size), json.dumps({"status": "error", "error": said}).encode()

    async def work(given: tuple[str, bytes]) -> None:
        client, _ = answered(PROVIDERS["desktops"], 400, {}, given[1])
        with pytest.raises(APIError):
            await client.ref("d").bash(given[0])

    check_growth(make=make, work=work)


@pytest.mark.parametrize(
    ("command", "said", "hidden"),
    [
        ("cat secretfile", "no file secretfile", True),
        ("cat secretfile", "no file secretfiles", True),
        ("cat secretfile", "no such file", False),
        ("run averyverylongpassword", "averyverylongpas", True),
        ("run averyverylongpassword", "averyverylongpa", False),
        ("ls -l", "cannot ls -l here", True),
        ("ls -l", "cannot lsx -lx", False),
        (numbered(500), "there is no word0000499", True),
        (numbered(500), "there is no word000499x", False),
        ("ab " * 5000, "ab " * 100, True),
    ],
)
def test_repeated_words_of_a_command_are_found(command: str, said: str, hidden: bool) -> None:
    message = refused_command(command, said).message

    assert (message == "the service's message is not shown because it repeats what was sent") is (
        hidden
    )


# -- what is remembered ----------------------------------------------------------------------------


async def _each_with_a_state_of_its_own(body: bytes) -> Any:
    client, _ = answered(PROVIDERS["computers"], 200, {}, body)
    return await client.machines.list(per_page=1).first()


def states(count: int, first: int = 0) -> bytes:
    item = b'{"id":"1","type":"machine","attributes":{"friendly_status":"state %d"}}'
    items = [item % number for number in range(first, first + count)]
    return LISTS["computers"].head + b",".join(items) + b"]}"


def test_unknown_states_take_time_in_proportion_to_their_number() -> None:
    check_growth(make=states, work=_each_with_a_state_of_its_own)


def test_unknown_states_and_ids_are_not_cached() -> None:
    with asyncio.Runner() as runner:
        runner.run(_each_with_a_state_of_its_own(states(2000)))
        tracemalloc.start()
        try:
            for number in range(1, 6):
                runner.run(_each_with_a_state_of_its_own(states(2000, 2000 * number)))
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert len(MachineStatus) < 20
    assert held < 100_000
