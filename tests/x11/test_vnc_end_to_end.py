"""A picture end to end: another viewer, a forwarded port, control plane, agent, real X server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import frozen

from examples.streamspace_agent import DesktopAgent
from tests.integration.realtime_plane import plane
from tests.x11.machine import content, entries, processes, require_x11, socket_of, until
from tests.x11.viewing import BELOW, TEXT, dark, foreign_viewer, pointer_at, script, terminal
from vcloud.emulator import Emulator
from vcloud.emulator.x11 import X11Desktop
from vcloud.providers.streamspace import AgentCapacity, AgentWorker, Session, StreamSpace

#: Shift keys too, and everything that a shell would take for itself.
LINE = "It's 100 % REAL: {agent} & $viewer; ~ok?"


@pytest.fixture
def asyncvnc() -> Any:
    return foreign_viewer()


@frozen(kw_only=True)
class Stage:
    """One session on one agent."""

    handler: DesktopAgent
    worker: AgentWorker
    session: Session

    @property
    def desktop(self) -> X11Desktop:
        return self.handler.desktops[self.session.id]


@asynccontextmanager
async def stage(*command: str) -> AsyncIterator[Stage]:
    async with (
        Emulator(rate_limits=False) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
        DesktopAgent(command) as handler,
        client.serve_agent("x11-agent", platform="docker", handler=handler) as worker,
    ):
        session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
        session = await session.wait_until("running", poll=0.01)
        yield Stage(handler=handler, worker=worker, session=session)


async def test_the_example_s_agent_stays_within_its_capacity() -> None:
    """Also if the control plane hibernates each session before it starts the next."""
    require_x11()
    async with plane() as control, DesktopAgent(("true",), max_desktops=1) as handler:
        capacity = AgentCapacity(max_sessions=1)
        async with control.agent(cast("Any", handler), capacity=capacity) as worker:
            await control.command("start_session", "c1", "s1")
            await until(lambda: worker.sessions == {"s1"})
            await control.command("hibernate_session", "c2", "s1")
            await until(lambda: not worker.sessions)
            await control.command("start_session", "c3", "s2")
            await until(lambda: "c3" in control.results())
            assert control.results()["c3"]["error_code"] == "AGENT_CAPACITY_EXCEEDED"
            assert handler.desktops.keys() == {"s1"}
            await control.command("stop_session", "c4", "s1")
            await until(lambda: not handler.desktops)
            await control.command("start_session", "c5", "s2")
            await until(lambda: worker.sessions == {"s2"})


async def forever(viewer: Any) -> None:
    while True:
        await viewer.read()


async def test_another_viewer_points_types_and_sees_what_it_typed(
    asyncvnc: Any, temporary: Path
) -> None:
    async with stage(*script("cat > typed")) as on, on.session.forward_vnc() as forward:
        async with asyncvnc.connect(forward.host, forward.port) as viewer:
            assert (viewer.video.width, viewer.video.height) == (1024, 768)
            viewer.mouse.move(987, 654)
            await pointer_at(on.desktop, 987, 654)

            before = await terminal(on.desktop, viewer)
            viewer.keyboard.write(LINE)
            viewer.keyboard.press("Return")
            await until(lambda: content(on.desktop.home / "typed") == f"{LINE}\n")

            # Each of its characters but the blanks has some pixels.
            least = dark(before, TEXT) + 5 * len(LINE.replace(" ", ""))
            while dark(after := await viewer.screenshot(), TEXT) < least:
                pass
            assert (after[TEXT] != before[TEXT]).any()
            assert dark(after, BELOW) == dark(before, BELOW) == 0, "nothing else has changed"
            assert (forward.connections, forward.errors) == (1, ())
            display = on.desktop.display
            socket = socket_of(display)
            assert socket is not None
            assert processes(str(temporary))
        await until(lambda: forward.connections == 0)
        await on.session.delete()
        await on.session.wait_until("terminated", poll=0.01)
        assert on.handler.desktops == {}
        assert processes(str(temporary)) == []
        assert entries(temporary) == []
        assert socket_of(display) != socket
        assert (forward.errors, on.worker.errors) == ((), ())


async def test_the_mouse_of_another_viewer_selects_and_pastes(
    asyncvnc: Any, temporary: Path
) -> None:
    """Buttons arrive with positions: a double click on a word, and the middle button, paste it."""
    async with stage(*script("echo word; cat > typed")) as on, on.session.forward_vnc() as forward:
        async with asyncvnc.connect(forward.host, forward.port) as viewer:
            await until((on.desktop.home / "typed").exists)
            await terminal(on.desktop, viewer)
            viewer.mouse.move(12, 8)
            await pointer_at(on.desktop, 12, 8)
            viewer.mouse.click()
            viewer.mouse.click()
            viewer.mouse.middle_click()
            viewer.keyboard.press("Return")
            await until(lambda: content(on.desktop.home / "typed") == "word\n")


async def test_two_viewers_share_a_screen_and_one_may_leave(asyncvnc: Any, temporary: Path) -> None:
    async with stage(*script("cat > typed")) as on, on.session.forward_vnc() as forward:
        async with asyncvnc.connect(forward.host, forward.port) as stays:
            async with asyncvnc.connect(forward.host, forward.port) as leaves:
                before = await terminal(on.desktop, leaves)
                leaves.keyboard.write("seen by both")
                least = dark(before, TEXT) + 50
                for viewer in (stays, leaves):
                    while dark(await viewer.screenshot(), TEXT) < least:
                        pass
            await until(lambda: forward.connections == 1)
            stays.keyboard.press("Return")
            await until(lambda: content(on.desktop.home / "typed") == "seen by both\n")


async def test_a_hibernated_session_closes_viewers_and_shows_the_same_screen_after_waking(
    asyncvnc: Any, temporary: Path
) -> None:
    writers: list[asyncio.StreamWriter] = []

    async def opener(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # The viewer keeps a connection open on which it was refused.
        reader, writer = await asyncio.open_connection(host, port)
        writers.append(writer)
        return reader, writer

    async with stage(*script("cat > typed")) as on, on.session.forward_vnc() as forward:
        async with asyncvnc.connect(forward.host, forward.port) as viewer:
            before = await terminal(on.desktop, viewer)
            viewer.keyboard.write("kept")
            while dark(await viewer.screenshot(), TEXT) < dark(before, TEXT) + 20:
                pass
            await on.session.hibernate()
            with pytest.raises(asyncio.IncompleteReadError):
                await forever(viewer)
        await on.session.wait_until("hibernated", poll=0.01)
        # A viewer that connects now gets the reason why there is no picture.
        with pytest.raises(ValueError, match="StreamSpace refused the connection: .*hibernated"):
            async with asyncvnc.connect(forward.host, forward.port, opener=opener):
                pass
        writers[0].close()
        await writers[0].wait_closed()
        await on.session.wake()
        await on.session.wait_until("running", poll=0.01)
        async with asyncvnc.connect(forward.host, forward.port) as viewer:
            viewer.keyboard.press("Return")
            await until(lambda: content(on.desktop.home / "typed") == "kept\n")
