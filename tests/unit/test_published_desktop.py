"""One desktop over an agent's socket, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import define, field

from tests.unit.virtual_time import now, virtual
from vcloud.providers.streamspace.agent.published import vnc_batches, vnc_desktop
from vcloud.providers.streamspace.agent.published.vnc_batches import MAX_MESSAGE, Pace, capacity
from vcloud.providers.streamspace.agent.published.vnc_desktop import Desktop, DesktopError

GREETING = b"RFB 003.008\n"


@define
class Outlet:
    """What was sent, and when."""

    capacity: int = 1000
    sent: list[tuple[float, bytes]] = field(factory=list)
    reasons: list[str] = field(factory=list)

    async def data(self, data: bytes) -> None:
        self.sent.append((now(), data))

    async def error(self, reason: str) -> None:
        self.reasons.append(reason)

    @property
    def bytes(self) -> bytes:
        return b"".join(data for _, data in self.sent)

    def empties(self) -> list[float]:
        return [at for at, data in self.sent if not data]


@define
class Running:
    """A desktop that runs, and the ends of its connections."""

    desktop: Desktop
    outlet: Outlet
    errors: list[Exception]
    peers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    up: bool = True


@asynccontextmanager
async def running(folder: Path, *, lasting: bool = True, up: bool = True) -> AsyncIterator[Running]:
    outlet, errors = Outlet(), list[Exception]()
    peers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append((reader, writer))
        writer.write(GREETING)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not found.up:
            raise DesktopError("it is down", OSError("down"))
        return await asyncio.open_unix_connection(folder / "vnc")

    async with await asyncio.start_unix_server(greet, folder / "vnc"):
        desktop = Desktop(connect, outlet, errors.append, lasting=lasting)
        found = Running(desktop, outlet, errors, peers, up)
        task = asyncio.create_task(desktop.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait({task})
            for _, writer in peers:
                writer.transport.abort()
            await asyncio.sleep(0.01)


@virtual
async def test_its_greeting_is_sent_before_any_viewer_comes(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(60)
        assert one.outlet.bytes == GREETING
        assert one.outlet.empties() == []


@virtual
async def test_what_a_former_viewer_sends_does_not_reach_it(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.receive(b"\x05\x00a pointer event")
        one.desktop.receive(GREETING)
        one.desktop.receive(b"\x01")
        assert await one.peers[0][0].readexactly(13) == GREETING + b"\x01"


@virtual
async def test_two_empty_messages_in_each_silence_of_a_desktop_in_use(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.receive(GREETING)
        began = now()
        await asyncio.sleep(100)
        assert [at - began for at in one.outlet.empties()] == pytest.approx([5, 6], abs=0.5)
        one.peers[0][1].write(b"an update")
        await asyncio.sleep(0.1)
        began = now()
        await asyncio.sleep(100)
        assert [at - began for at in one.outlet.empties()][2:] == pytest.approx([5, 6], abs=0.5)


@virtual
async def test_it_is_connected_anew_when_its_viewer_left(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.receive(GREETING)
        one.desktop.viewer_left()
        await asyncio.sleep(0.1)
        assert len(one.peers) == 2
        assert one.outlet.bytes == GREETING * 2
        assert not one.desktop.in_use


@virtual
async def test_what_crosses_a_greeting_does_not_repeat_it(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.viewer_waits()
        one.desktop.receive(GREETING)
        await asyncio.sleep(5)
        assert len(one.peers) == 1


@virtual
async def test_a_viewer_that_waits_gets_another_greeting(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(2)
        one.desktop.viewer_waits()
        await asyncio.sleep(2)
        assert [data for _, data in one.outlet.sent] == [GREETING, b"", b"", GREETING]
        assert len(one.peers) == 2


@virtual
async def test_a_desktop_that_is_not_up_yet_is_no_error(tmp_path: Path) -> None:
    async with running(tmp_path, up=False) as one:
        await asyncio.sleep(20)
        assert (one.errors, one.outlet.reasons) == ([], [])
        one.up = True
        await asyncio.sleep(20)
        assert one.outlet.bytes == GREETING


@virtual
async def test_a_desktop_that_stays_down_is_one(tmp_path: Path) -> None:
    async with running(tmp_path, up=False) as one:
        await asyncio.sleep(5)
        one.desktop.viewer_waits()
        await asyncio.sleep(1)
        assert one.outlet.reasons == ["it is down"]
        assert len(one.errors) == 1
        await asyncio.sleep(120)
        assert len(one.errors) > 1


@virtual
async def test_a_session_that_is_not_known_to_run_is_tried_once(tmp_path: Path) -> None:
    async with running(tmp_path, lasting=False, up=False) as one:
        await asyncio.sleep(100)
        assert one.outlet.reasons == ["it is down"]


@virtual
async def test_a_viewer_that_sends_more_than_its_desktop_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vnc_desktop, "MAX_WAITING", 1000)
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.receive(GREETING)
        for _ in range(3):
            one.desktop.receive(b"x" * 500)
        await asyncio.sleep(0.1)
        assert one.outlet.reasons == ["the desktop does not read what its viewer sends"]


@virtual
async def test_many_small_updates_without_an_answer_share_messages(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        await asyncio.sleep(0.1)
        one.desktop.receive(GREETING)
        for _ in range(1000):
            one.peers[0][1].write(b"x" * 10)
            await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert one.outlet.bytes == GREETING + b"x" * 10_000
        assert len(one.outlet.sent) < 100
        assert max(len(data) for _, data in one.outlet.sent) <= one.outlet.capacity


def test_an_answered_message_does_not_wait() -> None:
    pace = Pace()
    for _ in range(vnc_batches.FREE):
        pace.sent()
    assert pace.delay == 0
    for _ in range(1000):
        pace.sent()
    assert pace.delay == vnc_batches.LONGEST
    pace.answered()
    assert pace.delay == 0


def test_a_full_message_is_not_larger_than_the_server_takes() -> None:
    room = capacity(200)
    assert 200 + (room + 2) // 3 * 4 <= MAX_MESSAGE < 200 + (room + 3) // 3 * 4 + 4
