"""The service's display `:99` on real desktops: connections to it are redirected."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.x11.machine import (
    entries,
    has_socket,
    until,
)
from vcloud.emulator.x11 import X11Desktop, X11UnavailableError, supervisor
from vcloud.providers.desktops import Desktops

pytestmark = pytest.mark.usefixtures("temporary")


async def test_on_each_of_ten_desktops_the_service_s_display_is_its_own(desktops: Desktops) -> None:
    async def use(number: int) -> str:
        async with desktops.launch(timedelta(hours=1), poll=0.02) as desktop:
            await desktop.move(number, number)
            # Also from another directory, with another environment, and by a child of a child.
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
        # Also if there was another one before.
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
    """Each end is a signal to the supervisor while it redirects connections."""
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
    """A directory that every user can write to, with the supervisor's modules."""
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
