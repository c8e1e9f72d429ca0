"""Followed logs over real sockets, against a server that the test scripts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from tests.integration.realtime_server import (
    AUTH,
    client,
    echo,
    refusal,
    serving,
)
from vcloud import (
    LimitExceededError,
    NotFoundError,
    TransportError,
)

ID = "770e8400-e29b-41d4-a716-446655440002"


async def test_logs_are_followed_to_the_end_of_the_session() -> None:
    async def lines(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("a\nb\n")
        await socket.send_str("c")

    async with serving(lines) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(
            follow=True, tail=2, timestamps=False
        ) as following:
            assert [line async for line in following] == ["a", "b", "c"]
        (request,) = server.requests
        assert dict(request.query) == {"tail": "2", "follow": "true", "timestamps": "false"}
        assert (request.path, request.headers["Authorization"]) == (
            f"/api/v1/sessions/{ID}/logs",
            AUTH,
        )


@pytest.mark.parametrize("tail", [1, 3, 100])
async def test_after_a_drop_no_line_is_lost_or_returned_twice(tail: int) -> None:
    log = [f"2025-11-22T10:45:{number:02d}Z line" for number in range(60)]
    written = 10

    async def dropping(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal written
        for line in log[max(0, written - int(request.query["tail"])) : written]:
            await socket.send_str(line)
        for _ in range(5):
            if written < len(log):
                await socket.send_str(log[written])
                written += 1
        if written < len(log):
            # Some more are written while nobody is connected.
            written += 3
            await socket.close(code=1012)

    async with serving(dropping) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=tail) as following:
            assert [line async for line in following] == log[max(0, 10 - tail) :]
        assert len(server.requests) > 3


async def test_repeated_lines_are_recognised_however_long_the_service_pauses_among_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vcloud.providers.streamspace.realtime.log_stream.QUIET_PERIOD", 0.001)
    log = [f"2026-01-01T00:00:{n // 10:02}.{n % 10}Z line {n}" for n in range(303)]
    connections = 0

    async def pausing(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal connections
        connections += 1
        for number, line in enumerate(log[max(0, 300 - int(request.query["tail"])) : 300]):
            await socket.send_str(line)
            if connections == 2 and number in (0, 50, 299):
                # Many times what silence takes to decide anything.
                await asyncio.sleep(0.05)
        if connections == 1:
            await socket.close(code=1012)
            return
        for line in log[300:]:
            await socket.send_str(line)

    async with serving(pausing) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=250) as following:
            assert [line async for line in following] == log[50:]


async def test_lines_of_a_log_that_started_again_are_returned_after_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vcloud.providers.streamspace.realtime.log_stream.QUIET_PERIOD", 0.005)
    logs = [["old 1", "old 2"], ["new 1", "new 2"]]
    over = asyncio.Event()

    async def restarted(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("\n".join(logs.pop(0)))
        if logs:
            await socket.close(code=1001)
        await over.wait()

    async with serving(restarted) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            assert [await anext(following) for _ in range(4)] == [
                "old 1",
                "old 2",
                "new 1",
                "new 2",
            ]
            over.set()
            assert [line async for line in following] == []


async def test_a_log_that_only_drops_ends_with_an_error_after_the_policy_s_attempts() -> None:
    async def drop(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1011)

    async with serving(drop) as server, client(server, attempts=3) as streamspace:
        following = streamspace.sessions.ref(ID).logs(follow=True)
        with pytest.raises(TransportError, match="1011"):
            await anext(following)
        assert len(server.requests) == 3
        await following.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(following)


async def test_a_log_ends_at_a_message_that_is_too_large_and_does_not_ask_for_it_again() -> None:
    async def huge(request: web.Request, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):
            await socket.send_bytes(bytes(5 * 1024**2))
        await socket.receive()

    async with serving(huge) as server, client(server, attempts=3) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            with pytest.raises(LimitExceededError, match=r"Endpoint\(max_message=") as caught:
                await anext(following)
            assert not caught.value.outcome_unknown
            with pytest.raises(StopAsyncIteration):
                await anext(following)
        assert len(server.requests) == 1


async def test_a_wait_for_a_line_can_be_cancelled_and_repeated() -> None:
    more = asyncio.Event()

    async def slowly(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("first")
        await more.wait()
        await socket.send_str("second")

    async with serving(slowly) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            assert await anext(following) == "first"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(following)
            more.set()
            assert [line async for line in following] == ["second"]
        assert len(server.requests) == 1


async def test_a_log_of_a_session_that_is_not_there_is_a_typed_error() -> None:
    async with (
        serving(echo, lambda request: refusal(404, "SESSION_NOT_FOUND")) as server,
        client(server) as streamspace,
    ):
        with pytest.raises(NotFoundError):
            await anext(streamspace.sessions.ref(ID).logs(follow=True))
