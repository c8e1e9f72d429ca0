"""A loop that is blocked past the timeouts: partial answers, and requests that are not begun."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs
import pytest

from tests.integration.each_loop import LOOPS, on_each_loop
from tests.secrets.tls import client_context, server_context
from vcloud import (
    Endpoint,
    HMACAuth,
    OutcomeStatus,
    RequestTimeout,
    RetryPolicy,
    VagonComputers,
    VCloud,
)
from vcloud.emulator import Emulator, Fault

AUTH: Final = HMACAuth("ak", "sk")
ONCE: Final = RetryPolicy(attempts=1)
BODY: Final = b'{"client_code":200,"message":"OK","machines":[]}' + b" " * 100_000
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)
TIMEOUT, BLOCK = 0.3, 0.4


class Halves:
    """A service that sends the second half of its answer when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.half_sent = asyncio.Event()
        self.rest_wanted = asyncio.Event()
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            writer.write(HEAD + BODY[: len(BODY) // 2])
            await writer.drain()
            self.half_sent.set()
            await self.rest_wanted.wait()
            # More than the turns of an overdue timer take.
            await asyncio.sleep(0.03)
            writer.write(BODY[len(BODY) // 2 :])
            await writer.drain()
            await reader.read()
        writer.transport.abort()
        self.over.set()

    @asynccontextmanager
    async def asked_once(self, *, tls: bool) -> AsyncIterator[asyncio.Task[object]]:
        """A call that has half of its answer, in a loop that was blocked past the timeout."""
        context = server_context("localhost") if tls else None
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=context)
        url = f"http{'s' * tls}://localhost:{server.sockets[0].getsockname()[1]}/v1"
        try:
            async with VagonComputers(
                Endpoint(
                    url,
                    auth=AUTH,
                    timeout=TIMEOUT,
                    retry=ONCE,
                    ssl=client_context() if tls else None,
                )
            ) as client:
                task = asyncio.create_task(client.machines.list().all())
                await self.half_sent.wait()
                await asyncio.sleep(0.02)
                time.sleep(BLOCK)  # noqa: ASYNC251 - what blocks the loop
                yield task
        finally:
            self.rest_wanted.set()
            await self.over.wait()
            server.close()
            await server.wait_closed()


@on_each_loop
async def test_the_rest_of_an_answer_that_is_there_in_part_is_waited_for(*, tls: bool) -> None:
    service = Halves()
    async with service.asked_once(tls=tls) as call:
        service.rest_wanted.set()
        await call
    assert service.asked == 1


@on_each_loop
async def test_the_wait_for_the_rest_of_an_answer_is_bounded(*, tls: bool) -> None:
    service = Halves()
    async with service.asked_once(tls=tls) as call:
        with pytest.raises(RequestTimeout):
            await call


def block_at(turn: int) -> None:
    """Block the loop in so many turns from now, behind what runs in that turn already."""
    loop = asyncio.get_running_loop()
    if turn:
        loop.call_soon(block_at, turn - 1)
    else:
        loop.call_soon(time.sleep, BLOCK)


@asynccontextmanager
async def bought_by(*, tls: bool, **options: Any) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """What buys one machine, whose answer takes its time, and says what became of that."""
    with Emulator(tls=tls) as emulator:
        emulator.faults.add("POST *", Fault.delay(0.15), times=None)
        endpoint = attrs.evolve(emulator.endpoints()["computers"], timeout=TIMEOUT, retry=ONCE)
        async with VCloud(computers=endpoint, **options) as cloud:

            async def buy() -> str:
                machines = await cloud.computers.machines.create(1, region="dublin")
                return f"bought {len(machines)}"

            yield buy
        assert len(emulator.calls) == len(emulator.computers.machines)


@on_each_loop
async def test_a_request_that_leaves_only_after_the_loop_was_blocked_gets_its_whole_time(
    *, tls: bool
) -> None:
    async with bought_by(tls=tls) as buy:
        await buy()
        # The turn in which it begins, and the next ones: before or after it was written, and
        # (uvloop) before what was written leaves.
        for turn in range(3):
            task = asyncio.ensure_future(buy())
            block_at(turn)
            assert await task == "bought 1"


@pytest.mark.parametrize("turn", range(6))
@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_whose_connection_was_made_meanwhile_is_sent(loop: str, turn: int) -> None:
    # Not over TLS: that handshake is not over in the turns of the timer, and nothing is sent.
    async def main() -> None:
        async with bought_by(tls=False) as buy:
            task = asyncio.ensure_future(buy())
            block_at(turn)
            assert await task == "bought 1", turn

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@on_each_loop
@pytest.mark.parametrize("moment", ["on_request_start", "on_connection_create_end"])
async def test_a_request_is_sent_after_a_trace_of_the_users_session_blocked_the_loop(
    moment: str, *, tls: bool
) -> None:
    async def block(*_: object) -> None:
        time.sleep(BLOCK)  # noqa: ASYNC251 - what blocks the loop

    trace = aiohttp.TraceConfig()
    getattr(trace, moment).append(block)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as session,
        bought_by(tls=tls, client_session=session) as buy,
    ):
        assert await buy() == "bought 1"


async def test_an_overdue_bulk_run_begins_nothing_while_it_reads_what_has_arrived() -> None:
    with Emulator(machines=1) as emulator:
        emulator.faults.add("POST *", Fault.delay(0.2), times=None)
        slots = attrs.evolve(emulator.endpoints()["computers"], concurrency=2)
        async with VCloud(computers=slots) as cloud:
            run = cloud.bulk(
                range(6),
                lambda _: cloud.computers.machines.create(1, region="dublin"),
                deadline=TIMEOUT,
            )
            outcomes = []
            async with run:
                outcomes.append(asyncio.ensure_future(anext(run)))
                await asyncio.sleep(0.1)
                time.sleep(BLOCK)  # noqa: ASYNC251 - what blocks the loop
                statuses = [(await outcomes[0]).status] + [one.status async for one in run]
        assert sorted(statuses) == [OutcomeStatus.DONE] * 2 + [OutcomeStatus.UNDONE] * 4
        assert len(emulator.calls) == 2
        assert run.totals.stopped == "deadline"
