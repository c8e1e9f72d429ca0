"""How large an answer or a WebSocket message may be: the limit passes, and one byte more fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tracemalloc
from typing import Any, cast

import pytest
from aiohttp import web

from tests.integration.framed_answers import DONE, always, computers, framed
from tests.integration.raw_http import head
from tests.integration.raw_http import serving as raw_serving
from tests.integration.realtime_server import TOKEN, client, serving
from vcloud import (
    APIError,
    BearerAuth,
    ConflictError,
    DecodeError,
    Endpoint,
    LimitExceededError,
    NotFoundError,
    ServerError,
    StreamSpace,
    TransportError,
    VagonComputers,
)
from vcloud._core.request import MAX_REFUSAL
from vcloud.emulator import Emulator, Fault


@pytest.mark.parametrize("size", [200, 3_000_000], ids=["comes with its head", "comes in parts"])
@pytest.mark.parametrize("how", ["length", "chunked", "gzip", "gzip chunked", "deflate"])
async def test_an_answer_of_max_response_bytes_passes_and_one_byte_more_does_not(
    how: str, size: int
) -> None:
    connections: list[int] = []
    answer = framed(DONE.ljust(size), how)
    async with raw_serving(always(answer, connections)) as url:
        async with computers(url, max_response=size) as cloud:
            await cloud.machines.ref("1").start()
            await cloud.machines.ref("1").start()
        assert connections == [2], "a connection whose answer was read to its end is used again"
        async with computers(url, max_response=size - 1, attempts=3) as cloud:
            for _ in range(2):
                with pytest.raises(
                    LimitExceededError,
                    match=rf"POST .*\(200\) is larger than the {size - 1} bytes that max_response",
                ):
                    await cloud.machines.ref("1").start()
    assert sum(connections) == 4, "a request that was answered is not sent again"


async def test_an_endless_answer_is_read_to_the_limit_only_and_its_connection_is_closed() -> None:
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
    # Some more bytes are in the buffers of the sockets.
    assert taken < 32 * 1024**2


async def test_an_answer_that_announces_too_much_is_not_waited_for() -> None:
    async def announces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{")
        await reader.read()

    async with raw_serving(announces) as url, computers(url, max_response=1000) as cloud:
        with pytest.raises(LimitExceededError, match="max_response"):
            await cloud.machines.get("100")


async def test_a_decompression_bomb_is_not_unpacked_in_memory() -> None:
    async with Emulator() as emulator:
        computers = emulator.endpoints()["computers"]
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
async def test_a_large_refusal_is_cut_and_keeps_the_error_of_its_status(
    status: str, kind: type[APIError]
) -> None:
    connections: list[int] = []
    answer = framed(b"<html>" * 500_000, "length", status.encode())
    async with raw_serving(always(answer, connections)) as url:
        async with computers(url, max_response=1000, attempts=2) as cloud:
            with pytest.raises(kind, match="<html>") as caught:
                await cloud.machines.get("100")
    assert len(str(caught.value)) < 1000
    assert connections == ([1, 1] if kind is ServerError else [1])


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
async def test_a_refused_upgrade_keeps_its_reason_up_to_the_limit(size: int) -> None:
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


async def test_an_upgrade_with_a_plain_success_as_its_answer_is_an_error() -> None:
    def plain(request: web.Request) -> web.Response:
        return web.json_response({"logs": []})

    async def never(request: web.Request, socket: web.WebSocketResponse) -> None: ...

    async with serving(never, plain) as server, client(server) as cloud:
        with pytest.raises(
            DecodeError, match=r"a WebSocket was requested, and the answer is a plain one \(200\)"
        ):
            await cloud.sessions.ref("s").open_vnc().aopen()
        with pytest.raises(DecodeError, match=r"GET .*/sessions/s/logs: a WebSocket"):
            await anext(cloud.sessions.ref("s").logs(follow=True))


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
    async with raw_serving(always(answer, [])) as url, computers(url) as cloud:
        if fits:
            await cloud.machines.ref("1").start()
        else:
            with pytest.raises(TransportError, match="broke") as caught:
                await cloud.machines.ref("1").start()
            assert caught.value.outcome_unknown
            assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("levels", "fits"), [(100, True), (100_000, False)])
async def test_json_with_too_many_levels_is_a_decode_error(levels: int, fits: bool) -> None:
    body = b'{"client_code":200,"message":"OK","more":' + b"[" * levels + b"]" * levels + b"}"
    async with raw_serving(always(framed(body, "length"), [])) as url, computers(url) as cloud:
        if fits:
            await cloud.machines.ref("1").start()
        else:
            with pytest.raises(DecodeError, match="not JSON"):
                await cloud.machines.ref("1").start()
