"""A certificate authority made for the test, and a relay that puts TLS before the emulator."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import trustme

#: The name of its tasks.
RELAY = "relay"


@cache
def authority() -> trustme.CA:
    """One for all tests: making keys takes longer than anything else here."""
    return trustme.CA()


@cache
def _leaf(*names: str) -> trustme.LeafCert:
    return authority().issue_cert(*names)


def server_context(*names: str, client_ca: trustme.CA | None = None) -> ssl.SSLContext:
    """A server's context for these names; with ``client_ca`` it requires a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _leaf(*names).configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(*, certificate: str | None = None) -> ssl.SSLContext:
    """A client's that trusts the authority, and shows a certificate of its own if it has a name."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if certificate is not None:
        _leaf(certificate).configure_cert(context)
    return context


def write_authority(path: Path) -> Path:
    """The authority's certificate as a file."""
    authority().cert_pem.write_to_path(str(path))
    return path


@contextlib.asynccontextmanager
async def before(url: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Terminate TLS before ``url`` (without a path), and yield where."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    tasks: set[asyncio.Task[None]] = set()
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        ways = [
            asyncio.create_task(carry(*way), name=RELAY)
            for way in ((reader, far_writer), (far_reader, writer))
        ]
        carrying.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)
        carrying.difference_update(ways)
        for one in (writer, far_writer):
            one.transport.abort()
        for one in (writer, far_writer):
            with contextlib.suppress(OSError):
                await one.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer), name=RELAY)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        # Whoever is just connecting cannot be cancelled without losing the connection.
        while tasks:
            for way in carrying:
                way.cancel()
            await asyncio.wait(tasks, timeout=0.05)
        await server.wait_closed()
