"""What needs a real socket: dead connections, slow and broken answers, closing, other loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest import mock

import aiohttp
import pytest

from vcloud import (
    ConfigurationError,
    ConnectError,
    Endpoint,
    HMACAuth,
    NotFoundError,
    RequestTimeout,
    RetryPolicy,
    TransportError,
    VagonComputers,
    VCloud,
)

pytestmark = pytest.mark.usefixtures("aiohttp_parts")

AUTH = HMACAuth("ak", "sk")
ONCE = RetryPolicy(attempts=1)
BODY = b'{"client_code":200,"message":"OK"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
#: A list that is empty.
NONE = OK.replace(b"%d" % len(BODY), b"%d" % (len(BODY) + 14)).replace(
    BODY, BODY[:-1] + b',"machines":[]}'
)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await server.wait_closed()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def test_aiohttp_does_not_repeat_a_request_by_itself_on_a_dead_connection() -> None:
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


async def test_what_is_signed_is_what_is_sent_byte_for_byte() -> None:
    lines: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await head(reader)).split(b"\r\n")[0])
        writer.write(OK)

    async with serving(keep) as url, VagonComputers(Endpoint(url, auth=AUTH)) as computers:
        await computers.machines.ref("a/b ü~%2F").start()
    assert lines == [b"POST /v1/machines/a%2Fb%20%C3%BC~%252F/start HTTP/1.1"]


# -- opening and closing ---------------------------------------------------------------------------


async def test_use_before_opening_and_after_closing_says_what_to_do() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH))
    with pytest.raises(ConfigurationError, match="async with"):
        await cloud.computers.machines.get("100")
    async with cloud:
        pass
    await cloud.aclose()
    with pytest.raises(ConfigurationError, match="closed: make a new one"):
        await cloud.computers.machines.get("100")
    with pytest.raises(ConfigurationError, match="cannot be opened again"):
        await cloud.aopen()


def test_a_client_of_one_loop_refuses_to_work_in_another() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH, retry=ONCE))

    async def use() -> None:
        await cloud.aopen()
        with pytest.raises(ConnectError):
            await cloud.computers.machines.get("100")

    async def use_elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await cloud.computers.machines.get("100")
        await cloud.aclose()

    asyncio.run(use())
    asyncio.run(use_elsewhere())


def test_a_forgotten_await_is_pythons_own_warning() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cloud.computers.machines.ref("100").start()  # type: ignore[unused-coroutine]
        gc.collect()
    assert "never awaited" in str(caught[0].message)


async def test_a_session_of_the_users_own_is_used_and_never_closed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(OK)

    async with serving(answer) as url, aiohttp.ClientSession() as own:
        async with VCloud(computers=Endpoint(url, auth=AUTH), client_session=own) as cloud:
            await cloud.computers.machines.ref("100").start()
        assert not own.closed
        async with VagonComputers(Endpoint(url, auth=AUTH), client_session=own) as computers:
            await computers.machines.ref("100").start()
            await own.close()
            with pytest.raises(ConfigurationError, match="was closed"):
                await computers.machines.ref("100").start()


async def test_a_session_that_raises_for_status_does_not_hide_what_the_service_says() -> None:
    async def missing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            body = b'{"client_code":404,"message":"Machine not found"}'
            writer.write(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    async with serving(missing) as url, aiohttp.ClientSession(raise_for_status=True) as own:
        async with VagonComputers(Endpoint(url, auth=AUTH), client_session=own) as computers:
            with pytest.raises(NotFoundError, match="Machine not found"):
                await computers.machines.get("100")


async def test_no_credential_is_anywhere_in_a_transport_error() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with (
        serving(nonsense) as url,
        VagonComputers(Endpoint(url, auth=HMACAuth("ak_canary", "sk"), retry=ONCE)) as computers,
    ):
        with pytest.raises(TransportError) as caught:
            await computers.machines.get("100")
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__


async def test_cancelled_requests_release_every_connection() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            await asyncio.sleep(0.01)
            writer.write(OK)

    async with (
        serving(slowly) as url,
        VagonComputers(Endpoint(url, auth=AUTH, concurrency=20, retry=ONCE)) as computers,
    ):
        ref = computers.machines.ref("100")
        for pause in (0, 0, 0.005, 0.015):
            tasks = [asyncio.create_task(ref.start()) for _ in range(500)]
            await asyncio.sleep(pause)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*[ref.start() for _ in range(40)])
        assert len(asyncio.all_tasks()) <= 1 + 20, (
            "the server's connections and this test, nothing of ours"
        )


async def test_a_client_session_of_another_loop_is_refused_before_anything_is_sent() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    elsewhere = asyncio.new_event_loop()
    session = await asyncio.to_thread(elsewhere.run_until_complete, make())
    try:
        endpoint = Endpoint("http://127.0.0.1:9", auth=AUTH)
        async with VagonComputers(endpoint, client_session=session) as computers:
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="made in another event loop"):
                    await computers.machines.list().first()
    finally:
        await asyncio.to_thread(elsewhere.run_until_complete, session.close())
        elsewhere.close()
