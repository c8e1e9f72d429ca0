"""A real redis-server, which tests stop, kill and start again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import ConnectionError as RedisConnectionError
from redis import Redis

from tests.lacking import untested


class RedisServer:
    """A server of our own, in a socket file of our own. It keeps nothing when it ends.

    Args:
        program: its path.
        folder: where its socket is.
        more: settings besides those that it always has.
    """

    def __init__(self, program: str, folder: Path, more: Mapping[str, str] = {}) -> None:
        self.socket = folder / "redis.sock"
        self.address = f"unix://{self.socket}"
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "save": "",
            "appendonly": "no",
            "dir": str(folder),
            **more,
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
        while not self._answers():
            assert self._process.poll() is None
            time.sleep(0.01)

    def _answers(self) -> bool:
        # The file is there before the server listens.
        try:
            with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except RedisConnectionError:
            return False

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

    def in_line(self) -> list[int]:
        """How many requests wait, as each of the processes said; the least first."""
        with Redis(unix_socket_path=str(self.socket), decode_responses=True) as client:
            [key] = client.keys("vcloud:*:line")
            records = client.hgetall(key)
        del records["=clock"]
        return sorted(int(record.split()[2]) for record in records.values())


@contextmanager
def redis_server(folder: Path, more: Mapping[str, str] = {}) -> Iterator[RedisServer]:
    """Run one; without the program the test is skipped, or fails in CI."""
    program = shutil.which("redis-server")
    if program is None:
        reason = (
            "SHARED BUDGETS ARE NOT TESTED WITH REDIS: "
            "there is no redis-server (Debian: apt-get install redis-server)"
        )
        untested(reason)
    server = RedisServer(program, folder, more)
    server.start()
    try:
        yield server
    finally:
        server.kill()
