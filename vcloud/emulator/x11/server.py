"""The X server of a desktop: how it is called, and its cookie; nothing but the standard library."""

from __future__ import annotations

import os
import pwd
import selectors
import socket
import struct
import time
from pathlib import Path

START_LIMIT = 10.0
"""Seconds that it may take to start."""
_FAMILY_LOCAL = 256


def user() -> str:
    """The name of this user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # Containers run as anybody.
        return str(os.getuid())


def authority(cookie: bytes, display: bytes) -> bytes:
    """An entry of an .Xauthority file: big-endian lengths, whatever the machine."""
    parts = (socket.gethostname().encode(), display, b"MIT-MAGIC-COOKIE-1", cookie)
    return struct.pack(">H", _FAMILY_LOCAL) + b"".join(
        struct.pack(">H", len(part)) + part for part in parts
    )


def arguments(program: str, directory: Path, tell: int, size: str) -> list[str]:
    """Its command line: it tells its display's number on the descriptor `tell`."""
    return [
        *(program, "-displayfd", str(tell), "-auth", str(directory / "authority")),
        *("-geometry", size, "-depth", "24", "-desktop", "vcloud"),
        # A socket in a directory of our own needs no password: other users of the machine cannot reach it.
        *("-rfbport", "-1", "-rfbunixpath", str(directory / "vnc"), "-rfbunixmode", str(0o600)),
        *("-SecurityTypes", "None", "-AlwaysShared", "-nolisten", "tcp"),
        *("-noreset", "-s", "0", "-br"),
    ]


def number(told: int, control: socket.socket) -> str:
    """Wait for the number that it tells; empty if it does not start, or `control` closes."""
    text = b""
    ends = time.monotonic() + START_LIMIT
    with selectors.DefaultSelector() as waiting:
        waiting.register(told, selectors.EVENT_READ)
        # Whoever started this may be gone before the display is there.
        waiting.register(control, selectors.EVENT_READ)
        while b"\n" not in text:
            ready = [key.fileobj for key, _ in waiting.select(max(0.0, ends - time.monotonic()))]
            if told not in ready:
                return ""
            more = os.read(told, 64)
            if not more:
                return ""
            text += more
    return text.decode().strip()
