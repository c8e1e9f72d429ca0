"""Other users of this machine cannot access a real desktop: pictures, keys, files, texts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from examples.streamspace_agent import DesktopAgent
from tests.hostile.strangers import NAMELESS, NOBODY, heard, require_root, run_as_nobody
from tests.x11.machine import (
    children,
    content,
    home_of,
    name_of,
    open_window,
    require_x11,
    until,
)
from vcloud.emulator import Emulator
from vcloud.emulator.x11 import X11Desktop, vnc
from vcloud.emulator.x11.backend import X11Backend
from vcloud.emulator.x11_vnc import VNCPort
from vcloud.providers.desktops import Desktop, Desktops
from vcloud.providers.streamspace import StreamSpace

GREETING = b"RFB 003.008\n"
#: A viewer's whole beginning, and a key that is pressed.
KEYS = GREETING + b"\1\1" + b"\4\1\0\0\0\0\0a"

#: Reads the arguments of all processes, again and again, until its input ends; tells what it saw.
LISTING = """
import os, select, sys
user, mark = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
seen = set()
print("ready", flush=True)
while not select.select([0], [], [], 0)[0]:
    for entry in os.listdir("/proc"):
        for name in ("cmdline", "environ", "comm", "status") if entry.isdigit() else ():
            try:
                with open(f"/proc/{entry}/{name}", "rb") as file:
                    if mark in file.read() and int(entry) != os.getpid():
                        seen.add(name)
            except OSError:
                pass
print(*sorted(seen), flush=True)
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where desktops have their directories: every user can get there, as to /tmp."""
    require_x11()
    require_root()
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    before = os.umask(0)
    yield path
    os.umask(before)
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Desktop]:
    async with (
        Emulator(backend="x11", allow_exec=True) as emulator,
        Desktops(emulator.endpoints()["desktops"]) as desktops,
        desktops.launch(timedelta(hours=1), poll=0.01) as desktop,
    ):
        yield desktop


# -- its VNC server --------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [NOBODY, NAMELESS])
@pytest.mark.parametrize("target", ["127.0.0.1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("source", ["", "127.0.0.2"])
async def test_its_vnc_port_sends_nothing_to_other_users(
    user: int, target: str, source: str
) -> None:
    """Also from another address with the port number of the owner's connection."""
    async with await X11Desktop.start() as desktop:
        host, port = await desktop.vnc_address()
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.readexactly(12) == GREETING
        mine = writer.get_extra_info("sockname")[1]
        prefix = target.removesuffix("127.0.0.1")
        bound = (prefix + source, mine) if source else None
        for leaves in (False, True):
            got = await asyncio.to_thread(
                heard, target, port, user=user, source=bound, says=KEYS, leaves=leaves
            )
            assert got == b""
        writer.close()


async def test_its_vnc_port_accepts_its_owner_s_programs_by_every_address() -> None:
    async with await X11Desktop.start() as desktop:
        _, port = await desktop.vnc_address()
        for target in ("127.0.0.1", "::ffff:127.0.0.1"):
            assert await asyncio.to_thread(heard, target, port, user=0) == GREETING


async def test_a_vnc_port_forwards_no_bytes_of_other_users(temporary: Path) -> None:
    """Observed at the server, which gets no connection."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(GREETING)
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, temporary / "vnc"):
        port = VNCPort(temporary / "vnc")
        host, number = await port.start()
        for leaves in (False, True, True):
            await asyncio.to_thread(heard, host, number, says=KEYS, leaves=leaves)
        assert connections == 0
        assert await asyncio.to_thread(heard, host, number, user=0) == GREETING
        await port.aclose()


async def test_a_vnc_port_bounds_its_connections(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vnc, "MOST_CONNECTIONS", 2)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(greet, temporary / "vnc"):
        port = VNCPort(temporary / "vnc")
        address = await port.start()
        taken = [await asyncio.open_connection(*address) for _ in range(2)]
        for reader, _ in taken:
            assert await reader.readexactly(12) == GREETING
        assert await asyncio.to_thread(heard, *address, user=0) == b""
        taken[0][1].close()
        assert await taken[0][0].read() == b""
        while await asyncio.to_thread(heard, *address, user=0) != GREETING:
            pass
        taken[1][1].close()
        await port.aclose()


def servers_of(desktop: X11Desktop) -> list[int]:
    """The X server's processes."""
    return [
        child
        for pid in children(os.getpid())
        for child in children(pid)
        if name_of(child).startswith(("Xvnc", "Xtigervnc"))
        and str(desktop.home.parent).encode() in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def inodes_of(pid: int) -> set[str]:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # The descriptor of this listing is closed when it is read.
        with contextlib.suppress(FileNotFoundError):
            links.append(str(entry.readlink()))
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def rows_of_tcp() -> list[list[str]]:
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    return [line.split() for table in tables for line in table.splitlines()[1:]]


async def test_its_x_server_has_no_tcp_port() -> None:
    async with await X11Desktop.start() as desktop:
        (server,) = servers_of(desktop)
        assert inodes_of(server), "it has sockets"
        assert inodes_of(server) & {row[9] for row in rows_of_tcp()} == set()


# -- its display -----------------------------------------------------------------------------------


def hello_as(user: int, address: bytes, name: bytes = b"", cookie: bytes = b"") -> int:
    """What an X server answers to a connection (X protocol, 8): 0 is refused, 1 is accepted."""
    program = """
import os, socket, sys
user = int(sys.argv[1])
os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
with socket.socket(socket.AF_UNIX) as own:
    own.settimeout(20)
    own.connect(bytes.fromhex(sys.argv[2]))
    own.sendall(bytes.fromhex(sys.argv[3]))
    print(own.recv(1)[0])
"""
    padded = b"".join(part + bytes(-len(part) % 4) for part in (name, cookie))
    numbers = (11, 0, len(name), len(cookie), 0)
    setup = b"l\0" + b"".join(number.to_bytes(2, "little") for number in numbers) + padded
    command = [sys.executable, "-I", "-S", "-c", program, str(user), address.hex(), setup.hex()]
    return int(subprocess.check_output(command, text=True, timeout=60))


@pytest.mark.parametrize("abstract", [False, True])
async def test_its_display_refuses_other_users_by_file_and_by_abstract_name(abstract: bool) -> None:
    """Everybody can connect to both sockets, so the cookie decides."""
    async with await X11Desktop.start() as desktop:
        path = b"\0" * abstract + f"/tmp/.X11-unix/X{desktop.display[1:]}".encode()
        cookie = (desktop.home.parent / "authority").read_bytes()[-16:]
        name = b"MIT-MAGIC-COOKIE-1"
        assert hello_as(NOBODY, path) == 0
        assert hello_as(NOBODY, path, name, bytes(16)) == 0
        assert hello_as(NOBODY, path, b"MIT-MAGIC-COOKIE-1", cookie) == 1, "the witness"


async def test_another_user_s_xdotool_and_scrot_have_no_display() -> None:
    async with await X11Desktop.start() as desktop:
        authority = str(desktop.home.parent / "authority")
        for program in (("xdotool", "getmouselocation"), ("scrot", "/tmp/never.png")):
            done = await asyncio.to_thread(
                run_as_nobody, *program, DISPLAY=desktop.display, XAUTHORITY=authority
            )
            assert done.returncode != 0
            assert "open" in done.stderr, done.stderr


# -- its files -------------------------------------------------------------------------------------


def open_to_others(directory: Path) -> set[str]:
    """What `nobody` can list, read or connect to in it."""
    found = set()
    for entry in [directory, *directory.rglob("*")]:
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode):
            command: tuple[str | Path, ...] = ("ls", entry)
        elif stat.S_ISSOCK(mode):
            command = ("test", "-w", entry)
        else:
            command = ("cat", entry)
        if run_as_nobody(*command).returncode == 0:
            found.add(entry.name)
    return found


async def test_another_user_cannot_read_its_directory(temporary: Path) -> None:
    """The cookie, screenshots, and files of its programs, although this user's umask is 0."""
    async with launched() as desktop:
        home = await home_of(desktop)
        await desktop.bash("echo secret > note")
        # A screenshot is a file for a moment. This one stays.
        await desktop.bash("scrot -q 100 ../tmp/screen.jpg")
        assert {"authority", "note", "screen.jpg", "server.log", "vnc"} <= {
            entry.name for entry in home.parent.rglob("*")
        }
        assert await asyncio.to_thread(open_to_others, home.parent) == set()
        assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(home.parent / "vnc"))
            assert own.recv(12) == GREETING, "the witness"


# -- what is typed and run on it -------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listing(mark: str) -> AsyncIterator[set[str]]:
    """Have `nobody` look for a text in /proc meanwhile; the set then says where it was."""
    seen: set[str] = set()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", LISTING, str(NOBODY), mark.encode().hex()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"ready\n"
    yield seen
    process.stdin.close()
    seen.update((await process.stdout.readline()).decode().split())
    await process.wait()


async def test_a_typed_text_is_in_no_list_of_processes() -> None:
    """It takes some seconds, while another user reads all arguments in /proc."""
    word = "correct-horse-battery"
    async with launched() as desktop:
        home = await home_of(desktop)
        await open_window(desktop, "xterm -e sh -c 'touch ready; cat > typed'", 200, 150)
        await until((home / "ready").exists)
        async with listing(word) as seen:
            await desktop.type(f"{word}\n")
        assert seen == set()
        await until(lambda: content(home / "typed") == f"{word}\n")


async def test_pressed_keys_are_in_no_list_of_processes() -> None:
    async with launched() as desktop:
        async with listing("F35") as seen:
            for _ in range(10):
                await desktop.press("F35")
        assert seen == set()


async def test_a_command_is_in_no_list_of_processes_but_its_own_programs() -> None:
    async with launched() as desktop:
        async with listing("a-secret-of-the-shell") as seen:
            await desktop.bash("secret=a-secret-of-the-shell; sleep 1; echo $secret")
        assert seen == set()
        async with listing("a-secret-of-nobody") as seen:
            await desktop.bash("bash -c 'sleep 1; true' a-secret-of-nobody")
        assert seen == {"cmdline"}, "the witness"


async def test_a_long_text_is_typed_whole_and_in_order() -> None:
    """It is sent in pieces. The service's own delay would take two minutes."""
    text = "".join(f"{number:04d}" for number in range(260))
    backend = X11Backend()
    await backend.start()
    try:
        desktop = backend.desktop
        await desktop.spawn("xterm", "-e", "sh", "-c", "touch ready; cat > typed")
        await until((desktop.home / "ready").exists)
        await backend.act("xdotool mousemove 200 150")
        await backend.act(f"xdotool type --clearmodifiers --delay 1 '{text}\n'")
        await until(lambda: content(desktop.home / "typed") == f"{text}\n")
    finally:
        await backend.aclose()


def listening() -> set[str]:
    """The local addresses in the kernel's tables at which this process takes connections."""
    own = inodes_of(os.getpid())
    return {row[1] for row in rows_of_tcp() if row[3] == "0A" and row[9] in own}


async def test_the_agent_of_the_client_opens_no_port_for_a_picture() -> None:
    """It names the Unix socket of the X server."""
    async with (
        Emulator(rate_limits=False) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
        DesktopAgent() as handler,
    ):
        before = listening()
        assert before, "the emulator's"
        async with client.serve_agent("x11-agent", platform="docker", handler=handler):
            session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
            session = await session.wait_until("running", poll=0.01)
            async with session.open_vnc() as tunnel:
                assert await tunnel.read() == GREETING
                assert listening() == before
            (desktop,) = handler.desktops.values()
            await desktop.vnc_address()
            assert len(listening()) == len(before) + 1, "the witness"


def test_the_former_module_of_the_port_still_works() -> None:
    assert VNCPort is vnc.VNCPort
