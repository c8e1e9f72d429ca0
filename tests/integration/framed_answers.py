"""Answers of HTTP/1.1, byte by byte, and a client that gets them."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from tests.integration.raw_http import head
from vcloud import (
    Endpoint,
    HMACAuth,
    RetryPolicy,
    VagonComputers,
)

AUTH = HMACAuth("ak", "sk")
DONE = b'{"client_code":200,"message":"OK"}'
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def computers(url: str, *, attempts: int = 1, **settings: Any) -> VagonComputers:
    return VagonComputers(
        Endpoint(url, auth=AUTH, retry=RetryPolicy(attempts=attempts, base=0), **settings)
    )


def _chunked(body: bytes, size: int = 50_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def framed(body: bytes, how: str, status: bytes = b"200 OK") -> bytes:
    start = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n"
    sent = (
        gzip.compress(body) if "gzip" in how else zlib.compress(body) if "deflate" in how else body
    )
    start += (
        b"Content-Encoding: gzip\r\n"
        if "gzip" in how
        else b"Content-Encoding: deflate\r\n"
        if "deflate" in how
        else b""
    )
    if "chunked" in how:
        return start + b"Transfer-Encoding: chunked\r\n\r\n" + _chunked(sent)
    return start + b"Content-Length: %d\r\n\r\n" % len(sent) + sent


def always(answer: bytes, connections: list[int]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        while True:
            await head(reader)
            connections[-1] += 1
            writer.write(answer)
            await writer.drain()

    return handler
