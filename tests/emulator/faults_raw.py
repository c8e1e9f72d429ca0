"""Helpers for faults: a caller that signs by hand and sees every byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import frozen
from yarl import URL

from tests.emulator.computers_raw import PREFIX, authorization
from tests.seeded import API_KEY, SEED
from vcloud.emulator import Emulator

MACHINES = f"{PREFIX}/machines"
DESKTOP = "/v1/desktop"
Head = dict[str, str]


@frozen
class Answer:
    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Caller:
    emu: Emulator
    http: aiohttp.ClientSession

    async def ask(self, method: str, target: str, **more: Any) -> Answer:
        url = URL(self.emu.url + target, encoded=True)
        async with self.http.request(method, url, allow_redirects=False, **more) as response:
            return Answer(response.status, await response.read(), response.headers.copy())

    async def launch(self, **headers: str) -> Answer:
        return await self.ask("POST", DESKTOP, headers={"x-api-key": API_KEY, **headers})

    async def machines(self, query: str = "", **headers: str) -> Answer:
        return await self.ask(
            "GET",
            f"{MACHINES}?{query}",
            headers={"Authorization": authorization("GET", MACHINES), **headers},
        )

    async def admin(self, method: str, route: str, body: object = None) -> Answer:
        more = {} if body is None else {"json": body}
        return await self.ask(method, f"/_emulator{route}", **more)

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[asyncio.StreamReader]:
        """A launch whose answer is read byte by byte."""
        url = URL(self.emu.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            f"POST {DESKTOP} HTTP/1.1\r\nHost: localhost\r\n"
            f"x-api-key: {API_KEY}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        try:
            yield reader
        finally:
            writer.close()

    @property
    def last(self) -> tuple[int | None, bool, str | None]:
        call = self.emu.calls[-1]
        return call.status, call.processed, call.fault


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Caller]:
    async with (
        Emulator(**{"seed": SEED, **options}) as emu,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        yield Caller(emu, http)


async def until(holds: Callable[[], object]) -> None:
    """Wait for something that must happen; pytest's own time limit ends the wait."""
    while not holds():  # noqa: ASYNC110 - what is looked at wakes nobody
        await asyncio.sleep(0.002)
