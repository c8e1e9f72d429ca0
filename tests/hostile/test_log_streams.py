"""Following a log with any content: other tasks run, and memory stays bounded."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.integration.realtime_server import Script, client, serving
from vcloud.providers.streamspace.realtime import log_stream

ID = "770e8400-e29b-41d4-a716-446655440002"
#: Lines after which other tasks must have run; the client allows 2000.
ROW = 3000
#: The lines before the drop. They end so that later lines match only partly.
BEFORE = [*["a"] * 198, "b", "a"]


def dropping_once(then: Script) -> Script:
    """A log whose connection is lost after 200 lines, and what comes on the next one."""
    connections = 0

    async def script(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            await then(request, socket)
            await socket.receive()
            return
        await socket.send_str("\n".join(BEFORE))
        assert request.transport is not None
        request.transport.abort()

    return script


async def turns_of_others(work: Callable[[], object]) -> int:
    """How often another task ran while this was awaited."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    try:
        await work()  # type: ignore[misc]
    finally:
        counting.cancel()
    return turns


async def test_scanning_a_message_for_known_lines_lets_other_tasks_run() -> None:
    lines = 1_000_000

    async def much(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("\n".join(["a"] * lines))

    async with serving(dropping_once(much)) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=200) as following:
            for _ in BEFORE:
                await anext(following)

            async def one() -> None:
                assert await anext(following) == "a"

            assert await turns_of_others(one) > lines / ROW


async def test_returning_the_lines_of_a_message_lets_other_tasks_run() -> None:
    lines = 100_000

    async def much(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("\n" * lines)

    async with serving(much) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            assert await anext(following) == ""

            async def rest() -> None:
                assert [line async for line in following] == [""] * (lines - 1)

            assert await turns_of_others(rest) > lines / ROW


@pytest.mark.parametrize("opcode", [0x89, 0x8A], ids=["ping", "pong"])
async def test_a_flood_of_pings_lets_other_tasks_run(opcode: int) -> None:
    """A hundred thousand of them come with one reading of the socket."""
    pings = 100_000

    async def flood(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.write(bytes([opcode, 0]) * pings)
        await socket.send_str("a")
        await socket.receive()

    async with serving(flood) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:

            async def one() -> None:
                assert await anext(following) == "a"

            assert await turns_of_others(one) > pings / 1500


async def test_long_lines_that_were_returned_are_not_kept() -> None:
    size = 2**20

    async def long_lines(request: web.Request, socket: web.WebSocketResponse) -> None:
        for _ in range(50):
            await socket.send_str("x" * size)

    async with serving(long_lines) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True) as following:
            tracemalloc.start()
            try:
                for _ in range(50):
                    assert len(await anext(following)) == size
                gc.collect()
                assert tracemalloc.get_traced_memory()[0] < 10 * size
            finally:
                tracemalloc.stop()


async def test_lines_held_after_a_drop_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 2**20
    monkeypatch.setattr(log_stream, "MAX_BUFFERED", 4 * size)
    sent = 0

    async def long_lines(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal sent
        while True:
            await socket.send_str("x" * size)
            sent += 1

    async with serving(dropping_once(long_lines)) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=200) as following:
            for _ in BEFORE:
                await anext(following)
            assert len(await anext(following)) == size
            # Held, unread in the client, and under way in buffers: far from the 1200 asked for.
            assert sent < 40


async def test_cancelling_a_wait_while_lines_are_scanned_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_stream, "LINES_PER_TURN", 7)
    new = [f"line {number}" for number in range(100)]

    async def again(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("\n".join([*["a"] * 50, *BEFORE, *new]))
        await socket.close()

    given: list[str] = []
    async with serving(dropping_once(again)) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).logs(follow=True, tail=200) as following:
            for _ in BEFORE:
                await anext(following)
            for steps in range(10_000):
                waiting = asyncio.ensure_future(anext(following))
                for _ in range(1 + steps % 300):
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait({waiting})
                if waiting.cancelled():
                    continue
                if isinstance(waiting.exception(), StopAsyncIteration):
                    break
                given.append(waiting.result())
    assert given == new
