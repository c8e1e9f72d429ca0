"""A real redis-server, which tests stop, kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis


class RedisServer:
    """A server of our own, in a socket file of our own. It keeps nothing when it ends.

    Args:
        program: its path.
        folder: where its socket is.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.address = f"unix://{self.socket}"
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "save": "",
            "appendonly": "no",
            "dir": str(folder),
        }
        self._command = [
            program,
            *[word for name, value in settings.items() for word in (f"--{name}", value)],
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return as soon as it answers."""
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while not self.socket.exists():
            assert self._process.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it accept connections, and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def connections(self) -> set[str]:
        """What the server knows of its clients, without the one who asks: an id for each."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            me = str(client.client_id())
            return {entry["id"] for entry in client.client_list()} - {me}

    def counted(self) -> int:
        """How many requests are counted under all limits."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            return sum(int(client.llen(key)) for key in client.keys("vcloud:*:requests"))


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Run one; without the program the test is skipped, or fails in CI."""
    program = shutil.which("redis-server")
    if program is None:
        reason = (
            "SHARED BUDGETS ARE NOT TESTED WITH REDIS: "
            "there is no redis-server (Debian: apt-get install redis-server)"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = RedisServer(program, folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
