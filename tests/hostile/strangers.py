"""Other users of this machine, as real processes with real uids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.lacking import untested

#: Debian's `nobody`, and a user who has no name at all.
NOBODY: Final = 65534
NAMELESS: Final = 65533

#: Starts as root, because others may not even be allowed to execute this Python, and gives that up.
_CONNECT: Final = """
import os, socket, sys
user, host, port, source, says, leaves = sys.argv[1:]
os.setgroups([]); os.setresgid(*[int(user)] * 3); os.setresuid(*[int(user)] * 3)
with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as own:
    own.settimeout(20)
    if source:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        address, _, number = source.rpartition(" ")
        own.bind((address, int(number)))
    own.connect((host, int(port)))
    try:
        if says:
            own.sendall(bytes.fromhex(says))
        got = b"" if leaves else own.recv(64)
    except ConnectionError:
        got = b""
sys.stdout.write(got.hex())
"""


def require_root() -> None:
    """Skip if tests cannot run as another user; fail in CI, where they can."""
    lacking = [] if os.getuid() == 0 else ["this user is not root"]
    if not shutil.which("setpriv"):
        lacking.append("there is no setpriv (Debian: apt-get install util-linux)")
    if not lacking:
        return
    reason = f"OTHER USERS ARE NOT TESTED: {', and '.join(lacking)}"
    untested(reason)


def heard(
    host: str,
    port: int,
    *,
    user: int = NOBODY,
    source: tuple[str, int] | None = None,
    says: bytes = b"",
    leaves: bool = False,
) -> bytes:
    """What another user hears first at a TCP port; nothing where it is hung up on.

    Args:
        host: an IP address.
        port: the server's.
        user: who connects.
        source: the address and port to come from.
        says: is sent at once.
        leaves: close without waiting for an answer.
    """
    bound = "" if source is None else f"{source[0]} {source[1]}"
    arguments = (str(user), host, str(port), bound, says.hex(), "yes" * leaves)
    command = [sys.executable, "-I", "-S", "-c", _CONNECT, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return bytes.fromhex(done.stdout)


def run_as_nobody(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the system as `nobody`, with nothing of our environment."""
    rights = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return subprocess.run(
        ["setpriv", *rights, *map(str, command)],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd="/",
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
