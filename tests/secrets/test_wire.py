"""Peers that are not HTTP servers and repeat what they receive: no error quotes them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.secrets.sniffing import CANARY, Listener, leaks_in
from tests.secrets.test_canary import ONCE, everything, outcome
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Bulk,
    Endpoint,
    HMACAuth,
    Journal,
    RateLimit,
    SharedBudget,
    VCloud,
    VCloudError,
)
from vcloud._core.connections.failures import describe_failure

KEY, TOKEN, PASSWORD = (f"{CANARY}-{what}-0123456789" for what in ("key", "token", "password"))

#: Makes bytes that come back of a request's head.
Way = Callable[[bytes], bytes]


def heard(request: bytes) -> bytes:
    """The credential of a request, from wherever it stands."""
    words = request.replace(b"=", b" ").replace(b"\r\n", b" ").split(b" ")
    return next((word for word in words if CANARY.encode() in word), b"nothing")


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b""))


#: What a peer answers, and which words of ours tell of it.
WAYS: Final[dict[str, tuple[Way, str]]] = {
    "the request itself": (lambda request: request, "not valid HTTP|status line"),
    "a status line": (
        lambda request: b"HTTP/1.1 2%b OK\r\n\r\n" % heard(request),
        "status line|not valid HTTP",
    ),
    "a reason": (lambda request: b"HTTP/1.1 777 %b\r\n\r\n" % heard(request), "777"),
    "a version": (
        lambda request: b"HTTP/%b 200 OK\r\n\r\n" % heard(request),
        "not valid HTTP|status",
    ),
    "a header's name": (
        lambda request: head(b"X(%b): a" % heard(request)),
        "not valid HTTP|header",
    ),
    "a header without a colon": (lambda request: head(heard(request)), "not valid HTTP|header"),
    "a header that is too long": (
        lambda request: head(b"X-Long: %b" % (heard(request) * 2000)),
        "too long|not valid HTTP",
    ),
    "a length": (
        lambda request: head(b"Content-Length: %b" % heard(request)),
        "not valid HTTP|header",
    ),
    "a coding": (
        lambda request: head(b"Transfer-Encoding: %b" % heard(request)),
        "desktops",
    ),
    "a chunk": (
        lambda request: head(b"Transfer-Encoding: chunked") + heard(request) + b"\r\n",
        "chunked|not valid HTTP",
    ),
    "too short a body": (
        lambda request: head(b"Content-Length: 500") + heard(request),
        "shorter than its Content-Length",
    ),
    "a body that is not compressed": (
        lambda request: (
            head(b"Content-Encoding: gzip", b"Content-Length: 30") + heard(request)[:30]
        ),
        "decompressed",
    ),
    "half a head": (lambda request: b"HTTP/1.1 200 OK\r\nX: %b" % heard(request), "closed"),
}
#: What a peer answers to the upgrade of a WebSocket.
UPGRADES: Final[dict[str, Way]] = {
    "another protocol": lambda request: (
        b"HTTP/1.1 101 %b\r\nUpgrade: %b\r\nConnection: upgrade\r\n\r\n"
        % (heard(request), heard(request))
    ),
    "another connection": lambda request: (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: %b\r\n\r\n" % heard(request)
    ),
    "another key": lambda request: (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % heard(request)
    ),
}


@pytest.fixture(autouse=True)
def listener() -> Iterator[Listener]:
    listener = Listener()
    with listener.everywhere():
        yield listener
    assert not listener.found[:5]


@contextlib.asynccontextmanager
async def peer(way: Way) -> AsyncIterator[str]:
    """Answers each connection once, and closes it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(way(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def followed(session: Any) -> object:
    async with session.logs(follow=True) as stream:
        return [line async for line in stream]


async def journaled(cloud: VCloud, directory: Path) -> str:
    """What a journal has of a run that failed."""

    async def stop(id: str) -> None:
        await cloud.desktops.ref(id).stop()

    async with Bulk(["1", "2"], stop, journal=directory / "journal") as run:
        errors = [one.error async for one in run]
    assert all(isinstance(error, VCloudError) for error in errors)
    assert not [hit for error in errors for hit in leaks_in(error)]
    async with Journal(directory / "journal") as journal:
        return repr(await journal.entries())


@pytest.mark.parametrize("way", WAYS)
async def test_an_unparsable_answer_is_reported_by_its_kind(way: str, tmp_path: Path) -> None:
    answer, words = WAYS[way]
    async with peer(answer) as url, everything(url, BearerAuth(TOKEN)) as cloud:
        session = cloud.streamspace.sessions.ref("1")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: cloud.desktops.ref("1").stop(),
            lambda: cloud.desktops.get("1"),
            lambda: cloud.streamspace.login("admin", PASSWORD),
            lambda: cloud.computers.machines.get("100"),
            cloud.streamspace.agents.stats,
            session.open_vnc().aopen,
            lambda: followed(session),
        ]
        for call in calls:
            error = await outcome(call)
            assert isinstance(error, VCloudError)
            assert not leaks_in(error)
        with pytest.raises(VCloudError, match=words):
            await cloud.desktops.get("1")
        assert CANARY not in await journaled(cloud, tmp_path)


@pytest.mark.parametrize("way", UPGRADES)
async def test_an_invalid_upgrade_is_reported_by_its_kind(way: str) -> None:
    async with peer(UPGRADES[way]) as url, everything(url, BearerAuth(TOKEN)) as cloud:
        error = await outcome(cloud.streamspace.sessions.ref("1").open_vnc().aopen)
        assert isinstance(error, VCloudError)
        assert "upgrade" in str(error)
        assert not leaks_in(error)


async def test_a_websocket_that_repeats_the_token_when_it_closes_is_not_quoted() -> None:
    async def serve(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        opened = aiohttp.web.WebSocketResponse()
        await opened.prepare(request)
        said = request.query.get("token") or request.headers["Authorization"].partition(" ")[2]
        await opened.close(code=1008, message=f"no {said}".encode())
        return opened

    server = aiohttp.web.Server(serve, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        async with everything(url, BearerAuth(TOKEN)) as cloud:
            session = cloud.streamspace.sessions.ref("1")

            async def viewed() -> object:
                async with session.open_vnc() as tunnel:
                    while await tunnel.read():
                        pass
                    await tunnel.write(b"x")
                return tunnel

            for call in (viewed, lambda: followed(session)):
                one = await outcome(call)
                assert isinstance(one, VCloudError)
                assert "no ***" in str(one)
                assert not leaks_in(one)
    finally:
        listening.close()
        await server.shutdown(0.1)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("way", ["the request itself", "a reason", "a status line", "a chunk"])
async def test_a_proxy_that_repeats_its_password_is_not_quoted(way: str, scheme: str) -> None:
    def answer(request: bytes) -> bytes:
        lines = dict(line.partition(b": ")[::2] for line in request.split(b"\r\n")[1:])
        assert lines[b"Proxy-Authorization"].startswith(b"Basic ")
        return WAYS[way][0](request.replace(b"Basic ", f"{PASSWORD} ".encode()))

    async with peer(answer) as url:
        proxy = url.replace("//", f"//me:{PASSWORD}@")
        async with everything(
            f"{scheme}://127.0.0.1:9/v1", BearerAuth(TOKEN), proxy=proxy
        ) as cloud:
            error = await outcome(lambda: cloud.desktops.get("1"))
            assert isinstance(error, VCloudError)
            assert not leaks_in(error)


@pytest.mark.parametrize(
    "way",
    [
        lambda heard: heard,
        # What redis-py cannot parse, and what it takes for the store's own error.
        lambda heard: b"".join(word + b"\r\n" for word in heard.split() if CANARY.encode() in word),
        lambda heard: b"-ERR no %b\r\n" % PASSWORD.encode(),
    ],
    ids=["echo", "a line", "an error"],
)
async def test_a_store_that_is_none_and_repeats_its_password_is_not_quoted(way: Way) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while heard := await reader.read(4096):
                writer.write(way(heard))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        for when_away in ("fail", "unshared"):
            budget = SharedBudget(f"redis://:{PASSWORD}@127.0.0.1:{port}", when_away=when_away)
            endpoint = Endpoint(
                "http://127.0.0.1:9/v1",
                auth=HMACAuth("ak", KEY),
                rate_limits=[RateLimit(1, 1)],
                shared_budget=budget,
                retry=ONCE,
            )
            async with VCloud(computers=endpoint) as cloud:
                error = await outcome(lambda: cloud.computers.machines.get("100"))
                assert isinstance(error, VCloudError)
                assert not leaks_in(error)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda port: f"http://127.0.0.1:{port}", r"no connection to 127.0.0.1:\d+ \(.*refused"),
        (lambda port: "https://no-such-name.invalid", "no-such-name.invalid was not resolved"),
    ],
)
async def test_the_reason_for_a_missing_connection_is_still_reported(
    make: Callable[[int], str], words: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = make(free.getsockname()[1])
    async with VCloud(desktops=Endpoint(url, auth=APIKeyAuth(KEY), retry=ONCE)) as cloud:
        with pytest.raises(VCloudError, match=words):
            await cloud.desktops.get("1")


async def test_plain_http_at_a_tls_address_is_reported() -> None:
    async with peer(lambda request: b"") as url:
        address = url.replace("http", "https")
        async with VCloud(desktops=Endpoint(address, auth=APIKeyAuth(KEY), retry=ONCE)) as cloud:
            error = await outcome(lambda: cloud.desktops.get("1"))
            assert isinstance(error, VCloudError)
            assert "TLS" in str(error) or "no connection" in str(error)


def every_error() -> Iterator[Any]:
    """Each exception of aiohttp and ssl, with the canary in each text that it takes."""
    said = f"{CANARY}: a word of the peer"
    info: Any = type("Info", (), {"real_url": said, "__repr__": lambda self: said})()
    key: Any = type("Key", (), {"host": "h", "port": 1, "ssl": True, "is_ssl": True})()
    refusal = ssl.SSLCertVerificationError(1, said)
    refusal.verify_code, refusal.verify_message = 0, said
    failure = ssl.SSLError(1, said)
    failure.reason = said
    yield from (
        aiohttp.ClientConnectorCertificateError(key, refusal),
        aiohttp.ClientConnectorSSLError(key, failure),
        aiohttp.ClientConnectorDNSError(key, OSError(None, said)),
        aiohttp.ClientConnectorDNSError(key, socket.gaierror(12345, said)),
        aiohttp.ClientProxyConnectionError(key, OSError(111, said)),
        aiohttp.ServerFingerprintMismatch(b"", said.encode(), "h", 1),
        aiohttp.ClientHttpProxyError(info, (), status=407, message=said),
        aiohttp.WSServerHandshakeError(info, (), status=101, message=said),
        aiohttp.ServerDisconnectedError(said),
        aiohttp.InvalidURL(said, said),
        aiohttp.WebSocketError(1002, said),
        OSError(99_999_999, said),
        OSError(said),
        ValueError(said),
        RuntimeError(said),
        None,
    )
    todo: list[type[BaseException]] = [aiohttp.ClientError, aiohttp.http_exceptions.BadHttpMessage]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("vcloud."):
            continue  # its words are our own
        with contextlib.suppress(TypeError):
            yield kind(said)
        with contextlib.suppress(TypeError):
            yield kind(info, (), message=said)  # type: ignore[call-arg]


def test_no_fault_is_reported_in_a_librarys_words() -> None:
    errors = list(every_error())
    assert len(errors) > 40
    for error in errors:
        words = describe_failure(error)
        assert words
        assert CANARY not in words.lower()
