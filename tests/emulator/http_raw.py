"""Helpers for raw HTTP: a connection, and the parts of a request in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define

from tests.seeded import API_KEY
from vcloud.emulator import Emulator

BODY = b'{"timeout_ms": 3600000}'
LAUNCH = b"POST /v1/desktop HTTP/1.1\r\nHost: localhost\r\nx-api-key: %b\r\n" % API_KEY.encode()
TYPED = LAUNCH + b"Content-Type: application/json\r\n"
SIZED = TYPED + b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = TYPED + b"Transfer-Encoding: chunked\r\n"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
EXPECTING = b"Expect: 100-continue\r\n"
END = b"\r\n"


@define
class Wire:
    """A connection, and how to read answers from it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, *parts: bytes, end: bool = False) -> None:
        self.writer.write(b"".join(parts))
        if end:
            self.writer.write_eof()

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def status(self) -> int:
        """The status of the next answer, whose body is read too."""
        status, _, _ = await self.answer()
        return status

    async def answer(self) -> tuple[int, bytes, bytes]:
        head = await self.head()
        _, _, length = head.lower().partition(b"content-length: ")
        size = int(length.partition(b"\r\n")[0]) if length else 0
        return int(head.split()[1]), head, await self.reader.readexactly(size)

    async def is_over(self) -> bool:
        return not await self.reader.read()


@asynccontextmanager
async def wired(emu: Emulator) -> AsyncIterator[Wire]:
    host, port = emu.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def fates(emu: Emulator) -> list[tuple[int | None, bool]]:
    return [(call.status, call.processed) for call in emu.calls]
