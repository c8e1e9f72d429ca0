"""A kept connection that the peer has closed carries no request that must not be repeated."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.integration import keeping
from tests.integration.each_loop import FORMS, run
from tests.integration.keeping import TWICE, Service, at, start, warmed
from tests.secrets.tls import client_context, server_context
from vcloud import ConnectError, VagonComputers
from vcloud._core.connections.kept_connections import is_stale

both_ways = pytest.mark.usefixtures("aiohttp_parts")
LOOPS: Final = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]
LEAVING: Final = [keeping.finish, keeping.end, keeping.half_close, keeping.reset, keeping.speak]


@both_ways
@pytest.mark.parametrize(("loop", "service"), FORMS, indirect=["service"])
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("body", [True, False], ids=["with a body", "without a body"])
def test_a_start_is_not_written_into_a_connection_that_the_peer_has_closed(
    service: Service, loop: str, leave: keeping.Act, body: bool
) -> None:
    async def test() -> None:
        async with VagonComputers(at(service)) as computers:
            await warmed(computers, 3)
            service.each(leave)
            # The loop has not run since. It reads before tasks start, one turn later.
            await start(computers, "0", body=body)
            await asyncio.gather(*(start(computers, id, body=body) for id in ("1", "2")))

    run(loop, test())
    assert all(len(requests) == 1 for requests in service.requests[:3])
    posts = [request for requests in service.requests[3:] for request in requests]
    assert sorted(posts) == ["POST 0", "POST 1", "POST 2"]


@both_ways
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("leave", [keeping.finish, keeping.end], ids=lambda leave: leave.__name__)
def test_a_connection_through_a_proxys_tunnel_is_checked_too(loop: str, leave: keeping.Act) -> None:
    async def test(service: Service, proxy: keeping.Proxy) -> None:
        async with VagonComputers(at(service, proxy=proxy.url)) as computers:
            await warmed(computers, 1)
            service.each(leave)
            for tunnel in proxy.tunnels:
                tunnel.join(keeping.LONG)
            await start(computers, "1")

    with (
        Service(server_context("127.0.0.1")).serving() as service,
        keeping.Proxy().serving() as proxy,
    ):
        run(loop, test(service, proxy))
    assert service.requests == [["GET warm0"], ["POST 1"]]


@both_ways
async def test_a_request_that_may_be_repeated_is_sent_without_a_check(
    plain: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[int] = []
    poll = select.poll

    def counted() -> select.poll:
        checks.append(1)
        return poll()

    async with VagonComputers(at(plain)) as computers:
        await warmed(computers, 1)
        monkeypatch.setattr(select, "poll", counted)
        await computers.machines.ref("1").refresh()
        assert not checks
        await start(computers, "2")
        assert checks
    assert plain.requests == [["GET warm0", "GET 1", "POST 2"]]


@both_ways
async def test_a_connection_without_unread_data_is_used_again(service: Service) -> None:
    async with VagonComputers(at(service)) as computers:
        for id in ("1", "2", "3"):
            await start(computers, id)
    assert service.requests == [["POST 1", "POST 2", "POST 3"]]


@contextlib.contextmanager
def high_descriptors() -> Iterator[None]:
    """Make every new descriptor higher than select supports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    taken: list[int] = []
    try:
        with contextlib.ExitStack() as stack:
            while not taken or taken[-1] < 1100:
                taken.append(stack.enter_context(socket.socket()).fileno())
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_descriptors_above_1024_are_checked_too(plain: Service) -> None:
    # The service runs in this process and uses select, so its sockets were made before.
    with high_descriptors():
        client, peer = socket.socketpair()
    assert client.fileno() > 1024
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        assert not is_stale(writer.transport, answered=True)
        peer.close()
        assert is_stale(writer.transport, answered=True)
    finally:
        writer.close()
        await writer.wait_closed()
    assert reader.at_eof()


async def test_without_poll_select_checks_and_what_it_does_not_support_is_used(
    plain: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, and under gevent."""
    monkeypatch.delattr(select, "poll")
    async with VagonComputers(at(plain)) as computers:
        await warmed(computers, 1)
        plain.each(keeping.end)
        await start(computers, "1")
    assert plain.requests == [["GET warm0"], ["POST 1"]]
    with high_descriptors():
        client, peer = socket.socketpair()
    peer.close()
    _, writer = await asyncio.open_connection(sock=client)
    assert not is_stale(writer.transport, answered=True)
    writer.close()
    await writer.wait_closed()


async def test_a_connection_over_a_unix_socket_is_checked_too() -> None:
    client, peer = socket.socketpair(socket.AF_UNIX)
    _, writer = await asyncio.open_unix_connection(sock=client)
    assert not is_stale(writer.transport, answered=False)
    peer.close()
    assert is_stale(writer.transport, answered=False)
    writer.close()
    await writer.wait_closed()


async def test_unread_tickets_of_tls_1_3_do_not_make_a_connection_stale() -> None:
    with Service(server_context("127.0.0.1")).serving() as service:
        port = urlsplit(service.endpoint().base_url or "").port
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
        try:
            tls = writer.transport.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1.3"
            assert not tls.session.has_ticket
            # The loop must not run until the tickets have arrived.
            ends = time.monotonic() + keeping.LONG
            while not is_stale(writer.transport, answered=True) and time.monotonic() < ends:
                time.sleep(0.001)  # noqa: ASYNC251 - see above
            assert is_stale(writer.transport, answered=True)
            assert not is_stale(writer.transport, answered=False)
            service.each(keeping.end)
            assert is_stale(writer.transport, answered=False)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_on_a_session_of_the_users_the_stale_connection_alone_is_refused(
    service: Service, leave: keeping.Act
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        VagonComputers(at(service), client_session=session) as computers,
    ):
        await warmed(computers, 2)
        first = await computers.machines.ref("1").refresh()
        assert first.id == "1"
        # aiohttp uses the connection that was idle first; the last one to answer is at the end.
        [taken] = [one for one in service.conversations if len(one.requests) == 1]
        taken.do(leave)
        with pytest.raises(ConnectError, match="closed the kept connection") as caught:
            await start(computers, "2")
        assert not caught.value.outcome_unknown
        await start(computers, "3")
    requests = sorted(service.requests, key=len)
    assert [len(one) for one in requests] == [1, 3]
    assert requests[1][1:] == ["GET 1", "POST 3"]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_on_a_session_of_the_users_a_refused_request_is_sent_again(
    service: Service, leave: keeping.Act
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        VagonComputers(at(service, retry=TWICE), client_session=session) as computers,
    ):
        await warmed(computers, 1)
        service.each(leave)
        await start(computers, "1")
    assert service.requests == [["GET warm0"], ["POST 1"]]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it is written at once since Python 3.12")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
@pytest.mark.parametrize("own", [True, False], ids=["our session", "a user's session"])
def test_a_connection_that_ends_between_check_and_write_carries_nothing(
    plain: Service, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Python 3.11 a body is written in the next turn of the loop; uvloop reads the end first."""
    send = aiohttp.ClientRequest.send

    async def ended_meanwhile(self: aiohttp.ClientRequest, connection: Any) -> Any:
        for one in plain.conversations:
            if one.requests and not one.ended.is_set():
                one.do(keeping.end)
        return await send(self, connection)

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            given = None if own else await stack.enter_async_context(aiohttp.ClientSession())
            client = VagonComputers(at(plain, retry=TWICE), client_session=given)
            computers = await stack.enter_async_context(client)
            await warmed(computers, 1)
            monkeypatch.setattr(aiohttp.ClientRequest, "send", ended_meanwhile)
            await start(computers, "1")

    run("uvloop", test())
    assert plain.requests == [["GET warm0"], ["POST 1"]]
