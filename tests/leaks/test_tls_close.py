"""No part of a TLS connection is left when the client is closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from tests.secrets.tls import client_context, server_context
from vcloud import Endpoint, HMACAuth, VagonComputers

LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]
BODY = b'{"client_code":200,"permission_fields":[]}'
LAST = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


@contextlib.contextmanager
def answering_once() -> Iterator[int]:
    """A server that sends its last answer on a connection and never answers a close_notify."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        plain, _ = listener.accept()
        with server_context("127.0.0.1").wrap_socket(plain, server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(LAST)
            over.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_closing_tls_connection_has_ended_when_the_client_is_closed(
    loop: str,
) -> None:
    async def main(port: int) -> None:
        endpoint = Endpoint(
            f"https://127.0.0.1:{port}/v1", auth=HMACAuth("ak", "sk"), ssl=client_context()
        )
        async with VagonComputers(endpoint) as client:
            await client.machines.permission_fields()

    with warnings.catch_warnings(record=True) as warned, answering_once() as port:
        warnings.simplefilter("always")
        factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main(port))
        gc.collect()
    assert [str(one.message) for one in warned] == []
