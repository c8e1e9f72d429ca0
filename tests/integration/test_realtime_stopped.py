"""WebSockets of a process or a loop that stood still: what arrived meanwhile counts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.each_loop import LOOPS
from tests.integration.realtime_plane import Handler, Plane
from tests.integration.realtime_server import Script, Server, client, serving, settled
from vcloud import RetryPolicy, VCloud
from vcloud.emulator import Emulator
from vcloud.providers.streamspace.agent import connection

ROOT = Path(__file__).parents[2]
ID = "770e8400-e29b-41d4-a716-446655440002"
on_each = pytest.mark.parametrize("loop", LOOPS)


def run(loop: str, scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario)


@contextmanager
def in_a_thread(script: Script, *, autoping: bool = True) -> Iterator[Server]:
    """A server that keeps running while the test's loop is blocked."""
    ready, over = threading.Event(), threading.Event()
    served: list[Server] = []

    async def main() -> None:
        async with serving(script, autoping=autoping) as server:
            served.append(server)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield served[0]
    finally:
        over.set()
        thread.join()


@on_each
def test_a_peer_whose_answer_has_arrived_is_not_given_up(loop: str) -> None:
    pings = 0

    async def answering(request: web.Request, socket: web.WebSocketResponse) -> None:
        nonlocal pings
        async for message in socket:
            if message.type is web.WSMsgType.PING:
                pings += 1
                # So that it is answered while the client's loop is blocked.
                await asyncio.sleep(0.1)
                await socket.pong(message.data)
            else:
                await socket.send_bytes(message.data)

    async def scenario(server: Server) -> None:
        async with client(server, heartbeat=0.3) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                for _ in range(3):
                    before = pings
                    await settled(lambda before=before: pings > before)  # type: ignore[misc]
                    # Many times what a ping may wait for its answer.
                    time.sleep(0.7)  # noqa: ASYNC251 - the loop is to be blocked
                    await asyncio.sleep(0)
                await tunnel.write(b"alive")
                assert await tunnel.read() == b"alive"

    with in_a_thread(answering, autoping=False) as server:
        run(loop, scenario(server))


@on_each
def test_an_answered_registration_counts_although_the_loop_was_blocked(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REGISTER_TIMEOUT", 0.2)
    plane = Plane()
    introduced = threading.Event()

    async def script(request: web.Request, socket: web.WebSocketResponse) -> None:
        introduced.set()
        await plane.script(request, socket)

    async def scenario(server: Server) -> None:
        async with client(server) as streamspace:
            agent = streamspace.serve_agent(
                "agent-1", platform="docker", handler=Handler(), retry=RetryPolicy(base=0.001)
            )
            running = asyncio.create_task(agent.run())
            await settled(introduced.is_set)
            time.sleep(0.5)  # noqa: ASYNC251 - the loop is to be blocked
            await agent.wait_registered()
            agent.stop()
            await running
            assert agent.errors == ()

    with in_a_thread(script) as server:
        run(loop, scenario(server))
    assert plane.registrations == 1


@on_each
def test_a_tunnel_that_is_finished_loses_nothing_though_the_loop_was_blocked(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vcloud._core.websocket.socket.STALL_TIMEOUT", 1.0)
    received: list[int] = []
    reads = threading.Event()

    async def slow(request: web.Request, socket: web.WebSocketResponse) -> None:
        assert request.transport is not None
        request.transport.pause_reading()
        await asyncio.to_thread(reads.wait)
        request.transport.resume_reading()
        total = 0
        async for message in socket:
            total += len(message.data)
        received.append(total)

    async def scenario(server: Server) -> None:
        async with client(server) as streamspace:
            tunnel = await streamspace.sessions.ref(ID).open_vnc().aopen()
            size = 0
            # Until the buffers of both systems are full.
            while not tunnel.unsent:
                await tunnel.write(bytes(8192))
                size += 8192
                if tunnel.unsent:
                    await asyncio.sleep(0.05)
            finishing = asyncio.create_task(tunnel.finish())
            await asyncio.sleep(0.05)
            # Soon after the loop goes on; it was blocked for longer than the peer may take nothing.
            asyncio.get_running_loop().call_soon(
                asyncio.get_running_loop().call_later, 0.1, reads.set
            )
            time.sleep(1.5)  # noqa: ASYNC251 - the loop is to be blocked
            await finishing
            await settled(lambda: bool(received))
            assert received == [size]

    with in_a_thread(slow) as server:
        run(loop, scenario(server))


PROGRAM = """
    import asyncio, sys
    from attrs import evolve
    from tests.integration.realtime_plane import Handler
    from vcloud import BearerAuth, Endpoint, VCloud

    async def main(url, user, password, session):
        endpoint = Endpoint(url, auth=BearerAuth.login(user, password), heartbeat=0.2)
        async with VCloud(streamspace=endpoint) as cloud:
            space = cloud.streamspace
            ref = space.sessions.ref(session)
            agent = space.serve_agent("host-77", platform="docker", handler=Handler())
            async with agent, ref.open_vnc() as tunnel, ref.logs(follow=True, tail=1) as lines:
                assert await tunnel.read() == b"RFB 003.008\\n"
                await anext(lines)
                line = asyncio.create_task(anext(lines))
                # Until pings are under way.
                await asyncio.sleep(0.3)
                print("ready", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                await tunnel.write(b"RFB 003.008\\n")
                assert await tunnel.read()
                assert agent.registered and agent.errors == (), agent.errors
                assert not line.done() or line.result()
                line.cancel()
        print("went on", flush=True)

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows stops no process")
def test_tunnels_logs_and_agents_go_on_after_the_process_was_stopped(tmp_path: Path) -> None:
    with Emulator(rate_limits=False) as emulator:
        endpoint = emulator.endpoints()["streamspace"]

        async def running() -> str:
            async with VCloud(streamspace=endpoint) as cloud:
                session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
                await session.wait_until("running", poll=0.01)
                return session.id

        session = asyncio.run(running())
        program = tmp_path / "program.py"
        program.write_text(textwrap.dedent(PROGRAM))
        with subprocess.Popen(
            [
                sys.executable,
                program,
                str(endpoint.base_url),
                emulator.env()["VCLOUD_STREAMSPACE_USERNAME"],
                emulator.env()["VCLOUD_STREAMSPACE_PASSWORD"],
                session,
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            if process.stdout.readline() == "ready\n":
                process.send_signal(signal.SIGSTOP)
                time.sleep(1.0)
                process.send_signal(signal.SIGCONT)
            said, trouble = process.communicate("go on\n")
    assert said == "went on\n", trouble
