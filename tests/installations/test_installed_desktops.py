"""A real desktop, seen by a person's viewer through the published server: emulated, or real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from examples.streamspace_agent import DesktopAgent
from tests.installations.places import WEB, Desktops, Place
from tests.x11.machine import content, until
from tests.x11.viewing import BELOW, dark, foreign_viewer, pointer_at, script
from vcloud import TransportError, VCloudError
from vcloud.emulator.x11 import X11Desktop
from vcloud.providers.streamspace import Session, VNCTunnel

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def asyncvnc() -> Any:
    return foreign_viewer()


@frozen
class Stage:
    session: Session
    desktop: X11Desktop


def holds(file: Path, text: str) -> bool:
    return content(file) == text


async def read_on(tunnel: VNCTunnel) -> None:
    while await tunnel.read():
        pass


@asynccontextmanager
async def stage(place: Place, *command: str) -> AsyncIterator[Stage]:
    """A running session with a real desktop, on an agent of ours."""
    agent_id, template = place.agent_id(), await place.template()
    key = await place.approved(agent_id)
    async with (
        place.client() as client,
        DesktopAgent(command) as handler,
        client.serve_agent(agent_id, platform="kubernetes", handler=handler, api_key=key) as worker,
    ):
        session = await client.sessions.create(place.username, template)
        session = await session.wait_until("running", poll=0.1, timeout=60)
        yield Stage(session, handler.desktops[session.id])
        assert worker.errors == ()
        await session.delete()
        await session.wait_until("terminated", poll=0.1, timeout=60)
        assert handler.desktops == {}
    if place.emulator is not None:
        assert place.emulator.published_streamspace.realtime.server.panics == 0


async def test_viewers_one_after_another_see_point_and_type(
    place: Place, asyncvnc: Any, temporary: Path
) -> None:
    typed = ""
    async with stage(place, *script("cat > typed")) as on, on.session.forward_vnc() as forward:
        # On the emulator fewer, because each but the first waits until the one before is noticed.
        for number in range(2 if place.emulator else 5):
            async with asyncvnc.connect(forward.host, forward.port) as viewer:
                assert (viewer.video.width, viewer.video.height) == (1024, 768)
                viewer.mouse.move(900 + number, 600)
                await pointer_at(on.desktop, 900 + number, 600)
                await until((on.desktop.home / "ready").exists)
                viewer.mouse.move(200, 150)
                await pointer_at(on.desktop, 200, 150)
                # Before the terminal's window is there, all is black.
                while dark(before := await viewer.screenshot(), BELOW):
                    pass
                viewer.keyboard.write(f"viewer {number}: it's REAL & $true")
                viewer.keyboard.press("Return")
                typed += f"viewer {number}: it's REAL & $true\n"
                await until(partial(holds, on.desktop.home / "typed", typed))
                while not (before != await viewer.screenshot()).any():
                    pass
            await until(lambda: forward.connections == 0)
        assert forward.errors == ()


@pytest.mark.long
async def test_a_viewer_stays_for_longer_than_the_server_bears_by_itself(
    place: Place, asyncvnc: Any, temporary: Path
) -> None:
    """Without the viewer's pings, what the server writes after 64 seconds ends its process."""
    async with (
        stage(place, *script("while sleep 1; do date; done")) as on,
        on.session.forward_vnc() as forward,
        asyncvnc.connect(forward.host, forward.port) as viewer,
    ):
        before = await viewer.screenshot()
        for _ in range(130):
            await asyncio.sleep(1)
            await viewer.screenshot()
        assert (before != await viewer.screenshot()).any()
        assert (forward.connections, forward.errors) == (1, ())


async def test_a_session_that_is_a_web_page_names_its_protocol_and_connect_url(
    place: Place,
) -> None:
    agent_id, template = place.agent_id(), await place.template(WEB)
    key = await place.approved(agent_id)
    async with (
        place.client() as client,
        client.serve_agent(agent_id, platform="kubernetes", handler=Desktops(), api_key=key),
    ):
        session = await client.sessions.create(place.username, template)
        session = await session.wait_until("running", poll=0.1, timeout=60)
        with pytest.raises(VCloudError, match="selkies.*connect_url"):
            async with session.open_vnc():
                pass
        url = await session.connect_url()
        assert f"/api/v1/http/{session.id}/?token=" in url


async def test_a_viewer_is_told_when_its_session_is_stopped(place: Place, temporary: Path) -> None:
    async with stage(place, *script("cat > typed")) as on:
        async with on.session.open_vnc() as tunnel:
            assert (await tunnel.read()).startswith(b"RFB ")
            await tunnel.write(b"RFB 003.008\n")
            assert await tunnel.read()
            await on.session.terminate()
            with pytest.raises(TransportError):
                await read_on(tunnel)
