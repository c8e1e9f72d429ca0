"""Unsolicited data is never taken for an answer: TCP and TLS, asyncio and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.integration.each_loop import run
from tests.secrets.tls import client_context, server_context
from vcloud import ConnectError, Endpoint, HMACAuth, RetryPolicy, VagonComputers

pytestmark = pytest.mark.usefixtures("aiohttp_parts")

AUTH = HMACAuth("ak", "sk")
#: What a load balancer says when a connection was idle for long.
LATE = b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]


def answer(id: str) -> bytes:
    body = msgspec.json.encode({"id": id, "type": "machine", "attributes": {}, "client_code": 200})
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


class Peer:
    """The service's end of one connection, which can say anything at any time.

    TLS is made in memory, so that data and a close_notify can leave in one segment, and without
    the end of the TCP connection.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext | None,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = None
        if context is not None:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def _retried(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._writer.write(self._outgoing.read())
                data = await self._reader.read(65536)
                if not data:
                    raise ConnectionResetError from None
                self._incoming.write(data)
            finally:
                self._writer.write(self._outgoing.read())

    async def _read(self) -> bytes:
        if self._tls is None:
            return await self._reader.read(65536)
        data: bytes = await self._retried(partial(self._tls.read, 65536))
        return data

    async def begin(self) -> None:
        if self._tls is not None:
            await self._retried(self._tls.do_handshake)

    async def asked(self) -> str:
        """The id of the machine that the next request is for."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = await self._read()
            if not data:
                raise ConnectionResetError
            head += data
        return head.split(b" ")[1].decode().split("/")[-1]

    def say(self, data: bytes, *, end: bool = False) -> None:
        """Send this in one segment, with the end of what this side has to say or without."""
        if self._tls is None:
            self._writer.write(data)
            if end:
                self._writer.write_eof()
            return
        if data:
            self._tls.write(data)
        if end:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
        self._writer.write(self._outgoing.read())

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await self._read():
                pass


class Service:
    """Answers for the machine that was asked for; what the first connection does is the test's."""

    def __init__(self, first: Callable[[Peer], Awaitable[None]], *, tls: bool) -> None:
        self._first = first
        self._context = server_context("127.0.0.1") if tls else None
        self.connections = 0
        self.asked: list[str] = []
        self._open: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        peer = Peer(reader, writer, self._context)
        with contextlib.suppress(ConnectionError):
            await peer.begin()
            if self.connections == 1:
                await self._first(peer)
            else:
                while True:
                    self.asked.append(await peer.asked())
                    peer.say(answer(self.asked[-1]))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def serving(
        self, session: aiohttp.ClientSession | None = None, **options: Any
    ) -> AsyncIterator[VagonComputers]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        scheme = "http" if self._context is None else "https"
        url = (
            f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/organization-management/v1"
        )
        if self._context is not None:
            options["ssl"] = client_context()
        endpoint = Endpoint(url, auth=AUTH, timeout=10, **options)
        try:
            async with VagonComputers(endpoint, client_session=session) as client:
                yield client
        finally:
            server.close()
            await asyncio.wait(self._open, timeout=10)
            await server.wait_closed()


async def one_after_another(computers: VagonComputers) -> list[str]:
    """Ask for three machines; the ids of those that came."""
    return [(await computers.machines.ref(id).refresh()).id for id in ("1", "2", "3")]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[False, True], ids=["TCP", "TLS"])
def tls(request: pytest.FixtureRequest) -> bool:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("unasked", "end"),
    [
        (LATE, False),
        (answer("nobody asked for"), False),
        (b"HTTP/1.1 4", False),
        (b"\r\n", False),
        (LATE, True),
        (b"", True),
    ],
    ids=[
        "a 408",
        "an answer",
        "the beginning of an answer",
        "an empty line",
        "a 408 and the end",
        "a half close",
    ],
)
def test_a_connection_that_spoke_while_it_was_idle_is_closed(
    loop: str, tls: bool, unasked: bytes, end: bool
) -> None:
    async def test() -> None:
        spoken, closed = asyncio.Event(), asyncio.Event()

        async def first(peer: Peer) -> None:
            service.asked.append(await peer.asked())
            peer.say(answer("1"))
            await spoken.wait()
            peer.say(unasked, end=end)
            await peer.gone()
            closed.set()

        service = Service(first, tls=tls)
        async with service.serving() as computers:
            assert (await computers.machines.ref("1").refresh()).id == "1"
            spoken.set()
            await asyncio.wait_for(closed.wait(), 10)
            assert await one_after_another(computers) == ["1", "2", "3"]
        assert (service.asked, service.connections) == (["1", "1", "2", "3"], 2)

    run(loop, test())


@pytest.mark.parametrize(
    ("unasked", "end"),
    [(answer("nobody asked for"), False), (LATE, True)],
    ids=["an answer too many", "a 408 and the end"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_data_right_after_an_answer_is_not_the_next_answer(
    loop: str, tls: bool, unasked: bytes, end: bool, method: str
) -> None:
    run(loop, answered_and(unasked, end=end, method=method, tls=tls))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_close_notify_right_behind_an_answer_loses_no_request(loop: str, method: str) -> None:
    """A transport that shuts TLS down drops what is written."""
    run(loop, answered_and(b"", end=True, method=method, tls=True))


async def answered_and(unasked: bytes, *, end: bool, method: str, tls: bool) -> None:
    """Three calls, one after the other; the segment of the first answer holds more than that."""

    async def first(peer: Peer) -> None:
        service.asked.append(await peer.asked())
        peer.say(answer("1") + unasked, end=end)
        await peer.gone()

    service = Service(first, tls=tls)
    async with service.serving(retry=RetryPolicy(attempts=1)) as computers:
        if method == "GET":
            assert await one_after_another(computers) == ["1", "2", "3"]
        else:
            for id in ("1", "2", "3"):
                await computers.machines.ref(id).start()
    assert (len(service.asked), service.connections) == (3, 2)


async def test_an_answer_before_the_first_request_is_none_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoken = asyncio.Event()
    connect = asyncio.BaseEventLoop.create_connection

    async def slowly(*args: Any, **options: Any) -> Any:
        made = await connect(*args, **options)
        await spoken.wait()
        await asyncio.sleep(0.05)
        return made

    async def first(peer: Peer) -> None:
        peer.say(LATE)
        spoken.set()
        service.asked.append(await peer.asked())

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", slowly)
    service = Service(first, tls=False)
    async with service.serving(retry=RetryPolicy(attempts=1)) as computers:
        with pytest.raises(ConnectError, match="sent data before the request") as caught:
            await computers.machines.ref("1").start()
        assert not caught.value.outcome_unknown
        await computers.machines.ref("2").start()
    assert (len(service.asked), service.connections) == (1, 2)


@pytest.mark.parametrize("unasked", [LATE, answer("nobody asked for")], ids=["a 408", "an answer"])
def test_on_a_session_of_the_users_own_the_connection_is_refused_and_nothing_was_sent(
    loop: str, tls: bool, unasked: bytes
) -> None:
    async def test() -> None:
        spoken = asyncio.Event()

        async def first(peer: Peer) -> None:
            service.asked.append(await peer.asked())
            peer.say(answer("1"))
            await spoken.wait()
            peer.say(unasked)
            with pytest.raises(ConnectionError):
                await peer.asked()

        service = Service(first, tls=tls)
        async with (
            aiohttp.ClientSession() as session,
            service.serving(session, retry=RetryPolicy(attempts=1)) as computers,
        ):
            await computers.machines.ref("1").start()
            spoken.set()
            await asyncio.sleep(0.05)
            with pytest.raises(ConnectError, match="sent data before the request") as caught:
                await computers.machines.ref("2").start()
            assert not caught.value.outcome_unknown
            await computers.machines.ref("3").start()
            await session.close()
        assert (len(service.asked), service.connections) == (2, 2)

    run(loop, test())
