"""Refusals over a socket: they are read to 64 KiB, and the kept part stays small."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.contract.contract_harness import PROVIDERS
from tests.hostile.growth import shared_out
from vcloud import (
    APIError,
    ConflictError,
    DecodeError,
    Endpoint,
    InvalidRequestError,
    NotFoundError,
    RetryPolicy,
    ServerError,
    VCloudError,
)
from vcloud._core.request import MAX_REFUSAL

#: Bytes that an error may keep.
MOST_KEPT = 400_000

CALLS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "computers": lambda cloud: cloud.machines.get("1"),
    "streams": lambda cloud: cloud.streams.get("u"),
    "streamspace": lambda cloud: cloud.sessions.get("s"),
    "streamspace-published": lambda cloud: cloud.sessions.get("s"),
    "desktops": lambda cloud: cloud.get("d"),
}


class Service:
    """One that gives the same answer to everything.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, status: int, body: bytes, *, zipped: bool = False) -> None:
        self.status = status
        self.headers = {"Content-Type": "application/json"}
        if zipped:
            self.headers["Content-Encoding"] = "gzip"
        self.body = gzip.compress(body) if zipped else body
        self._peers: set[Any] = set()
        self._held: list[Any] = []

    @property
    def connections(self) -> int:
        return len(self._peers)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        self._peers.add(request.transport.get_extra_info("peername"))
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    @contextlib.asynccontextmanager
    async def client(self, api: str, **settings: Any) -> AsyncIterator[Any]:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        provider = PROVIDERS[api]
        endpoint = Endpoint(
            f"http://127.0.0.1:{runner.addresses[0][1]}",
            auth=provider.auth(),
            retry=RetryPolicy(attempts=1),
            **settings,
        )
        try:
            async with provider.client_class(endpoint, **provider.own) as cloud:
                yield cloud
        finally:
            await runner.cleanup()


async def refused(cloud: Any, api: str) -> APIError:
    with pytest.raises(APIError) as caught:
        await CALLS[api](cloud)
    return caught.value


def padded(body: bytes, size: int) -> bytes:
    return body + b" " * (size - len(body))


REFUSAL = (
    b'{"client_code":4204,"message":"no","code":"SESSION_TERMINATING",'
    b'"status":"error","error":"no"}'
)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("api", CALLS)
async def test_a_refusal_of_64_kib_is_read_whole_and_its_connection_serves_on(
    api: str, zipped: bool
) -> None:
    service = Service(409, padded(REFUSAL, MAX_REFUSAL), zipped=zipped)
    async with service.client(api) as cloud:
        for _ in range(3):
            error = await refused(cloud, api)

    assert isinstance(error, ConflictError)
    assert error.message == "no"
    assert not hasattr(error, "__notes__")
    assert service.connections == 1


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("more", [1, 3 * 2**20])
@pytest.mark.parametrize("api", CALLS)
async def test_of_a_longer_one_the_status_decides_and_the_first_bytes_are_its_message(
    api: str, more: int, zipped: bool
) -> None:
    body = b'{"not what is looked for":"' + b"x" * (MAX_REFUSAL + more) + b'"}'
    service = Service(404, body, zipped=zipped)
    async with service.client(api) as cloud:
        for _ in range(3):
            error = await refused(cloud, api)

    assert type(error) is NotFoundError
    # A desktop's answer may carry the address of its stream.
    hidden = "the answer (65536 bytes) is not shown"
    began = hidden if api == "desktops" else "the answer began b'{\"not what"
    assert error.message.startswith(began)
    assert error.__notes__ == [
        "the refusal was longer than 65536 bytes, and the service's words may be incomplete"
    ]
    if more > 2**20 and not zipped:
        # What is left of an answer on a connection is taken for the answer to the next request.
        assert service.connections == 3


async def test_a_refusal_is_cut_at_a_smaller_max_response() -> None:
    service = Service(400, padded(REFUSAL, 5000))
    async with service.client("computers", max_response=4999) as cloud:
        error = await refused(cloud, "computers")

    assert type(error) is InvalidRequestError or isinstance(error, ConflictError)
    assert len(error.__notes__) == 1


@pytest.mark.parametrize("api", ["computers", "streams"])
async def test_a_long_refusal_under_a_status_of_success_is_still_that_refusal(api: str) -> None:
    body = (
        b'{"more":['
        + b"{}," * 2**17
        + b'{}],"client_code":4204,"message":"%s"}' % (b"off " * 2**17)
    )
    service = Service(200, body)
    async with service.client(api) as cloud:
        error = await refused(cloud, api)

    assert isinstance(error, ConflictError)
    assert error.code == 4204
    assert error.message.startswith("off off off")
    assert len(error.message) < 1100
    assert len(error.__notes__) == 1


async def test_a_desktops_long_refusal_under_a_status_of_success_is_still_that_refusal() -> None:
    body = b'{"details":[' + b"{}," * 2**17 + b'{}],"status":"error","error":"it failed"}'
    async with Service(200, body).client("desktops") as cloud:
        error = await refused(cloud, "desktops")

    assert type(error) is ServerError
    assert error.message == "it failed"


DETAILED = {
    "streamspace": b'{"error":"no","code":"VALIDATION_FAILED","details":%s}',
    "desktops": b'{"status":"error","error":"no","details":%s}',
}


@pytest.mark.parametrize("details", [b"[%s{}]" % (b"{}," * 20_000), b'"%s"' % (b"a" * 60_000)])
@pytest.mark.parametrize("api", DETAILED)
async def test_of_the_details_a_part_is_kept_and_that_is_said(api: str, details: bytes) -> None:
    service = Service(400, DETAILED[api] % details)
    async with service.client(api) as cloud:
        error = await refused(cloud, api)

    assert error.message == "no" or error.message.startswith("no: aaa")
    assert len(json.dumps(error.details)) < 20_000
    assert any(note.startswith("details: the service said more") for note in error.__notes__)


async def test_details_that_fit_are_kept_as_they_came() -> None:
    details = [{"path": ["a", "b"], "message": "m" * 100}] * 80
    service = Service(400, DETAILED["streamspace"] % json.dumps(details).encode())
    async with service.client("streamspace") as cloud:
        error = await refused(cloud, "streamspace")

    assert error.details == details
    assert not hasattr(error, "__notes__")


LARGE = {
    "a refusal with many details": (400, b'{"error":{"issues":[' + b"{}," * 2**18 + b"{}]}}"),
    "a refusal in few bytes": (400, b"[" + b"{}," * 20_000 + b"{}]"),
    "a refusal with long details": (400, DETAILED["desktops"] % (b'"%s"' % (b"a" * 60_000))),
    "a page of HTML": (502, b"<p>" * 2**18),
    "a wrong success": (200, b'{"id":[],"more":[' + b"{}," * 2**18 + b"{}]}"),
    "a success that is no JSON": (200, b'{"more":[' + b"{}," * 2**18),
    "a refusal as a success": (
        200,
        b'{"client_code":400,"status":"error","error":"no","x":[' + b"{}," * 2**18 + b"{}]}",
    ),
}


@pytest.mark.parametrize(("api", "name"), shared_out(CALLS, LARGE))
async def test_errors_that_are_kept_do_not_keep_the_answers(api: str, name: str) -> None:
    """As a bulk run keeps them: with the frames that they passed."""
    status, body = LARGE[name]
    kept: list[VCloudError] = []
    async with Service(status, body, zipped=True).client(api) as cloud:

        async def call() -> None:
            try:
                await CALLS[api](cloud)
            except VCloudError as error:
                kept.append(error)

        await call()
        kept.clear()
        tracemalloc.start()
        try:
            for _ in range(3):
                await call()
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] / 3
        finally:
            tracemalloc.stop()

    assert len(kept) == 3
    assert all(isinstance(error, DecodeError if status == 200 else APIError) for error in kept) or (
        name == "a refusal as a success"
    )
    assert held < MOST_KEPT, [type(error) for error in kept]


async def test_a_bomb_in_a_refusal_is_not_inflated() -> None:
    bomb = Service(400, b"0" * 200 * 2**20, zipped=True)
    async with bomb.client("computers") as cloud:
        await refused(cloud, "computers")
        tracemalloc.start()
        try:
            await refused(cloud, "computers")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak < 8 * 2**20


async def test_a_refusal_that_never_ends_is_not_waited_for() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not reader.at_eof():
                writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    endpoint = Endpoint(
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        auth=PROVIDERS["computers"].auth(),
        retry=RetryPolicy(attempts=1),
    )
    async with server, PROVIDERS["computers"].client_class(endpoint) as cloud:
        error = await refused(cloud, "computers")

    assert type(error) is ServerError
    assert error.status == 503
