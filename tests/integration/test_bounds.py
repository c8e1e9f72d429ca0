"""Every bound over a real socket, on both sides of it: what just fits passes, and one more is a typed error."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import re
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from tests.integration.raw_http import head
from tests.integration.raw_http import serving as raw_serving
from tests.integration.realtime_server import TOKEN, client, serving
from vcloud import (
    APIError,
    BearerAuth,
    ConfigurationError,
    ConflictError,
    DecodeError,
    Desktops,
    Endpoint,
    HMACAuth,
    LimitExceededError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    StreamSpace,
    TransportError,
    VagonComputers,
)
from vcloud._core.request import MAX_REFUSAL
from vcloud.emulator import Emulator, Fault

AUTH = HMACAuth("ak", "sk")
DONE = b'{"client_code":200,"message":"OK"}'
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def computers(url: str, *, attempts: int = 1, **settings: Any) -> VagonComputers:
    return VagonComputers(
        Endpoint(url, auth=AUTH, retry=RetryPolicy(attempts=attempts, base=0), **settings)
    )


def test_a_bound_that_is_none_is_refused() -> None:
    for name in ("max_response", "max_message", "max_pages"):
        Endpoint(auth=AUTH, **cast("Any", {name: 1}))
        for value in (0, -1, 1.5, True, None, "1"):
            with pytest.raises(ConfigurationError, match=f"{name} must be a whole number"):
                Endpoint(auth=AUTH, **{name: cast("Any", value)})


def test_the_readme_says_what_the_defaults_are() -> None:
    table = (
        (Path(__file__).parents[2] / "README.md")
        .read_text(encoding="utf-8")
        .partition("## Bounds")[2]
        .partition("\n## ")[0]
    )
    said = re.findall(r"(Endpoint|RetryPolicy)\((.*?)\)`", table)
    assert len(said) == 11
    for kind, settings in said:
        made = Endpoint(auth=AUTH) if kind == "Endpoint" else RetryPolicy()
        for setting in settings.split(", "):
            name, _, value = setting.partition("=")
            assert repr(getattr(made, name)) == value, setting


# -- the size of an answer ---------------------------------------------------------------------------------------------


def _chunked(body: bytes, size: int = 50_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _framed(body: bytes, how: str, status: bytes = b"200 OK") -> bytes:
    start = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n"
    sent = (
        gzip.compress(body) if "gzip" in how else zlib.compress(body) if "deflate" in how else body
    )
    start += (
        b"Content-Encoding: gzip\r\n"
        if "gzip" in how
        else b"Content-Encoding: deflate\r\n"
        if "deflate" in how
        else b""
    )
    if "chunked" in how:
        return start + b"Transfer-Encoding: chunked\r\n\r\n" + _chunked(sent)
    return start + b"Content-Length: %d\r\n\r\n" % len(sent) + sent


def _always(answer: bytes, connections: list[int]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        while True:
            await head(reader)
            connections[-1] += 1
            writer.write(answer)
            await writer.drain()

    return handler


@pytest.mark.parametrize("size", [200, 3_000_000], ids=["comes with its head", "comes in parts"])
@pytest.mark.parametrize("how", ["length", "chunked", "gzip", "gzip chunked", "deflate"])
async def test_an_answer_of_max_response_bytes_passes_and_one_byte_more_does_not(
    how: str, size: int
) -> None:
    connections: list[int] = []
    answer = _framed(DONE.ljust(size), how)
    async with raw_serving(_always(answer, connections)) as url:
        async with computers(url, max_response=size) as cloud:
            await cloud.machines.ref("1").start()
            await cloud.machines.ref("1").start()
        assert connections == [2], "what was read to its end leaves the connection whole"
        async with computers(url, max_response=size - 1, attempts=3) as cloud:
            for _ in range(2):
                with pytest.raises(
                    LimitExceededError,
                    match=rf"POST .*\(200\) is larger than the {size - 1} bytes that max_response",
                ):
                    await cloud.machines.ref("1").start()
    assert sum(connections) == 4, "a service that answered is not asked again"


async def test_no_more_of_an_endless_answer_is_taken_than_the_bound_and_its_connection_goes_with_it() -> (
    None
):
    taken = connections = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken, connections
        connections += 1
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
            taken += 65536

    async with raw_serving(endless) as url, computers(url, max_response=1_000_000) as cloud:
        for _ in range(2):
            with pytest.raises(LimitExceededError, match="max_response"):
                await cloud.machines.get("100")
    assert connections == 2
    # What lies in the sockets' buffers between the two was not taken by anybody.
    assert taken < 32 * 1024**2


async def test_an_answer_that_announces_too_much_is_not_waited_for() -> None:
    async def announces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{")
        await reader.read()

    async with raw_serving(announces) as url, computers(url, max_response=1000) as cloud:
        with pytest.raises(LimitExceededError, match="max_response"):
            await cloud.machines.get("100")


async def test_a_bomb_never_unfolds_in_memory() -> None:
    async with Emulator() as emulator:
        computers = cast("dict[str, Endpoint]", emulator.endpoints())["computers"]
        assert computers.base_url is not None
        emulator.faults.add("GET *", Fault.gzip_bomb(300_000_000))
        async with VagonComputers(
            Endpoint(computers.base_url, auth=computers.auth, max_response=2_000_000)
        ) as cloud:
            tracemalloc.start()
            try:
                with pytest.raises(LimitExceededError, match="max_response"):
                    await cloud.machines.list().first()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert peak < 16_000_000


@pytest.mark.parametrize(
    ("status", "kind"),
    [("404 Not Found", NotFoundError), ("409 Conflict", ConflictError), ("503 Down", ServerError)],
)
async def test_a_refusal_that_is_too_large_is_cut_and_stays_what_its_status_says(
    status: str, kind: type[APIError]
) -> None:
    connections: list[int] = []
    answer = _framed(b"<html>" * 500_000, "length", status.encode())
    async with raw_serving(_always(answer, connections)) as url:
        async with computers(url, max_response=1000, attempts=2) as cloud:
            with pytest.raises(kind, match="<html>") as caught:
                await cloud.machines.get("100")
    assert len(str(caught.value)) < 1000
    assert connections == ([1, 1] if kind is ServerError else [1])


# -- the size of a WebSocket's message ---------------------------------------------------------------------------------


def _frames(size: int, parts: int) -> bytes:
    """One binary message in so many frames."""
    sizes = [size // parts] * (parts - 1)
    sizes.append(size - sum(sizes))
    first = [
        (0x02 if number == 0 else 0) | (0x80 if number == parts - 1 else 0)
        for number in range(parts)
    ]
    return b"".join(
        bytes([start, 127]) + length.to_bytes(8, "big") + bytes(length)
        for start, length in zip(first, sizes, strict=True)
    )


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("bound", [70_000, None], ids=["set", "by default"])
async def test_a_message_of_max_message_bytes_passes_and_one_byte_more_does_not(
    bound: int | None, parts: int
) -> None:
    settings = {} if bound is None else {"max_message": bound}
    size = bound or 4 * 1024**2

    async def two(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        with contextlib.suppress(ConnectionError):
            request.transport.write(_frames(size, parts) + _frames(size + 1, parts))
        await socket.receive()

    async with serving(two) as server:
        endpoint = Endpoint(f"{server.url}/api/v1", auth=BearerAuth(TOKEN), **cast("Any", settings))
        async with StreamSpace(endpoint) as cloud, cloud.sessions.ref("s").open_vnc() as tunnel:
            got = 0
            while got < size:
                got += len(await tunnel.read())
            assert got == size
            with pytest.raises(LimitExceededError, match="max_message"):
                await tunnel.read()


@pytest.mark.parametrize("size", [MAX_REFUSAL, 100 * MAX_REFUSAL])
async def test_a_refused_upgrade_keeps_its_reason_only_as_far_as_that_is_bounded(size: int) -> None:
    reason = json.dumps(
        {"error": "no", "message": "you may not", "code": "SESSION_NOT_FOUND"}
    ).rjust(size)

    def refuse(request: web.Request) -> web.Response:
        return web.Response(text=reason, status=404, content_type="application/json")

    async def never(request: web.Request, socket: web.WebSocketResponse) -> None: ...

    async with serving(never, refuse) as server, client(server) as cloud:
        with pytest.raises(NotFoundError) as caught:
            await cloud.sessions.ref("s").open_vnc().aopen()
    assert caught.value.code == ("SESSION_NOT_FOUND" if size == MAX_REFUSAL else None)
    assert len(str(caught.value)) < 1000


async def test_an_upgrade_that_is_answered_with_a_plain_success_is_none() -> None:
    def plain(request: web.Request) -> web.Response:
        return web.json_response({"logs": []})

    async def never(request: web.Request, socket: web.WebSocketResponse) -> None: ...

    async with serving(never, plain) as server, client(server) as cloud:
        with pytest.raises(
            DecodeError, match=r"a WebSocket was asked for, and the answer is a plain one \(200\)"
        ):
            await cloud.sessions.ref("s").open_vnc().aopen()
        with pytest.raises(DecodeError, match=r"GET .*/sessions/s/logs: a WebSocket"):
            await anext(cloud.sessions.ref("s").logs(follow=True))


# -- pages -------------------------------------------------------------------------------------------------------------


def _vagon_pages(number: int, last: int | None) -> dict[str, Any]:
    session = {
        "id": f"s{number}",
        "type": "session",
        "attributes": {
            "start_at": "2026-01-23T11:02:41.902Z", "region": "dublin", "application_name": "a", "application_id": 1,
            "stream_id": 1, "stream_name": "s", "machine_type": "m",
        },
    }  # fmt: skip
    return {
        "sessions": [session],
        "client_code": 200,
        "page": number,
        "next_page": None if number == last else number + 1,
    }


async def test_a_list_may_have_max_pages_and_one_that_goes_on_ends_in_an_error() -> None:
    from vcloud.providers.streams import VagonStreams

    asked: list[int] = []
    last: int | None = 5

    async def pages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = await head(reader)
            asked.append(int(line.split(b"page=")[1].split(b" ")[0].split(b"&")[0]))
            body = json.dumps(_vagon_pages(asked[-1], last)).encode()
            writer.write(_framed(body, "length"))
            await writer.drain()

    async with (
        raw_serving(pages) as url,
        VagonStreams(Endpoint(url, auth=AUTH, max_pages=5)) as cloud,
    ):
        assert len(await cloud.sessions.list().all()) == 5
        last = None
        asked.clear()
        for pager in (cloud.sessions.list(), cloud.sessions.list().prefetch(8)):
            got = []
            iterator = pager.pages()
            with pytest.raises(
                LimitExceededError, match=r"goes on after 5 pages.*max_pages.*begin with page 6"
            ):
                got += [page.number async for page in iterator]
            assert asked == [1, 2, 3, 4, 5], "and no sixth one"
            with pytest.raises(LimitExceededError, match="max_pages"):
                await anext(iterator)
            assert iterator.number == 6
            asked.clear()
        assert (await anext(cloud.sessions.list(page=6).pages())).number == 6


@pytest.mark.parametrize("ahead", [0, 8])
async def test_reading_ahead_stops_at_the_bound_too(ahead: int) -> None:
    async with Emulator(machines=30) as emulator:
        found = cast("dict[str, Endpoint]", emulator.endpoints())["computers"]
        assert found.base_url is not None
        for bound, fits in ((15, True), (14, False)):
            before = len(emulator.calls)
            async with VagonComputers(
                Endpoint(found.base_url, auth=found.auth, max_pages=bound)
            ) as cloud:
                pager = cloud.machines.list(per_page=2)
                pages = (pager.prefetch(ahead) if ahead else pager).pages()
                if fits:
                    assert len([page async for page in pages]) == 15
                else:
                    with pytest.raises(LimitExceededError, match="max_pages"):
                        [page async for page in pages]
            assert len(emulator.calls) - before == bound


# -- sending again, waiting, following ---------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [2, 3])
async def test_so_many_attempts_and_no_more(failures: int) -> None:
    async with Emulator(machines=1) as emulator:
        found = cast("dict[str, Endpoint]", emulator.endpoints())["computers"]
        assert found.base_url is not None
        emulator.faults.add("GET *", Fault.server_error(500), failures)
        retry = RetryPolicy(attempts=3, base=0)
        async with VagonComputers(Endpoint(found.base_url, auth=found.auth, retry=retry)) as cloud:
            if failures < 3:
                assert await cloud.machines.list().first()
            else:
                with pytest.raises(ServerError):
                    await cloud.machines.list().first()
        assert len(emulator.calls) == 3


@pytest.mark.parametrize(("asked", "waits"), [(0.02, True), (0.021, False), (10**9, False)])
async def test_a_retry_after_of_max_retry_after_is_waited_for_and_a_longer_one_is_not(
    asked: float, waits: bool
) -> None:
    async with Emulator(machines=1) as emulator:
        found = cast("dict[str, Endpoint]", emulator.endpoints())["computers"]
        assert found.base_url is not None
        emulator.faults.add("GET *", Fault.too_many(asked, "milliseconds"))
        retry = RetryPolicy(base=0, max_retry_after=0.02)
        async with VagonComputers(Endpoint(found.base_url, auth=found.auth, retry=retry)) as cloud:
            if waits:
                assert await cloud.machines.list().first()
            else:
                with pytest.raises(RateLimitError) as caught:
                    await cloud.machines.list().first()
                assert caught.value.retry_after is not None
                assert caught.value.retry_after >= asked * 0.999
                assert (
                    "longer than max_retry_after of the RetryPolicy allows"
                    in caught.value.__notes__[0]
                )
        assert len(emulator.calls) == (2 if waits else 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_not_even_to_the_same_host(status: int) -> None:
    async with (
        Emulator() as emulator,
        Desktops(cast("dict[str, Endpoint]", emulator.endpoints())["desktops"]) as cloud,
    ):
        await cloud.launch()
        emulator.faults.add("POST *", Fault.redirect("/v1/desktop", status))
        with pytest.raises(APIError, match="redirects to .*/v1/desktop") as caught:
            await cloud.launch()
        assert caught.value.status == status
        assert len(emulator.calls) == 2


# -- heads and depth ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "fits"),
    [
        (b"X-A: " + b"a" * 7000, True),
        (b"X-A: " + b"a" * 9000, False),
        (b"\r\n".join(b"X-%d: a" % number for number in range(100)), True),
        (b"\r\n".join(b"X-%d: a" % number for number in range(200)), False),
        (b"X-A: " + b"a" * 10_000_000, False),
    ],
    ids=["long field", "too long field", "many fields", "too many fields", "endless field"],
)
async def test_the_head_of_an_answer_is_bounded_by_aiohttp(extra: bytes, fits: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n\r\n%s" % (len(DONE), extra, DONE)
    async with raw_serving(_always(answer, [])) as url, computers(url) as cloud:
        if fits:
            await cloud.machines.ref("1").start()
        else:
            with pytest.raises(TransportError, match="broke") as caught:
                await cloud.machines.ref("1").start()
            assert caught.value.outcome_unknown
            assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("levels", "fits"), [(100, True), (100_000, False)])
async def test_json_that_is_nested_too_deep_is_a_decode_error(levels: int, fits: bool) -> None:
    body = b'{"client_code":200,"message":"OK","more":' + b"[" * levels + b"]" * levels + b"}"
    async with raw_serving(_always(_framed(body, "length"), [])) as url, computers(url) as cloud:
        if fits:
            await cloud.machines.ref("1").start()
        else:
            with pytest.raises(DecodeError, match="not JSON"):
                await cloud.machines.ref("1").start()
