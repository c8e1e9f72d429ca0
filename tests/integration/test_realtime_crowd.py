"""Many viewers at once: no rate limit counts upgrades, and an agent's sockets need no slot."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web

from tests.integration.realtime_plane import ready
from tests.integration.realtime_server import TOKEN, serving, settled
from vcloud import BearerAuth, Endpoint, RateLimit, RateLimitError, RetryPolicy
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streamspace import SessionRef, StreamSpace

ID = "770e8400-e29b-41d4-a716-446655440002"
GREETING = b"RFB 003.008\n"


async def vnc_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(GREETING)
    await reader.read()
    writer.close()


async def running(client: StreamSpace) -> SessionRef:
    session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
    return await session.wait_until("running", poll=0.01)


async def greeted(session: SessionRef, count: int) -> None:
    """Open so many tunnels at once, hear the VNC server in each, and only then close them."""
    tunnels = [session.open_vnc() for _ in range(count)]

    async def hear(number: int) -> bytes:
        await tunnels[number].aopen()
        return await tunnels[number].read()

    try:
        heard = await asyncio.gather(*[hear(number) for number in range(count)])
        assert heard == [GREETING] * count
    finally:
        await asyncio.gather(*[tunnel.aclose() for tunnel in tunnels])


def upgrades(emulator: Emulator) -> list[int | None]:
    return [call.status for call in emulator.calls if "/vnc" in call.path]


@pytest.mark.parametrize("shared", [False, True], ids=["a client each", "one client for both"])
async def test_two_hundred_viewers_of_one_agent_are_all_greeted_at_the_first_try(
    shared: bool,
) -> None:
    server = await asyncio.start_server(vnc_server, "127.0.0.1", 0, backlog=500)
    handler = ready()
    handler.address = ("127.0.0.1", server.sockets[0].getsockname()[1])
    # A minute never passes here: what drew on the budget of 100 would be refused, or wait forever.
    async with server, Emulator(clock=Clock.stopped()) as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        async with StreamSpace(endpoint) as viewer, StreamSpace(endpoint) as other:
            agent = viewer if shared else other
            async with agent.serve_agent("a", platform="docker", handler=handler) as worker:
                session = await running(viewer)
                await greeted(session, 200)
                assert worker.errors == ()
        # Each viewer's, and each of the agent's for it; a call is noted when it is over.
        await settled(lambda: len(upgrades(emulator)) == 400)
        assert set(upgrades(emulator)) == {101}
        await settled(lambda: not any("vnc_server" in repr(task) for task in asyncio.all_tasks()))


async def test_an_agent_s_sockets_do_not_wait_for_the_viewers_that_wait_for_them() -> None:
    server = await asyncio.start_server(vnc_server, "127.0.0.1", 0)
    handler = ready()
    handler.address = ("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, Emulator() as emulator:
        auth = BearerAuth.login("admin", emulator.env()["VCLOUD_STREAMSPACE_PASSWORD"])
        url = emulator.env()["VCLOUD_STREAMSPACE_URL"]
        async with StreamSpace(Endpoint(url, auth=auth, concurrency=2)) as client:
            async with client.serve_agent("a", platform="docker", handler=handler):
                await greeted(await running(client), 12)
        await settled(lambda: not any("vnc_server" in repr(task) for task in asyncio.all_tasks()))


async def test_no_more_sockets_are_opened_at_once_than_may_be_in_flight() -> None:
    now = most = 0
    go_on = asyncio.Event()

    async def hold(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(GREETING)
        await socket.receive()

    async def before(request: web.Request) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await go_on.wait()
        now -= 1

    async with serving(hold, before=before) as server:
        endpoint = Endpoint(f"{server.url}/api/v1", auth=BearerAuth(TOKEN), concurrency=3)
        async with StreamSpace(endpoint, dialect="documented") as client:
            opening = asyncio.create_task(greeted(client.sessions.ref(ID), 10))
            await settled(lambda: now == 3)
            go_on.set()
            await opening
        assert most == 3


FAR = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0"}


def far() -> dict[str, str]:
    return FAR | {"X-RateLimit-Reset": str(int(time.time()) + 3600)}


def limited(url: str, **more: Any) -> StreamSpace:
    retry = RetryPolicy(attempts=2, base=0.001, cap=0.01, max_retry_after=1)
    return StreamSpace(
        Endpoint(f"{url}/api/v1", auth=BearerAuth(TOKEN), retry=retry, **more), dialect="documented"
    )


async def one_greeting(request: web.Request, socket: web.WebSocketResponse) -> None:
    await socket.send_bytes(GREETING)
    await socket.receive()


async def test_upgrades_neither_wait_for_the_rest_budget_nor_count_towards_it() -> None:
    def rest(request: web.Request) -> web.Response | None:
        if request.path == "/api/v1/auth/login":
            return web.json_response({"token": TOKEN, "expires_at": None})
        if request.path == "/api/v1/auth/logout":
            return web.json_response({"message": "ok"}, headers=far())
        return None

    async with serving(one_greeting, rest) as server:
        limits = [RateLimit(1, per=3600)]
        async with limited(server.url, rate_limits=limits) as client:
            await greeted(client.sessions.ref(ID), 3)
            await client.logout()
        async with limited(server.url) as client:
            await client.logout()
            await client.login("admin", "password")
            with pytest.raises(RateLimitError):
                await client.agents.stats()
            await greeted(client.sessions.ref(ID), 3)


async def test_the_rest_budget_in_a_refused_upgrade_does_not_delay_other_upgrades() -> None:
    answers = iter([web.json_response({"code": "SESSION_NOT_FOUND"}, status=404, headers=far())])
    async with serving(one_greeting, lambda request: next(answers, None)) as server:
        async with limited(server.url) as client:
            with pytest.raises(Exception, match="404"):
                await client.sessions.ref(ID).open_vnc().aopen()
            await greeted(client.sessions.ref(ID), 2)


async def test_a_service_that_does_limit_upgrades_is_obeyed() -> None:
    def refuse(request: web.Request) -> web.Response | None:
        if len(server.requests) > 1:
            return None
        body = {"code": "RATE_LIMIT_EXCEEDED", "retry_after": 3600}
        return web.json_response(body, status=429, headers=far())

    async with serving(one_greeting, refuse) as server:
        async with limited(server.url) as client:
            for _ in range(2):
                with pytest.raises(RateLimitError):
                    await client.sessions.ref(ID).open_vnc().aopen()
            assert len(server.requests) == 1


async def test_followed_logs_draw_on_no_budget_at_the_emulator_either() -> None:
    async with Emulator(clock=Clock.stopped()) as emulator:
        session = emulator.streamspace.add_session().id
        async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
            for _ in range(120):
                async with client.sessions.ref(session).logs(follow=True) as lines:
                    assert await anext(lines)
        followed = [call for call in emulator.calls if call.path.endswith("/logs")]
        assert {call.status for call in followed} == {101}
