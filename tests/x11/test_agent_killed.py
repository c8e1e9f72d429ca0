"""Killing an agent's process: the control plane reports it, others continue, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from tests.x11.machine import (
    children,
    display_of,
    entries,
    has_socket,
    processes,
    require_x11,
    runs,
    until,
)
from vcloud import (
    CapacityError,
    ConflictError,
    NotFoundError,
    RetryPolicy,
    TransportError,
)
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import Session, StreamSpace, VNCTunnel

ROOT = Path(__file__).parents[2]


def user(emulator: Emulator) -> StreamSpace:
    """A client without retries, so that the answers for an offline agent are seen."""
    return StreamSpace(
        attrs.evolve(emulator.endpoints()["streamspace"], retry=RetryPolicy(attempts=1))
    )


@asynccontextmanager
async def agent(
    emulator: Emulator, client: StreamSpace, name: str, temporary: Path
) -> AsyncIterator[Process]:
    """The example as a program, registered with the emulator, with its desktops in `directory`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "streamspace_agent.py")),
        *("--id", name, "--platform", "docker"),
        env=os.environ | emulator.env() | {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)},
        stdout=DEVNULL,
    )
    try:

        async def registered() -> bool:
            assert process.returncode is None, "the agent ended"
            return await status(client, name) == "online"

        await until(registered)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def status(client: StreamSpace, name: str) -> str:
    try:
        return (await client.agents.get(name)).status or "unknown"
    except NotFoundError:
        return "unknown"


async def session_on(client: StreamSpace, name: str) -> Session:
    session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
    session = await session.wait_until("running", poll=0.01)
    assert session.agent_id == name
    return session


async def greeted(tunnel: VNCTunnel) -> bool:
    received = b""
    while len(received) < 12:
        more = await tunnel.read()
        assert more, "the VNC server hung up"
        received += more
    return received == b"RFB 003.008\n"


async def rest(tunnel: VNCTunnel) -> bytes:
    try:
        return b"".join([part async for part in tunnel])
    except TransportError:
        return b""


def displays(temporary: Path) -> set[str]:
    """The displays of the desktops with their directories here, once programs run on them."""
    # Besides the X server there is a program.
    return {
        display_of(directory)
        for directory in entries(temporary)
        if len(processes(f"HOME={directory}/")) > 1
    }


@pytest.fixture
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For the desktops of two agents. The paths are short, as unix sockets require."""
    require_x11()
    return tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")


async def reports_its_agent_offline(session: Session) -> None:
    seen = await session.refresh()
    assert seen.state == "running", "the control plane does not know that the desktop is gone"
    assert seen.status is not None
    assert seen.status.message == "Agent 'doomed' is offline"
    with pytest.raises(CapacityError, match="offline"):
        await session.hibernate()
    with pytest.raises(CapacityError, match="offline"):
        await session.open_vnc().aopen()


async def test_a_killed_agent_is_offline_and_another_takes_over(
    directories: tuple[Path, Path],
) -> None:
    first, second = directories
    async with Emulator(rate_limits=False) as emulator, user(emulator) as client:
        async with agent(emulator, client, "doomed", first) as process:
            sessions = [await session_on(client, "doomed") for _ in range(2)]
            await until(lambda: len(displays(first)) == 2)
            screens, supervisors = displays(first), children(process.pid)
            assert (len(supervisors), all(map(has_socket, screens))) == (2, True)
            async with sessions[0].open_vnc() as looking, sessions[1].open_vnc() as idle:
                assert await greeted(looking)
                assert await greeted(idle)
                watching = asyncio.create_task(rest(looking))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                # Both the viewer that reads and the one that does not are closed.
                assert await watching == b""
                assert await rest(idle) == b""

            async def offline() -> bool:
                return await status(client, "doomed") == "offline"

            await until(offline)
            for session in sessions:
                await reports_its_agent_offline(session)
            await until(lambda: not processes(str(first)) and not entries(first))
            await until(
                lambda: not any(map(runs, supervisors)) and not any(map(has_socket, screens))
            )

        async with agent(emulator, client, "heir", second) as process:
            session = await session_on(client, "heir")
            async with session.open_vnc() as tunnel:
                assert await greeted(tunnel)
            assert await status(client, "doomed") == "offline"
            for lost in sessions:
                await lost.force_terminate()
                await lost.wait_until("terminated", poll=0.01)
            assert (await session.refresh()).state == "running"
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
            assert processes(str(second)) == []
            assert entries(second) == []


async def test_an_agent_that_reconnects_reports_lost_sessions(
    directories: tuple[Path, Path],
) -> None:
    first, second = directories
    async with Emulator(rate_limits=False) as emulator, user(emulator) as client:
        async with agent(emulator, client, "phoenix", first) as process:
            session = await session_on(client, "phoenix")
            process.kill()
        async with agent(emulator, client, "phoenix", second):
            # The control plane cannot know that the desktop has ended. The agent reports it.
            session = await session.wait_until("failed", poll=0.01)
            assert session.status is not None
            assert session.status.message == "its desktop has ended"
            with pytest.raises(ConflictError, match="is failed"):
                await session.open_vnc().aopen()
            await session_on(client, "phoenix")
        for directory in directories:
            await until(lambda: not processes(str(directory)) and not entries(directory))  # noqa: B023 - it is called at once
