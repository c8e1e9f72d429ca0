"""A service in threads whose kept connections are controlled by a test.

It goes on while the test's event loop is blocked. What a test asks it to do is done when the call
returns, so the loop has no time to notice before the test uses the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from tests.secrets.tls import client_context
from vcloud import Endpoint, HMACAuth, RetryPolicy, VagonComputers

#: Seconds after which a test fails.
LONG: Final = 30.0
LATE: Final = b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

ONCE: Final = RetryPolicy(attempts=1)
TWICE: Final = RetryPolicy(attempts=2, base=0.0)

Act = Callable[[socket.socket], object]


def answer(id: str) -> bytes:
    """The answer for the machine with this id: its data, or that it was started."""
    body = msgspec.json.encode({"id": id, "type": "machine", "attributes": {}, "client_code": 200})
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % len(body)).encode() + body


def finish(connection: socket.socket) -> None:
    """End a connection as servers do: over TLS, with a close_notify."""
    if isinstance(connection, ssl.SSLSocket):
        connection.setblocking(False)
        with contextlib.suppress(ssl.SSLError, OSError):
            connection.unwrap()
    connection.close()


def end(connection: socket.socket) -> None:
    """End the TCP connection only."""
    connection.close()


def half_close(connection: socket.socket) -> None:
    """End the sending direction, and go on reading."""
    connection.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket) -> None:
    """End with an RST, as a killed program does, or a load balancer without that connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def speak(connection: socket.socket) -> None:
    """Send unsolicited data, and stay connected."""
    connection.sendall(LATE)


class Conversation(threading.Thread):
    """The service's end of one connection."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        super().__init__(daemon=True)
        self._connection, self._context = connection, context
        self._acts: queue.SimpleQueue[tuple[Act, threading.Event]] = queue.SimpleQueue()
        self._wakes, self._wake = socket.socketpair()
        #: The request lines, without the version.
        self.requests: list[str] = []
        #: False: it reads and answers nothing, as if a router had dropped the connection.
        self.answers = True
        #: True: it ends the connection when a request comes, without an answer.
        self.drops = False
        #: Clear it to delay the answers.
        self.may_answer = threading.Event()
        self.may_answer.set()
        #: Set when the client has ended the connection.
        self.ended = threading.Event()

    def do(self, act: Act) -> None:
        """Let the connection's thread do this, and wait until it is done."""
        done = threading.Event()
        self._acts.put((act, done))
        self._wake.send(b".")
        assert done.wait(LONG)

    def run(self) -> None:
        with self._wake, self._wakes, contextlib.suppress(OSError):
            try:
                if self._context is not None:
                    self._connection = self._context.wrap_socket(self._connection, server_side=True)
                self._converse()
            finally:
                self.ended.set()
                self._connection.close()
                while not self._acts.empty():
                    self._acts.get()[1].set()

    def _converse(self) -> None:
        held = b""
        while True:
            readable, _, _ = select.select([self._connection, self._wakes], [], [])
            if self._wakes in readable:
                self._wakes.recv(1)
                act, done = self._acts.get()
                act(self._connection)
                done.set()
                if self._connection.fileno() < 0:
                    return
                continue
            data = self._connection.recv(65536)
            if not data:
                return
            held = self._reply(held + data)

    def _reply(self, held: bytes) -> bytes:
        """Answer a complete request; return the bytes after it."""
        head, whole, rest = held.partition(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        sizes = [int(field[15:]) for field in fields if field.startswith(b"content-length:")]
        if not whole or len(rest) < sum(sizes):
            return held
        method, path, _ = head.split(b" ", 2)
        id = path.decode().split("/")[3]
        self.requests.append(f"{method.decode()} {id}")
        if self.drops:
            raise ConnectionResetError
        self.may_answer.wait(LONG)
        if self.answers:
            self._connection.sendall(answer(id))
        return rest[sum(sizes) :]


@contextlib.contextmanager
def accepting(thread: threading.Thread, listener: socket.socket) -> Iterator[None]:
    """Accept connections in this thread until the end of the block."""
    thread.start()
    try:
        yield
    finally:
        # Closing alone does not end a thread in accept.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(LONG)


class Service:
    """Answers requests for any machine, on any number of connections."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        #: In the order in which they were made.
        self.conversations: list[Conversation] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(connection, self._context)
            self.conversations.append(conversation)
            conversation.start()

    @property
    def requests(self) -> list[list[str]]:
        """The requests of each connection."""
        return [one.requests for one in self.conversations]

    def each(self, act: Act) -> None:
        """Do this on each connection."""
        for one in self.conversations:
            one.do(act)

    def endpoint(self, context: ssl.SSLContext | None = None, **options: Any) -> Endpoint:
        """The endpoint of a client of Vagon Computers."""
        scheme = "http" if self._context is None else "https"
        address = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        if context is not None:
            options["ssl"] = context
        return Endpoint(address, auth=HMACAuth("ak", "sk"), **options)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Service]:
        """Serve until the end of the block. All its threads end with it."""
        try:
            with accepting(self._thread, self._listener):
                yield self
        finally:
            for one in self.conversations:
                one.may_answer.set()
                if not one.ended.is_set():
                    with contextlib.suppress(OSError):
                        one.do(end)
                one.join(LONG)


class Proxy:
    """A proxy that opens tunnels (``CONNECT``), in threads."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: One for each tunnel. It ends with either side.
        self.tunnels: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            tunnel = threading.Thread(target=self._carry, args=(connection,), daemon=True)
            self.tunnels.append(tunnel)
            tunnel.start()

    def _carry(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        with client, socket.create_connection((host, int(port))) as target:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = {client: target, target: client}
            while True:
                for one in select.select([client, target], [], [])[0]:
                    try:
                        data = one.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    other[one].sendall(data)

    @contextlib.contextmanager
    def serving(self) -> Iterator[Proxy]:
        """Serve until the end of the block."""
        try:
            with accepting(self._thread, self._listener):
                yield self
        finally:
            for tunnel in self.tunnels:
                tunnel.join(LONG)


def at(service: Service, **options: Any) -> Endpoint:
    """The endpoint of a client that trusts the service's authority."""
    return service.endpoint(client_context(), **{"retry": ONCE, **options})


async def warmed(computers: VagonComputers, count: int) -> None:
    """Make so many connections, which are idle afterwards."""
    machines = [computers.machines.ref(f"warm{number}") for number in range(count)]
    await asyncio.gather(*(machine.refresh() for machine in machines))


async def start(computers: VagonComputers, id: str, *, body: bool = True) -> None:
    """Send a request that must not be repeated, with a body or without."""
    await computers.machines.ref(id).start(region="dublin" if body else None)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.001)
