"""Peers that do not answer: name servers, listeners, TLS servers and proxies."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from vcloud.emulator import Emulator


class Resolver:
    """Replaces ``getaddrinfo``: names below ``.example`` are this machine, once it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: Any, port: Any, *others: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return self._ask(host, port, *others, **options)
        self.asked.append(host)
        assert self.answers.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@contextlib.asynccontextmanager
async def full() -> AsyncIterator[int]:
    """The port of a server with a full backlog, which does not answer a SYN."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(4):
            caller = opened.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        while True:
            probe = opened.enter_context(socket.socket())
            probe.settimeout(0.3)
            try:
                probe.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


@contextlib.asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """The port of a server that accepts connections and sends nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def silence(what: str) -> AsyncIterator[tuple[str, dict[str, Any], str]]:
    """An address where no connection is made, options for it, and the text of the error."""
    if what == "a name":
        yield (
            "http://slow.example:1",
            {"allow_http": True},
            "the name slow.example was not resolved",
        )
    elif what == "a SYN":
        async with full() as port:
            yield f"http://127.0.0.1:{port}", {}, f"no connection to 127.0.0.1:{port} was made"
    elif what == "TLS":
        async with mute() as port:
            yield f"https://127.0.0.1:{port}", {}, f"no connection to 127.0.0.1:{port} was made"
    else:
        async with mute() as port:
            options = {"proxy": f"http://127.0.0.1:{port}"}
            yield "https://far.test", options, "no connection to far.test:443 by way of the proxy"


def desktops_url(emulator: Emulator) -> str:
    url = emulator.endpoints()["desktops"].base_url
    assert url is not None
    return url
