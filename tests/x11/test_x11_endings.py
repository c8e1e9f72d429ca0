"""What runs on a real desktop, and that nothing of it is left, however it ends."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.x11.machine import (
    children,
    content,
    entries,
    has_socket,
    home_of,
    name_of,
    processes,
    require_x11,
    runs,
    until,
)
from vcloud import APIKeyAuth, AuthenticationError, ConflictError, Endpoint, ServerError
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.x11 import DesktopGoneError, X11Desktop, X11UnavailableError, supervisor
from vcloud.emulator.x11.backend import X11Backend
from vcloud.providers.desktops import Desktop, Desktops, DesktopStatus


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where desktops have their directories. The path is short, as unix sockets require."""
    require_x11()
    path = tmp_path_factory.mktemp("x")
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(backend="x11", allow_exec=True) as emulator:
        yield emulator


@pytest.fixture
async def desktops(emulator: Emulator) -> AsyncIterator[Desktops]:
    async with Desktops(emulator.endpoints()["desktops"]) as desktops:
        yield desktops


@pytest.fixture
async def desktop(desktops: Desktops) -> AsyncIterator[Desktop]:
    async with desktops.launch(timedelta(hours=1), poll=0.01) as desktop:
        yield desktop


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


# -- commands --------------------------------------------------------------------------------------


async def test_commands_run_in_the_desktop_s_home(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await home_of(desktop)
    assert home.is_dir()
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
    assert await desktop.bash("echo 'Grüße' > note; cat note") == "Grüße"
    assert (home / "note").read_text() == "Grüße\n"
    assert await desktop.bash("echo lost >&2; exit 3") == "lost", (
        "the error output when there is no other"
    )
    assert await desktop.bash("echo out; echo lost >&2") == "out"
    assert await desktop.bash("printf ' \\n'; echo lost >&2") == "lost"
    assert await desktop.bash("true") == ""
    assert (await desktop.bash("echo $HOME $DISPLAY")).split()[0] == str(home)


async def test_commands_do_not_inherit_the_emulator_s_environment(
    monkeypatch: pytest.MonkeyPatch, desktops: Desktops
) -> None:
    monkeypatch.setenv("VCLOUD_COMPUTERS_SECRET", "sk_very_secret")
    async with desktops.launch(timedelta(hours=1), poll=0.01) as desktop:
        assert "sk_very_secret" not in await desktop.bash("env")


async def test_a_program_in_the_background_is_not_waited_for_and_may_print(
    desktop: Desktop,
) -> None:
    home = await home_of(desktop)
    await desktop.bash("(while test ! -e go; do sleep 0.01; done; seq 100000 && touch printed) &")
    (home / "go").touch()
    await until((home / "printed").exists)


async def test_output_is_kept_up_to_a_limit_and_the_command_still_ends(
    desktop: Desktop,
) -> None:
    assert (
        len(await desktop.bash("head -c 9000000 /dev/zero | tr '\\0' x; touch done"))
        == X11Desktop.output_limit
    )
    assert await desktop.bash("ls done") == "done"


async def test_a_command_keeps_running_after_the_gateway_has_timed_out(
    emulator: Emulator, desktop: Desktop
) -> None:
    """As on the service (wire-facts, section 4): a 502, and what was begun is carried out."""
    home = await home_of(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    backend.command_limit = 0.2
    with pytest.raises(ServerError) as caught:
        await desktop.bash("while test ! -e go; do sleep 0.01; done; echo carried out > done")
    assert caught.value.status == 502
    assert await desktop.bash("echo well") == "well"
    (home / "go").touch()
    await until(lambda: content(home / "done") == "carried out\n")


async def test_a_command_that_timed_out_ends_with_the_desktop(
    emulator: Emulator, desktop: Desktop
) -> None:
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    backend.command_limit = 0.1
    seconds = f"9{random.randrange(10**8)}.25"
    display = backend.desktop.display
    for command in (f"sleep {seconds} & setsid sleep {seconds} & sleep {seconds}",):
        with pytest.raises(ServerError):
            await desktop.bash(command)
    with pytest.raises(ServerError):
        await desktop.type(f"{seconds} is typed for long after the answer, " * 5)
    assert len(processes(seconds)) >= 3
    # What is typed stands in no process's arguments, so xdotool is found by whose it is.
    home = str(backend.desktop.home)
    typing = [pid for pid in processes(home) if name_of(pid) == "xdotool"]
    assert typing
    await desktop.stop()
    assert processes(seconds, home) == []
    assert not any(map(runs, typing))
    assert not has_socket(display)


async def test_a_cancelled_command_is_killed() -> None:
    async with await X11Desktop.start() as desktop:
        seconds = f"9{random.randrange(10**8)}.75"
        task = asyncio.create_task(desktop.run(f"sleep {seconds}"))
        await until(lambda: bool(processes(seconds)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not processes(seconds))


# -- endings ---------------------------------------------------------------------------------------


async def test_nothing_is_left_after_a_stop(
    emulator: Emulator, temporary: Path, desktop: Desktop
) -> None:
    mark = await populated(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    display = backend.desktop.display
    assert has_socket(display)
    await desktop.stop()
    assert processes(mark, str(temporary)) == []
    assert entries(temporary) == []
    assert not has_socket(display)
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
        # One that is still starting, and one that is busy.
        await desktops.launch()
        busy = asyncio.create_task(desktops.ref(launched.id).bash("sleep 98765.25"))
        await until(lambda: bool(processes("98765.25")))
        await emulator.aclose()
        assert processes(*marks, "98765.25", str(temporary)) == []
        assert entries(temporary) == []
        assert isinstance((await asyncio.gather(busy, return_exceptions=True))[0], Exception)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_nothing_is_left_after_the_emulator_s_process_is_killed(
    temporary: Path, number: signal.Signals
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "vcloud.emulator",
            "--port",
            "0",
            "--backend",
            "x11",
            "--allow-exec",
        ),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        said: dict[str, str] = {}
        while "VCLOUD_STREAMSPACE_URL" not in said:
            line = shlex.split((await process.stdout.readline()).decode())
            if line[0] == "export":
                name, _, value = line[1].partition("=")
                said[name] = value
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


async def test_a_desktop_whose_x_server_dies_is_in_error_and_leaves_nothing(
    emulator: Emulator, desktops: Desktops, temporary: Path
) -> None:
    launched = await desktops.launch()
    desktop = await launched.wait_until("running", poll=0.01)
    mark = await populated(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    (server,) = set(children(backend.desktop.pid)) & set(processes("-rfbunixpath"))
    os.kill(server, signal.SIGKILL)
    await nothing_left(temporary, mark)
    assert (await desktop.wait_until("error", poll=0.01)).status is DesktopStatus.ERROR
    assert not has_socket(backend.desktop.display)
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


# -- the service's display -------------------------------------------------------------------------


async def test_on_each_of_ten_desktops_the_service_s_display_is_its_own(desktops: Desktops) -> None:
    async def use(number: int) -> str:
        async with desktops.launch(timedelta(hours=1), poll=0.02) as desktop:
            await desktop.move(number, number)
            # Also from a directory of its own, by an environment of its own, by a child of a child.
            return await desktop.bash(
                "cd / && env -u DISPLAY bash -c "
                "'export DISPLAY=:99; setsid -w xdotool getmouselocation'"
            )

    found = await asyncio.gather(*[use(number) for number in range(10)])
    places = [f"x:{number} y:{number}" for number in range(10)]
    assert [answer.partition(" screen")[0] for answer in found] == places


async def test_a_server_of_the_machine_at_that_display_is_not_reached(tmp_path: Path) -> None:
    """The display that Xvfb takes by itself is the service's, too."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        other = await asyncio.create_subprocess_exec(
            *("Xvnc", ":99", "-rfbport", "-1", "-rfbunixpath", str(tmp_path / "vnc")),
            *("-SecurityTypes", "None", "-nolisten", "tcp", "-geometry", "640x480"),
            stdout=output,
            stderr=output,
        )
    try:
        # Also if another one was there already.
        await until(lambda: has_socket(":99"))
        async with await X11Desktop.start() as desktop:
            command = "DISPLAY=:99 xdotool mousemove 9999 9999 getmouselocation"
            assert (await desktop.run(command)).stdout.startswith("x:1023 y:767 ")
    finally:
        if other.returncode is None:
            other.terminate()
        await other.wait()


async def test_other_connections_of_its_programs_are_not_redirected() -> None:
    async with await X11Desktop.start() as desktop:
        host, port = await desktop.vnc_address()
        greeting = await desktop.run(f"head -c 11 < /dev/tcp/{host}/{port}", limit=20)
        assert greeting.stdout == "RFB 003.008"
        refused = await desktop.run("DISPLAY=:98 xdotool getmouselocation || echo none")
        assert refused.stdout == "none\n"


async def test_connections_of_many_programs_at_once_arrive_while_others_end() -> None:
    """Each end is a signal to the supervisor, in the middle of what it does for the connections."""
    async with await X11Desktop.start() as desktop:
        command = "xdotool getmouselocation & xdotool getmouselocation; wait"
        # The X server takes 256 clients at once, so no more than 200 of these 600.
        for _ in range(3):
            ran = await asyncio.gather(*[desktop.run(command) for _ in range(100)])
            assert {(one.code, one.stderr) for one in ran} == {(0, "")}


async def test_a_program_without_the_cookie_is_refused_by_its_display() -> None:
    async with await X11Desktop.start() as desktop:
        command = "XAUTHORITY=/dev/null DISPLAY=:99 xdotool getmouselocation"
        assert (await desktop.run(command)).code == 1
        authority = desktop.home.parent / "authority"
        assert stat.S_IMODE(authority.stat().st_mode) == 0o600


def for_everybody() -> Path:
    """A directory that every user can write to, with what the supervisor is made of."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o777)
    shutil.copytree(Path(supervisor.__file__).parent, directory / "x11")
    return directory


@pytest.mark.skipif(os.getuid() != 0, reason="this user is an ordinary one already")
async def test_the_redirect_works_for_an_ordinary_user_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The supervisor alone, run by `nobody` with the system's Python, which `nobody` can run."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("there is no Python that another user can run")
    directory = for_everybody()
    try:
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", python, "-I"),
            *(directory / "x11" / "supervisor.py", str(theirs.fileno()), "Xvnc", "640", "480"),
            pass_fds=(theirs.fileno(),),
            env={"TMPDIR": str(directory)},
        )
        theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        ready = json.loads(await reader.readline())
        assert ready["event"] == "ready", ready
        order = {
            "do": "run",
            "id": 1,
            "command": "id -un; DISPLAY=:99 xdotool mousemove 4 5 getmouselocation",
            "limit": None,
        }
        writer.write(json.dumps(order).encode() + b"\n")
        answer = json.loads(await reader.readline())
        assert answer["stdout"].startswith("nobody\nx:4 y:5 "), answer
        writer.close()
        await writer.wait_closed()
        assert await process.wait() == 0
        assert not has_socket(ready["display"])
        assert entries(directory) == [directory / "x11"]
    finally:
        shutil.rmtree(directory)


async def test_a_kernel_that_cannot_redirect_connections_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run under a filter that refuses seccomp(2), as some containers do."""
    refuse = (
        "import ctypes,os,struct,sys,platform;"
        "n={'x86_64':317}.get(platform.machine(),277);"
        "i=((32,0,0,0),(21,0,1,n),(6,0,0,0x50001),(6,0,0,0x7fff0000));"
        "f=b''.join(struct.pack('HBBI',*one) for one in i);"
        "P=type('P',(ctypes.Structure,),{'_fields_':[('l',ctypes.c_ushort),('f',ctypes.c_char_p)]});"
        "l=ctypes.CDLL(None);l.prctl(38,1,0,0,0);"
        "assert l.prctl(22,2,ctypes.byref(P(4,f)))==0;"
        "os.execv(sys.executable,[sys.executable,*sys.argv[1:]])"
    )
    real = asyncio.create_subprocess_exec

    async def filtered(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        return await real(argv[0], "-c", refuse, *argv[1:], **options)

    monkeypatch.setattr("asyncio.create_subprocess_exec", filtered)
    with pytest.raises(X11UnavailableError, match="not permitted.*Linux 5.9"):
        await X11Desktop.start()


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
