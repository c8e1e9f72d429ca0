"""Limits of this process and this machine: file descriptors and local ports.

Whoever runs into one must wait until something is closed: trying again at once meets it again.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

_MEMORY: Final = (
    "this machine has no memory left for sockets",
    "close connections, or raise the limit (sysctl net.ipv4.tcp_mem)",
)
#: Each limit that a connection may run into: its name, and what to do about it.
LIMITS: Final = {
    errno.EMFILE: (
        "this process has no file descriptor left",
        "close what it holds open, raise its limit (`ulimit -n`), or lower Endpoint(concurrency=)",
    ),
    errno.ENFILE: (
        "this machine has no file descriptor left",
        "close what its programs hold open, or raise the limit (sysctl fs.file-max)",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine has no local port left for that address",
        "lower Endpoint(concurrency=), or raise sysctl net.ipv4.ip_local_port_range",
    ),
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}


def limit_reached(error: BaseException) -> int | None:
    """The number of the limit that an error is about; None: it is about something else.

    Args:
        error: the operating system's, or one of ``getaddrinfo``'s. libc calls a name unknown, or
            its servers silent, when it lacks a descriptor to look: then one is asked for here.
    """
    if isinstance(error, socket.gaierror):
        return _no_descriptor()
    if isinstance(error, OSError) and error.errno in LIMITS:
        return error.errno
    return None


def _no_descriptor() -> int | None:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno if error.errno in (errno.EMFILE, errno.ENFILE) else None
    return None
