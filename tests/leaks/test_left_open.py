"""Followed logs, tunnels and forwards without references close, with a warning."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from tests.integration.each_loop import on_each_loop
from tests.integration.realtime_server import client, others, serving, settled
from vcloud._core.client import session_of
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import SessionRef, StreamSpace, VNCForward

ROOT = Path(__file__).parents[2]
ID = "770e8400-e29b-41d4-a716-446655440002"


@define
class Peer:
    """A service that sends one message and counts its connections."""

    connected: int = 0
    over: int = 0
    more: asyncio.Event = field(factory=asyncio.Event)

    async def script(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.connected += 1
        try:
            await socket.send_bytes(b"RFB 003.008\n")
            await socket.receive()
        finally:
            self.over += 1


@asynccontextmanager
async def stage(*, tls: bool) -> AsyncIterator[tuple[Peer, StreamSpace]]:
    peer = Peer()
    async with serving(peer.script, tls=tls) as server, client(server) as streamspace:
        yield peer, streamspace


async def follower(session: SessionRef) -> Any:
    lines = session.logs(follow=True)
    assert await anext(lines) == "RFB 003.008"
    return lines


async def tunnel(session: SessionRef) -> Any:
    tunnel = await session.open_vnc().aopen()
    assert await tunnel.read()
    return tunnel


async def forward(session: SessionRef) -> Any:
    return await session.forward_vnc().__aenter__()


async def forward_with_viewer(session: SessionRef) -> Any:
    forward = await session.forward_vnc().__aenter__()
    reader, writer = await asyncio.open_connection(forward.host, forward.port)
    assert await reader.readexactly(12)
    VIEWERS.append((reader, writer))
    return forward


async def forward_whose_hook_knows_it(session: SessionRef) -> Any:
    owner = Owner()
    owner.forward = await session.forward_vnc(on_error=owner.failed).__aenter__()
    return owner


class Owner:
    forward: VNCForward

    def failed(self, error: Exception) -> None:
        raise AssertionError(error)


VIEWERS: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
KINDS: list[Callable[[SessionRef], Awaitable[Any]]] = [
    follower,
    tunnel,
    forward,
    forward_with_viewer,
    forward_whose_hook_knows_it,
]


async def drop(open_one: Callable[[SessionRef], Awaitable[Any]], session: SessionRef) -> None:
    await open_one(session)


async def drop_by_an_error(
    open_one: Callable[[SessionRef], Awaitable[Any]], session: SessionRef
) -> None:
    async def fails() -> None:
        held = await open_one(session)
        raise ZeroDivisionError(id(held))

    with pytest.raises(ZeroDivisionError):
        await fails()


async def drop_in_a_cycle(
    open_one: Callable[[SessionRef], Awaitable[Any]], session: SessionRef
) -> None:
    cycle: list[Any] = [await open_one(session)]
    cycle.append(cycle)


async def drop_in_another_thread(
    open_one: Callable[[SessionRef], Awaitable[Any]], session: SessionRef
) -> None:
    held = [await open_one(session)]
    await asyncio.to_thread(held.clear)


async def drop_by_a_cancellation(
    open_one: Callable[[SessionRef], Awaitable[Any]], session: SessionRef
) -> None:
    opened = asyncio.Event()

    async def waits() -> None:
        held = [await open_one(session)]
        opened.set()
        await asyncio.Event().wait()
        del held

    task = asyncio.create_task(waits())
    await opened.wait()
    task.cancel()
    await asyncio.wait({task})


WAYS = [drop_by_an_error, drop_in_a_cycle, drop_in_another_thread, drop_by_a_cancellation]
each_kind = pytest.mark.parametrize("open_one", KINDS, ids=lambda kind: kind.__name__)


@each_kind
@on_each_loop
async def test_without_references_it_closes_and_a_warning_names_the_line(
    tls: bool, open_one: Any
) -> None:
    await check_that_it_closes(open_one, drop, tls=tls)


@pytest.mark.parametrize(
    "open_one",
    [
        follower,
        tunnel,
        forward,
        *[pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[3:]],
    ],
    ids=lambda kind: kind.__name__,
)
@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_it_closes_however_the_last_reference_is_dropped(open_one: Any, leave: Any) -> None:
    await check_that_it_closes(open_one, leave, tls=False)


async def check_that_it_closes(open_one: Any, leave: Any, *, tls: bool) -> None:
    async with stage(tls=tls) as (peer, streamspace):
        before = others()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await leave(open_one, streamspace.sessions.ref(ID))
            await asyncio.sleep(0)
            gc.collect()
            await settled(lambda: not session_of(streamspace).opened)
            await settled(lambda: peer.over == peer.connected)
            for reader, writer in VIEWERS:
                assert not await reader.read()
                writer.close()
                await writer.wait_closed()
            VIEWERS.clear()
            await settled(lambda: others() <= before)
            gc.collect()
        tunnels = open_one not in (forward, forward_whose_hook_knows_it)
        assert (peer.connected, peer.over) == (tunnels, tunnels)
        (warning,) = [one for one in caught if one.category is ResourceWarning]
        lines, first = inspect.getsourcelines(open_one)
        assert warning.filename == __file__
        assert first < warning.lineno < first + len(lines)
        place = f"{__file__}:{warning.lineno}"
        assert f"{place} was garbage-collected while open" in str(warning.message)


@on_each_loop
async def test_it_stays_open_while_there_is_a_reference(tls: bool) -> None:
    async with stage(tls=tls) as (peer, streamspace):
        session = streamspace.sessions.ref(ID)
        # The log has one reference, in the task that waits for a line.
        waiting = [asyncio.create_task(_iterate(session))]
        held = [await tunnel(session)]
        async with session.forward_vnc() as forwarding:
            port = forwarding.port
            del forwarding
            gc.collect()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readexactly(12)
            gc.collect()
            await asyncio.sleep(0.05)
            assert (peer.connected, peer.over) == (3, 0)
            writer.close()
            await writer.wait_closed()
        with pytest.warns(ResourceWarning, match="a log that was opened at"):
            await ended(waiting)
        await settled(lambda: peer.over == 2)
        await held.pop().aclose()


async def ended(tasks: list[asyncio.Task[None]]) -> None:
    tasks[0].cancel()
    await asyncio.wait(tasks)
    # A task holds its exception, whose frames hold the log.
    tasks.clear()
    await asyncio.sleep(0)
    gc.collect()


async def _iterate(session: SessionRef) -> None:
    async for _ in session.logs(follow=True):
        pass


async def test_there_is_no_warning_for_what_was_closed() -> None:
    async with stage(tls=False) as (peer, streamspace):
        session = streamspace.sessions.ref(ID)
        for opened in (await follower(session), await tunnel(session), await forward(session)):
            await opened.aclose()
        async with session.logs(follow=True) as lines, session.open_vnc():
            await anext(lines)
        left = [await follower(session), await tunnel(session), await forward(session)]
        await streamspace.aclose()
        left.clear()
        gc.collect()
        await settled(lambda: peer.over == peer.connected)


PROGRAM = """
    import asyncio, sys
    from vcloud import VCloud

    kept = []

    async def use(space):
        session = await space.sessions.create(user="admin", template="firefox-browser")
        session = await session.wait_until("running", poll=0.05)
        lines = session.logs(follow=True, tail=1)
        await anext(lines)
        tunnel = await session.open_vnc().aopen()
        await tunnel.read()
        return lines, tunnel, await session.forward_vnc().__aenter__()

    async def main(how):
        cloud = await VCloud.from_env().aopen()
        opened = await use(cloud.streamspace)
        if "kept" in how:
            kept.append(opened)
        if "left" in how:
            opened = None
        if "closed" in how:
            await cloud.aclose()

    asyncio.run(main(sys.argv[1]))
"""


def said_at_the_end(how: str, tmp_path: Path) -> list[str]:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    with Emulator(rate_limits=False, speed=100) as emulator:
        done = subprocess.run(
            [sys.executable, "-Wdefault", program, how],
            env={**os.environ, **emulator.env(), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if not line.startswith("  ")]


@pytest.mark.parametrize(
    ("how", "warned"),
    [
        ("kept and closed", 0),
        pytest.param("closed", 0, marks=pytest.mark.long),
        ("left, then closed", 3),
    ],
)
def test_the_end_of_a_program_is_quiet(how: str, warned: int, tmp_path: Path) -> None:
    said = said_at_the_end(how, tmp_path)
    assert len(said) == warned, said
    assert all("program.py" in line and "ResourceWarning" in line for line in said)


@pytest.mark.parametrize("how", ["kept", "left"])
def test_without_closing_the_client_nothing_of_ours_is_destroyed(how: str, tmp_path: Path) -> None:
    """aiohttp and asyncio still warn of their own unclosed parts."""
    said = "\n".join(said_at_the_end(how, tmp_path))
    assert "Task was destroyed" not in said
    assert "Exception ignored" not in said
    assert "Traceback" not in said
