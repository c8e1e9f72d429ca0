"""Helpers for real desktops: what the machine needs, and how to inspect it."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.lacking import untested
from vcloud.emulator.x11 import missing
from vcloud.providers.desktops import DesktopRef, GetCursorPosition

PROGRAMS = {"xterm": "xterm", "xev": "x11-utils", "mousepad": "mousepad"}


def require_x11() -> None:
    """Skip if a program is missing; in CI, fail."""
    lacking = missing() + [
        f"the program {name} (Debian: apt-get install {package})"
        for name, package in PROGRAMS.items()
        if not shutil.which(name)
    ]
    if not lacking:
        return
    reason = f"REAL DESKTOPS ARE NOT TESTED: there is not {', nor '.join(lacking)}"
    untested(reason)


async def until(check: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for an effect; the test's own timeout ends the wait."""
    while True:
        found = check()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.01)


def processes(*marks: str) -> list[int]:
    """Those with one of these in their arguments or their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if any(mark.encode() in text for mark in marks):
            found.append(int(entry.name))
    return found


def entries(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def display_of(directory: Path) -> str:
    """The display of the desktop with this directory: the first in its file of cookies."""
    record = (directory / "authority").read_bytes()
    (length,) = struct.unpack_from(">H", record, 2)
    (digits,) = struct.unpack_from(">H", record, 4 + length)
    return f":{record[6 + length : 6 + length + digits].decode()}"


def has_socket(display: str) -> bool:
    return socket_of(display) is not None


def socket_of(display: str) -> tuple[int, int] | None:
    """Which socket a display has; None: none. A free display's number is soon another desktop's."""
    try:
        found = Path(f"/tmp/.X11-unix/X{display[1:]}").stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    """The name of a process's program; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def home_of(desktop: DesktopRef) -> Path:
    return Path((await desktop.bash("pwd")).strip())


def content(file: Path) -> str:
    """What a program has written so far; "" before it has begun."""
    return file.read_text() if file.exists() else ""


async def window_under_pointer(desktop: DesktopRef) -> int:
    output = (await desktop.perform(GetCursorPosition())).output or ""
    return int(dict(line.split("=") for line in output.splitlines())["WINDOW"])


async def open_window(desktop: DesktopRef, command: str, x: int, y: int) -> None:
    """Start a program in the background and wait until its window is under the pointer."""
    await desktop.move(1023, 767)
    root = await window_under_pointer(desktop)
    await desktop.bash(f"{command} &")
    await desktop.move(x, y)

    async def there() -> bool:
        return await window_under_pointer(desktop) != root

    await until(there)
