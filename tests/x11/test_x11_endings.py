"""The ends of real desktops: nothing is left of them, however they end."""

from __future__ import annotations

import asyncio
import os
import random
import shlex
import signal
import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.x11.machine import (
    children,
    entries,
    processes,
    runs,
    socket_of,
    until,
)
from vcloud import APIKeyAuth, AuthenticationError, ConflictError, Endpoint
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.x11 import DesktopGoneError, X11Desktop, X11UnavailableError
from vcloud.emulator.x11.backend import X11Backend
from vcloud.providers.desktops import Desktop, Desktops, DesktopStatus

pytestmark = pytest.mark.usefixtures("temporary")


async def populated(desktop: Desktop) -> str:
    """Start programs in sessions of their own, without an environment, that ignore SIGTERM."""
    seconds = f"9{random.randrange(10**8)}.5"
    await desktop.bash(
        f"xterm & setsid sleep {seconds} & (setsid env -i /bin/sleep {seconds} &) ; "
        f"(trap '' TERM HUP INT; setsid bash -c 'sleep {seconds}; true' &)"
    )
    await until(lambda: len(processes(seconds)) >= 3)
    return seconds


async def nothing_left(temporary: Path, mark: str) -> None:
    await until(lambda: not processes(mark, str(temporary)) and not entries(temporary))


# -- endings ---------------------------------------------------------------------------------------


async def test_nothing_is_left_after_a_stop(
    emulator: Emulator, temporary: Path, desktop: Desktop
) -> None:
    mark = await populated(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    display = backend.desktop.display
    socket = socket_of(display)
    assert socket is not None
    await desktop.stop()
    assert processes(mark, str(temporary)) == []
    assert entries(temporary) == []
    assert socket_of(display) != socket
    with pytest.raises(ConflictError):
        await desktop.screenshot()


async def test_nothing_is_left_after_a_desktop_s_timeout(temporary: Path) -> None:
    clock = Clock.stopped()
    async with (
        Emulator(backend="x11", allow_exec=True, clock=clock) as emulator,
        Desktops(emulator.endpoints()["desktops"]) as desktops,
    ):
        launched = await desktops.launch(timedelta(minutes=1))
        desktop = await launched.wait_until("running", poll=0.01)
        mark = await populated(desktop)
        clock.advance(60)
        await nothing_left(temporary, mark)
        assert (await desktop.refresh()).status is DesktopStatus.TERMINATED


async def test_nothing_is_left_after_the_emulator_is_closed(temporary: Path) -> None:
    async with (
        Emulator(backend="x11", allow_exec=True) as emulator,
        Desktops(emulator.endpoints()["desktops"]) as desktops,
    ):
        marks = []
        for _ in range(2):
            launched = await desktops.launch()
            marks.append(await populated(await launched.wait_until("running", poll=0.01)))
        # A desktop that is still starting, and a busy one.
        await desktops.launch()
        busy = asyncio.create_task(desktops.ref(launched.id).bash("sleep 98765.25"))
        await until(lambda: bool(processes("98765.25")))
        await emulator.aclose()
        assert processes(*marks, "98765.25", str(temporary)) == []
        assert entries(temporary) == []
        assert isinstance((await asyncio.gather(busy, return_exceptions=True))[0], Exception)


async def printed_variables(output: asyncio.StreamReader) -> dict[str, str]:
    """The variables that an emulator prints when it has started."""
    said: dict[str, str] = {}
    while "VCLOUD_STREAMSPACE_URL" not in said:
        line = shlex.split((await output.readline()).decode())
        if line[0] == "export":
            name, _, value = line[1].partition("=")
            said[name] = value
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_nothing_is_left_after_the_emulator_s_process_is_killed(
    temporary: Path, number: signal.Signals
) -> None:
    command = "-m vcloud.emulator --port 0 --backend x11 --allow-exec"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command.split()),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        said = await printed_variables(process.stdout)
        endpoint = Endpoint(
            said["VCLOUD_DESKTOPS_URL"], auth=APIKeyAuth(said["VCLOUD_DESKTOPS_API_KEY"])
        )
        async with Desktops(endpoint) as desktops:
            launched = await desktops.launch()
            desktop = await launched.wait_until("running", poll=0.01)
            mark = await populated(desktop)
            supervisors = children(process.pid)
            assert len(supervisors) == 1
            process.send_signal(number)
            await process.wait()
        assert process.returncode == (0 if number != signal.SIGKILL else -number)
        await nothing_left(temporary, mark)
        await until(lambda: not any(map(runs, supervisors)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_desktop_whose_x_server_ends_is_in_error_and_leaves_nothing(
    emulator: Emulator, desktops: Desktops, temporary: Path
) -> None:
    launched = await desktops.launch()
    desktop = await launched.wait_until("running", poll=0.01)
    mark = await populated(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    socket = socket_of(backend.desktop.display)
    assert socket is not None
    (server,) = set(children(backend.desktop.pid)) & set(processes("-rfbunixpath"))
    os.kill(server, signal.SIGKILL)
    await nothing_left(temporary, mark)
    assert (await desktop.wait_until("error", poll=0.01)).status is DesktopStatus.ERROR
    assert socket_of(backend.desktop.display) != socket
    with pytest.raises(DesktopGoneError):
        await backend.desktop.run("true")


async def test_a_desktop_whose_supervisor_is_killed_is_in_error_and_leaves_no_display(
    emulator: Emulator, desktops: Desktops, temporary: Path
) -> None:
    launched = await desktops.launch()
    desktop = await launched.wait_until("running", poll=0.01)
    await desktop.bash("xterm &")
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    os.kill(backend.desktop.pid, signal.SIGKILL)
    await desktop.wait_until("error", poll=0.01)
    await nothing_left(temporary, str(temporary))


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 50, 200])
async def test_a_start_that_is_cancelled_leaves_nothing(temporary: Path, turns: int) -> None:
    task = asyncio.create_task(X11Desktop.start(["xterm"]))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, X11Desktop):
        await outcome.aclose()
    else:
        assert isinstance(outcome, asyncio.CancelledError)
    assert processes(str(temporary)) == []
    assert entries(temporary) == []


# -- the supervisor, and refusals ---------------------------------------------------------------


async def test_its_vnc_server_answers_on_a_socket_that_only_its_user_can_open() -> None:
    async with await X11Desktop.start(["xterm"], width=800, height=600) as desktop:
        reader, writer = await desktop.open_vnc()
        assert await reader.readexactly(12) == b"RFB 003.008\n"
        writer.write(b"RFB 003.008\n")
        assert await reader.readexactly(2) == b"\x01\x01", "no password"
        writer.write(b"\x01")
        assert await reader.readexactly(4) == bytes(4)
        writer.write(b"\x01")
        assert await reader.readexactly(4) == (800).to_bytes(2, "big") + (600).to_bytes(2, "big")
        writer.close()
        await writer.wait_closed()
        assert stat.S_IMODE(desktop.vnc_path.stat().st_mode) == 0o600
    assert not desktop.alive
    await desktop.aclose()
    with pytest.raises(DesktopGoneError):
        await desktop.run("true")


async def test_its_vnc_port_is_opened_on_demand_for_many_viewers_and_closed_with_it() -> None:
    async with await X11Desktop.start() as desktop:
        addresses = await asyncio.gather(*[desktop.vnc_address() for _ in range(3)])
        assert len(set(addresses)) == 1
        host, port = addresses[0]
        assert host == "127.0.0.1"
        viewers = await asyncio.gather(*[asyncio.open_connection(host, port) for _ in range(5)])
        for reader, writer in viewers:
            assert await reader.readexactly(12) == b"RFB 003.008\n"
            writer.write(b"RFB 003.008\n")
            assert await reader.readexactly(2) == b"\x01\x01"
        for _, writer in viewers[:2]:
            writer.close()
    for reader, _ in viewers[2:]:
        assert await reader.read() == b""
    for _, writer in viewers:
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_a_program_that_does_not_exist_fails_the_start_and_leaves_nothing(
    temporary: Path,
) -> None:
    with pytest.raises(X11UnavailableError, match="nosuchprogram"):
        await X11Desktop.start(["nosuchprogram"])
    assert entries(temporary) == []


async def test_another_emulator_s_key_is_refused_by_real_desktops(
    emulator: Emulator,
) -> None:
    other = Emulator().credentials.desktops_api_key
    url = emulator.env()["VCLOUD_DESKTOPS_URL"]
    async with Desktops(Endpoint(url, auth=APIKeyAuth(other))) as desktops:
        with pytest.raises(AuthenticationError):
            await desktops.launch()
