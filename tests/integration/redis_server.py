"""A real redis-server, which tests pause, kill and start again."""

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
    """A server with a socket file of its own. It keeps no data when it ends.

    Args:
        program: the path of redis-server.
        folder: the folder of its socket file.
        more: further settings.
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
        """Start it, and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while not self._answers():
            assert self._process.poll() is None
            time.sleep(0.01)

    def _answers(self) -> bool:
        # The file exists before the server listens.
        try:
            with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except RedisConnectionError:
            return False

    def kill(self) -> None:
        """End it without a shutdown, like a crash."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Let it accept connections without answering."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def connections(self) -> set[str]:
        """The ids of its clients, without the one that asks."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            me = str(client.client_id())
            return {entry["id"] for entry in client.client_list()} - {me}

    def counted(self) -> int:
        """How many requests it has counted for all limits."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            return sum(int(client.llen(key)) for key in client.keys("vcloud:*:requests"))

    def waiting(self) -> list[int]:
        """How many requests of each process wait, in ascending order."""
        with Redis(unix_socket_path=str(self.socket), decode_responses=True) as client:
            [key] = client.keys("vcloud:*:line")
            records = client.hgetall(key)
        del records["=clock"]
        return sorted(int(record.split()[2]) for record in records.values())


@contextmanager
def redis_server(folder: Path, more: Mapping[str, str] = {}) -> Iterator[RedisServer]:
    """Run a server. Without the program the test is skipped, or fails in CI."""
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
