"""Connections that are kept: one that the peer has left carries nothing that must not be repeated,
dead ones are not tried one after another, and none is kept for ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import select
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.emulator import keeping
from tests.emulator.keeping import Service
from tests.secrets.tls import client_context, server_context
from vcloud import ConnectError, Endpoint, RequestTimeout, RetryPolicy, VagonComputers
from vcloud._core import transport
from vcloud._core.aiohttp_compat import Pool, pool
from vcloud._core.clock import SUSPENDED, was_suspended
from vcloud._core.pooled import MAX_AGE, is_stale

both_ways = pytest.mark.usefixtures("aiohttp_parts")
LOOPS: Final = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]
ONCE: Final = RetryPolicy(attempts=1)
QUICK: Final = RetryPolicy(attempts=2, base=0.0)
TIMEOUT: Final = 0.3
EIGHT_HOURS: Final = 8 * 3600.0
LEAVING: Final = [keeping.finish, keeping.end, keeping.half_close, keeping.reset, keeping.speak]


@pytest.fixture(params=[False, True], ids=["TCP", "TLS"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    context = server_context("127.0.0.1") if request.param else None
    with Service(context).serving() as running:
        yield running


@pytest.fixture
def plain() -> Iterator[Service]:
    with Service().serving() as running:
        yield running


def at(service: Service, **options: Any) -> Endpoint:
    """Where it is, with trust in its authority."""
    return service.endpoint(client_context(), **{"retry": ONCE, **options})


def run(loop: str, test: Awaitable[None]) -> None:
    async def main() -> None:
        await test

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


async def warmed(computers: VagonComputers, count: int) -> None:
    """Let so many connections be made, and be idle afterwards."""
    machines = [computers.machines.ref(f"warm{number}") for number in range(count)]
    await asyncio.gather(*(machine.refresh() for machine in machines))


async def start(computers: VagonComputers, id: str, *, body: bool = True) -> None:
    """What must not be repeated, with a body or without."""
    await computers.machines.ref(id).start(region="dublin" if body else None)


@both_ways
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("body", [True, False], ids=["with a body", "without a body"])
def test_what_must_not_be_repeated_is_not_written_where_the_peer_has_left(
    service: Service, loop: str, leave: keeping.Act, body: bool
) -> None:
    async def test() -> None:
        async with VagonComputers(at(service)) as computers:
            await warmed(computers, 3)
            service.each(leave)
            # The loop has not run since. Tasks start one turn later, in which it looks itself.
            await start(computers, "0", body=body)
            await asyncio.gather(*(start(computers, id, body=body) for id in ("1", "2")))

    run(loop, test())
    assert all(len(requests) == 1 for requests in service.requests[:3])
    posts = [request for requests in service.requests[3:] for request in requests]
    assert sorted(posts) == ["POST 0", "POST 1", "POST 2"]


@both_ways
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("leave", [keeping.finish, keeping.end], ids=lambda leave: leave.__name__)
def test_through_a_proxys_tunnel_the_look_is_the_same(loop: str, leave: keeping.Act) -> None:
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
async def test_what_may_be_repeated_is_sent_without_a_look(
    plain: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    poll = select.poll

    def counted() -> select.poll:
        looks.append(1)
        return poll()

    async with VagonComputers(at(plain)) as computers:
        await warmed(computers, 1)
        monkeypatch.setattr(select, "poll", counted)
        await computers.machines.ref("1").refresh()
        assert not looks
        await start(computers, "2")
        assert looks
    assert plain.requests == [["GET warm0", "GET 1", "POST 2"]]


@both_ways
async def test_a_connection_on_which_nothing_lies_is_used_again(service: Service) -> None:
    async with VagonComputers(at(service)) as computers:
        for id in ("1", "2", "3"):
            await start(computers, id)
    assert service.requests == [["POST 1", "POST 2", "POST 3"]]


@contextlib.contextmanager
def high_descriptors() -> Iterator[None]:
    """Let every new descriptor be above what select knows."""
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


async def test_descriptors_above_1024_are_looked_at_too(plain: Service) -> None:
    # The service runs in this process, but not with select in its way: its sockets come first.
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


async def test_without_poll_select_looks_and_what_it_cannot_look_at_is_used(
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


async def test_over_a_unix_socket_the_look_is_the_same() -> None:
    client, peer = socket.socketpair(socket.AF_UNIX)
    _, writer = await asyncio.open_unix_connection(sock=client)
    assert not is_stale(writer.transport, answered=False)
    peer.close()
    assert is_stale(writer.transport, answered=False)
    writer.close()
    await writer.wait_closed()


async def test_tickets_of_tls_1_3_that_lie_unread_are_not_an_end() -> None:
    with Service(server_context("127.0.0.1")).serving() as service:
        port = urlsplit(service.endpoint().base_url or "").port
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
        try:
            tls = writer.transport.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1.3"
            assert not tls.session.has_ticket
            # The loop does not run until the tickets lie there.
            ends = time.monotonic() + keeping.LONG
            while not is_stale(writer.transport, answered=True) and time.monotonic() < ends:
                time.sleep(0.001)  # noqa: ASYNC251 - nor may it
            assert is_stale(writer.transport, answered=True)
            assert not is_stale(writer.transport, answered=False)
            service.each(keeping.end)
            assert is_stale(writer.transport, answered=False)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("leave", LEAVING, ids=lambda leave: leave.__name__)
async def test_on_a_session_of_the_users_own_the_one_connection_is_refused(
    service: Service, leave: keeping.Act
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        VagonComputers(at(service), client_session=session) as computers,
    ):
        await warmed(computers, 2)
        first = await computers.machines.ref("1").refresh()
        assert first.id == "1"
        # aiohttp takes the one that was free first; the last one to answer is at the end.
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
async def test_on_a_session_of_the_users_own_what_was_refused_is_sent_again(
    service: Service, leave: keeping.Act
) -> None:
    async with (
        aiohttp.ClientSession() as session,
        VagonComputers(at(service, retry=QUICK), client_session=session) as computers,
    ):
        await warmed(computers, 1)
        service.each(leave)
        await start(computers, "1")
    assert service.requests == [["GET warm0"], ["POST 1"]]


async def forgotten(
    service: Service, call: Callable[[VagonComputers], Awaitable[object]], **options: Any
) -> None:
    """Call while three connections are kept of which the service knows nothing any more."""
    session = options.pop("session", None)
    async with VagonComputers(at(service, **options), client_session=session) as computers:
        await warmed(computers, 3)
        await call(computers)


@both_ways
async def test_after_a_timeout_the_next_attempt_uses_a_new_connection(service: Service) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in service.conversations:
            one.answers = False
        await computers.machines.ref("1").refresh()

    await forgotten(service, call, retry=QUICK, timeout=TIMEOUT)
    assert max(service.requests[:3], key=len)[1:] == ["GET 1"]
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_after_a_silent_death_the_next_attempt_uses_a_new_connection(
    service: Service,
) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in service.conversations:
            one.drops = True
        await computers.machines.ref("1").refresh()

    await forgotten(service, call, retry=QUICK)
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_after_an_upgrade_without_an_answer_the_next_one_uses_a_new_connection(
    service: Service,
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 3)
        for one in service.conversations:
            one.answers = False
        session = computers._session
        wire = session._wire.within(TIMEOUT)
        with pytest.raises(RequestTimeout):
            await session.transport.websocket(f"{session.base_url}/machines/socket", {}, wire)
        await computers.machines.ref("1").refresh()
    assert sorted(map(len, service.requests)) == [1, 1, 1, 2]
    assert service.requests[3] == ["GET 1"]


@both_ways
async def test_a_pool_forgets_connections_that_are_gone(plain: Service) -> None:
    async with VagonComputers(at(plain, retry=QUICK)) as computers:
        connector = computers._session.transport._begin().connector
        assert isinstance(connector, Pool)
        for _ in range(20):
            await warmed(computers, 1)
            plain.conversations[-1].do(keeping.end)
            await start(computers, "1")
            plain.conversations[-1].do(keeping.reset)
            await until(lambda: all(one.ended.is_set() for one in plain.conversations))
            await asyncio.sleep(0.01)
        gc.collect()
        assert len(connector._pooled._made) <= 1
    assert len(plain.conversations) == 40


async def test_connections_to_another_host_are_kept(plain: Service) -> None:
    with Service().serving() as other:
        async with (
            VagonComputers(at(plain, timeout=TIMEOUT)) as computers,
            VagonComputers(at(other)) as others,
        ):
            # As the facade does it: one pool for all.
            others._session.transport = computers._session.transport
            await warmed(others, 2)
            await warmed(computers, 1)
            plain.conversations[0].answers = False
            with pytest.raises(RequestTimeout):
                await computers.machines.ref("1").refresh()
            await warmed(others, 2)
        assert [len(one) for one in other.requests] == [2, 2]


async def test_on_a_session_of_the_users_own_nothing_is_dropped(plain: Service) -> None:
    async def call(computers: VagonComputers) -> None:
        for one in plain.conversations:
            one.answers = False
        with pytest.raises(RequestTimeout):
            await computers.machines.ref("1").refresh()

    async with aiohttp.ClientSession() as session:
        await forgotten(plain, call, session=session, retry=QUICK, timeout=TIMEOUT)
    assert sorted(map(len, plain.requests)) == [1, 2, 2]


class Clocks:
    """A monotonic clock and the time of day, which only a test moves."""

    def __init__(self) -> None:
        self.passed, self.of_day = 1000.0, 1_700_000_000.0

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds
        self.of_day += seconds


@pytest.fixture
def clocks(aiohttp_parts: str, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks of the pools that are made in this test."""
    made = Clocks()
    making = partial(pool, lambda: made.passed, lambda: made.of_day)
    monkeypatch.setattr(transport, "pool", making)
    return made


async def test_a_connection_is_kept_for_five_minutes_and_no_longer(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 1)
        for id in ("1", "2"):
            clocks.go(MAX_AGE / 2 - 1)
            await computers.machines.ref(id).refresh()
        clocks.go(3)
        await computers.machines.ref("3").refresh()
        assert await asyncio.to_thread(service.conversations[0].ended.wait, keeping.LONG)
        clocks.go(MAX_AGE - 1)
        await start(computers, "4")
        clocks.go(2)
        await start(computers, "5")
    assert service.requests == [["GET warm0", "GET 1", "GET 2"], ["GET 3", "POST 4"], ["POST 5"]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(keeping.LONG):
        while not condition():  # noqa: ASYNC110 - it is another thread's
            await asyncio.sleep(0.001)


async def test_an_old_connection_in_use_is_not_cut_and_closed_when_it_comes_back(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 1)
        [old] = service.conversations
        old.may_answer.clear()
        under_way = asyncio.create_task(start(computers, "long"))
        await until(lambda: len(old.requests) == 2)
        clocks.go(MAX_AGE + 1)
        await start(computers, "1")
        old.may_answer.set()
        await under_way
        assert await asyncio.to_thread(old.ended.wait, keeping.LONG)
        await start(computers, "2")
    assert service.requests == [["GET warm0", "POST long"], ["POST 1", "POST 2"]]


async def test_after_a_suspend_the_idle_ones_are_dropped_and_those_in_use_stay(
    service: Service, clocks: Clocks
) -> None:
    async with VagonComputers(at(service)) as computers:
        await warmed(computers, 3)
        for one in service.conversations:
            one.may_answer.clear()
        under_way = asyncio.create_task(start(computers, "long"))
        await until(lambda: any("POST long" in one.requests for one in service.conversations))
        [held] = [one for one in service.conversations if "POST long" in one.requests]
        idle = [one for one in service.conversations if one is not held]
        # The monotonic clock stands.
        clocks.of_day += EIGHT_HOURS
        await computers.machines.ref("2").refresh()
        held.may_answer.set()
        await under_way
        for one in idle:
            assert await asyncio.to_thread(one.ended.wait, keeping.LONG)
        await asyncio.gather(start(computers, "3"), start(computers, "4"))
    assert len(service.requests) == 4
    assert service.requests[3][0] == "GET 2"
    assert sorted([held.requests[2], service.requests[3][1]]) == ["POST 3", "POST 4"]


async def test_a_wall_clock_that_is_put_back_drops_nothing(plain: Service, clocks: Clocks) -> None:
    async with VagonComputers(at(plain)) as computers:
        await warmed(computers, 1)
        clocks.of_day -= EIGHT_HOURS
        await computers.machines.ref("1").refresh()
        clocks.of_day += SUSPENDED - 1
        await computers.machines.ref("2").refresh()
    assert plain.requests == [["GET warm0", "GET 1", "GET 2"]]


def test_only_a_wall_clock_that_gets_ahead_looks_like_a_suspend() -> None:
    assert was_suspended(0.0, SUSPENDED + 0.001)
    assert not was_suspended(0.0, SUSPENDED)
    assert not was_suspended(EIGHT_HOURS, 0.0)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="it is written at once since Python 3.12")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop")
@pytest.mark.parametrize("own", [True, False], ids=["our session", "a user's session"])
def test_what_ended_between_the_look_and_the_write_was_not_sent(
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
            client = VagonComputers(at(plain, retry=QUICK), client_session=given)
            computers = await stack.enter_async_context(client)
            await warmed(computers, 1)
            monkeypatch.setattr(aiohttp.ClientRequest, "send", ended_meanwhile)
            await start(computers, "1")

    run("uvloop", test())
    assert plain.requests == [["GET warm0"], ["POST 1"]]
