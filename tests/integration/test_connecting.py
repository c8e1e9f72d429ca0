"""Time limits for connecting: the error says that nothing was sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import aiohttp
import attrs
import pytest
import uvloop

from tests.integration.silent_peers import Resolver, silence
from tests.secrets.tls import client_context, server_context
from tests.unit.streamspace_samples import ID
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    ConnectError,
    ConnectTimeout,
    Endpoint,
    RequestTimeout,
    RetryPolicy,
    StreamSpace,
    VCloud,
)
from vcloud.emulator import Emulator, Fault

T = TypeVar("T")
DESKTOP = b'{"id":"d","status":"running","stream_url":null}'
ONCE = RetryPolicy(attempts=1)
#: The options with the shortest time limit, and what the error calls it.
BOUNDS: dict[str, tuple[dict[str, Any], str]] = {
    "connect_timeout": ({"connect_timeout": 0.2, "timeout": 60}, "connect_timeout of the Endpoint"),
    "timeout": ({"connect_timeout": 60, "timeout": 0.2}, "the time left for the attempt"),
    "deadline": ({"connect_timeout": 60, "deadline": 0.2}, "the time left for the attempt"),
}


async def assert_never_sent(what: str, bound: str, *, own: bool) -> None:
    limits, called = BOUNDS[bound]
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        silence(what) as (url, options, words),
    ):
        endpoint = Endpoint(url, auth=APIKeyAuth("key"), retry=ONCE, **options, **limits)
        async with VCloud(desktops=endpoint, client_session=session) as cloud:
            with pytest.raises(ConnectTimeout) as caught:
                await cloud.desktops.launch()
    assert isinstance(caught.value, ConnectError)
    assert isinstance(caught.value, RequestTimeout)
    assert not caught.value.outcome_unknown
    said = str(caught.value)
    assert words in said or (not own and "no connection to slow.example:1 was made" in said)
    assert said.endswith(f" s, {called}; nothing was sent")


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("what", ["a name", "a SYN", "TLS", "a proxy"])
async def test_silence_before_the_request_is_a_connect_timeout(
    what: str, bound: str, own: bool, resolver: Resolver
) -> None:
    try:
        await assert_never_sent(what, bound, own=own)
    finally:
        # A given session resolves names in the loop's threads, for which the loop waits at its end.
        resolver.answers.set()


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("what", ["a name", "a SYN", "TLS"])
def test_silence_before_the_request_is_a_connect_timeout_on_uvloop(what: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(assert_never_sent(what, "connect_timeout", own=True))


@pytest.mark.usefixtures("resolver", "aiohttp_parts")
@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bound", BOUNDS)
async def test_an_upgrade_without_a_connection_is_a_connect_timeout_too(
    bound: str, own: bool
) -> None:
    limits, _ = BOUNDS[bound]
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        silence("a SYN") as (url, _, words),
    ):
        endpoint = Endpoint(f"{url}/api/v1", auth=BearerAuth("t"), retry=ONCE, **limits)
        async with StreamSpace(
            endpoint, dialect="documented", client_session=session
        ) as streamspace:
            with pytest.raises(ConnectTimeout, match=words):
                await streamspace.sessions.ref(ID).open_vnc().aopen()


async def test_a_full_pool_of_the_user_may_be_waited_for_until_the_attempt_times_out() -> None:
    with Emulator() as emulator:
        emulator.faults.add("GET /v1/desktop/*", Fault.delay(0.4))
        endpoint = attrs.evolve(emulator.endpoints()["desktops"], connect_timeout=0.1)
        connector = aiohttp.TCPConnector(limit=1)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            VCloud(desktops=endpoint, client_session=session) as cloud,
        ):
            both = (cloud.desktops.get(ID) for _ in range(2))
            ends = await asyncio.gather(*both, return_exceptions=True)
    assert not any(isinstance(end, ConnectError) for end in ends), ends


class Handshake:
    """A TLS server for one connection, in a thread, which answers each handshake message at once.

    Attributes:
        greeted: set when the client has started the handshake.
        go: to be set by the test, before which it does not answer.
        answered: set when the client has all that it needs to send its request.
        asked: the requests.
    """

    def __init__(self) -> None:
        self.greeted, self.go, self.answered = (threading.Event() for _ in range(3))
        self.asked: list[bytes] = []
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = server_context("127.0.0.1").wrap_bio(
            self._incoming, self._outgoing, server_side=True
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with self._listener.accept()[0] as plain:
            self._incoming.write(plain.recv(65536))
            self.greeted.set()
            assert self.go.wait(60)
            self._step(plain, self._tls.do_handshake)
            self.asked.append(self._step(plain, self._tls.read))
            self._tls.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DESKTOP), DESKTOP)
            )
            plain.sendall(self._outgoing.read())
            plain.recv(1)

    def _step(self, plain: socket.socket, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if said := self._outgoing.read():
                    plain.sendall(said)
                    self.answered.set()
                self._incoming.write(plain.recv(65536))


def test_a_handshake_that_was_answered_while_the_loop_was_blocked_goes_on() -> None:
    async def main(server: Handshake) -> str:
        endpoint = Endpoint(
            f"https://127.0.0.1:{server.port}",
            auth=APIKeyAuth("key"),
            ssl=client_context(),
            retry=ONCE,
            connect_timeout=1,
            timeout=60,
        )
        async with VCloud(desktops=endpoint) as cloud:
            asking = asyncio.create_task(cloud.desktops.get(ID))
            while not server.greeted.is_set():  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.001)
            # As code that blocks the loop.
            server.go.set()
            assert server.answered.wait(30)
            time.sleep(1.2)  # noqa: ASYNC251
            return (await asking).id

    with Handshake() as server:
        assert asyncio.run(main(server)) == "d"
        assert len(server.asked) == 1
