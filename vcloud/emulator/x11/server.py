"""The X server of a desktop: its command line and its cookie. Only the standard library."""

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
        # In containers, the user may have no name.
        return str(os.getuid())


def authority(cookie: bytes, display: bytes) -> bytes:
    """An entry of an .Xauthority file: big-endian lengths, whatever the machine."""
    parts = (socket.gethostname().encode(), display, b"MIT-MAGIC-COOKIE-1", cookie)
    return struct.pack(">H", _FAMILY_LOCAL) + b"".join(
        struct.pack(">H", len(part)) + part for part in parts
    )


def arguments(program: str, directory: Path, number_writer: int, size: str) -> list[str]:
    """Its command line; it writes its display's number to the descriptor `number_writer`."""
    return [
        *(program, "-displayfd", str(number_writer), "-auth", str(directory / "authority")),
        *("-geometry", size, "-depth", "24", "-desktop", "vcloud"),
        # No password: other users of the machine cannot reach a socket in this directory.
        *("-rfbport", "-1", "-rfbunixpath", str(directory / "vnc"), "-rfbunixmode", str(0o600)),
        *("-SecurityTypes", "None", "-AlwaysShared", "-nolisten", "tcp"),
        *("-noreset", "-s", "0", "-br"),
    ]


def number(number_reader: int, control: socket.socket) -> str:
    """Wait for the display's number; "" if the server does not start, or `control` closes."""
    text = b""
    ends = time.monotonic() + START_LIMIT
    with selectors.DefaultSelector() as waiting:
        waiting.register(number_reader, selectors.EVENT_READ)
        # The emulator may end before the server has started.
        waiting.register(control, selectors.EVENT_READ)
        while b"\n" not in text:
            ready = [key.fileobj for key, _ in waiting.select(max(0.0, ends - time.monotonic()))]
            if number_reader not in ready:
                return ""
            more = os.read(number_reader, 64)
            if not more:
                return ""
            text += more
    return text.decode().strip()
