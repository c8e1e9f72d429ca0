"""Tests that need a real socket: lost connections, slow and broken answers, redirects."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from unittest import mock

import aiohttp
import pytest

from tests.integration.raw_http import AUTH, NONE, OK, ONCE, head, serving
from vcloud import (
    ConfigurationError,
    ConnectError,
    Endpoint,
    RequestTimeout,
    RetryPolicy,
    TransportError,
    VagonComputers,
)

pytestmark = pytest.mark.usefixtures("aiohttp_parts")


async def test_aiohttp_does_not_repeat_a_request_after_a_lost_connection() -> None:
    seen: list[bytes] = []

    async def one_answer_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head(reader))
        writer.write(NONE)
        await writer.drain()
        with contextlib.suppress(asyncio.IncompleteReadError):
            seen.append(await head(reader))
        # The second request on this connection gets no answer.

    async with (
        serving(one_answer_each) as url,
        VagonComputers(Endpoint(url, auth=AUTH)) as computers,
    ):
        assert await computers.machines.list().all() == []
        assert await computers.machines.list().all() == []
    signatures = [
        line for text in seen for line in text.split(b"\r\n") if line.startswith(b"Authorization")
    ]
    assert len(signatures) == 3, "answered, dropped, and repeated by us on a new connection"
    assert len(set(signatures)) == 3, "never the same nonce twice"


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
async def test_a_post_has_a_content_type_only_with_a_body(
    own: bool,
) -> None:
    seen: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await head(reader)).lower())
        writer.write(OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length"))
        await writer.drain()

    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        serving(note) as url,
        VagonComputers(Endpoint(url, auth=AUTH), client_session=session) as computers,
    ):
        await computers.machines.ref("100").start()
        await computers.machines.ref("100").reset(remove_files=True)
    assert b"content-type" not in seen[0]
    assert b"\r\ncontent-length: 0\r\n" in seen[0]
    assert seen[1].count(b"content-type: application/json\r\n") == 1


async def test_a_replaced_request_method_is_called_and_must_return_a_response() -> None:
    arrived: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await head(reader))

    async with serving(note) as url, VagonComputers(Endpoint(url, auth=AUTH)) as computers:
        with mock.patch("aiohttp.ClientSession.request") as double:
            with pytest.raises(ConfigurationError, match="returns a .*Mock: let it return"):
                await computers.machines.ref("100").start()
    assert (double.call_count, arrived) == (1, [])


async def test_a_replaced_request_method_may_wrap_the_real_one() -> None:
    asked: list[str] = []
    real = aiohttp.ClientSession.request

    async def spy(session: aiohttp.ClientSession, method: str, *args: Any, **more: Any) -> Any:
        asked.append(method)
        return await real(session, method, *args, **more)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await writer.drain()

    async with serving(answer) as url, VagonComputers(Endpoint(url, auth=AUTH)) as computers:
        with mock.patch.object(aiohttp.ClientSession, "request", spy):
            await computers.machines.ref("100").start()
    assert asked == ["POST"]


@pytest.mark.parametrize("verb", ["get", "create"])
async def test_a_connection_dropped_before_the_answer(verb: str) -> None:
    requests = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await head(reader)
        requests += 1

    async with (
        serving(drop) as url,
        VagonComputers(
            Endpoint(url, auth=AUTH, retry=RetryPolicy(attempts=3, base=0))
        ) as computers,
    ):
        call = (
            computers.machines.get("100")
            if verb == "get"
            else computers.machines.create(1, region="dublin")
        )
        with pytest.raises(TransportError, match="dropped|broke") as caught:
            await call
    assert caught.value.outcome_unknown is (verb == "create")
    assert requests == (3 if verb == "get" else 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["body cut", "chunk cut", "not gzip", "head cut", "not http"],
)
async def test_a_broken_answer_is_a_transport_error(answer: bytes) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(answer)
        await writer.drain()

    async with (
        serving(broken) as url,
        VagonComputers(Endpoint(url, auth=AUTH, retry=ONCE)) as computers,
    ):
        with pytest.raises(TransportError, match="computers: GET http"):
            await computers.machines.get("100")


@pytest.mark.parametrize("sent", [b"", OK[:-5]], ids=["head stalls", "body stalls"])
async def test_an_answer_that_stalls_is_a_timeout_and_frees_what_it_held(sent: bytes) -> None:
    stalled = True

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(sent if stalled else OK)
        await writer.drain()
        await reader.read()

    async with serving(stall) as url:
        endpoint = Endpoint(url, auth=AUTH, retry=ONCE, timeout=0.05, concurrency=1)
        async with VagonComputers(endpoint) as computers:
            with pytest.raises(RequestTimeout, match=r"no complete answer within 0.05 s.*unknown"):
                await computers.machines.ref("100").start()
            stalled = False
            await computers.machines.ref("100").start()


async def test_the_attempts_clock_starts_on_admission_not_in_the_queue() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            await asyncio.sleep(0.03)
            writer.write(OK)

    async with serving(slow) as url:
        endpoint = Endpoint(url, auth=AUTH, retry=ONCE, timeout=0.5, concurrency=1)
        async with VagonComputers(endpoint) as computers:
            # The last of these waits longer in line than an attempt may take.
            await asyncio.gather(*[computers.machines.ref("100").start() for _ in range(30)])


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "https://127.0.0.1:9/v1"])
async def test_a_refused_connection_provably_sent_nothing(url: str) -> None:
    async with VagonComputers(Endpoint(url, auth=AUTH, retry=ONCE)) as computers:
        with pytest.raises(ConnectError, match="cannot reach") as caught:
            await computers.machines.create(1, region="dublin")
    assert not caught.value.outcome_unknown


async def test_a_host_that_does_not_exist_and_a_tls_failure_are_connect_errors() -> None:
    async with VagonComputers(
        Endpoint("https://no-such-host.invalid/v1", auth=AUTH, retry=ONCE)
    ) as computers:
        with pytest.raises(ConnectError, match="no-such-host.invalid"):
            await computers.machines.get("100")

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"this is not TLS\r\n\r\n")

    async with serving(plain) as url:
        async with VagonComputers(
            Endpoint(url.replace("http:", "https:"), auth=AUTH, retry=ONCE)
        ) as computers:
            with pytest.raises(ConnectError):
                await computers.machines.get("100")


async def test_a_redirect_to_another_host_is_not_followed_and_leaks_nothing() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pytest.fail("the redirect was followed")

    async with serving(never) as elsewhere:

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head(reader)
            writer.write(
                f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )

        async with (
            serving(redirect) as url,
            VagonComputers(Endpoint(url, auth=AUTH, retry=ONCE)) as computers,
        ):
            with pytest.raises(Exception, match="307"):
                await computers.machines.get("100")


async def test_the_signed_bytes_are_the_sent_bytes() -> None:
    lines: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await head(reader)).split(b"\r\n")[0])
        writer.write(OK)

    async with serving(keep) as url, VagonComputers(Endpoint(url, auth=AUTH)) as computers:
        await computers.machines.ref("a/b ü~%2F").start()
    assert lines == [b"POST /v1/machines/a%2Fb%20%C3%BC~%252F/start HTTP/1.1"]
