"""Helpers for the Computers API over its socket: requests that are signed here by hand."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from attrs import frozen
from yarl import URL

from tests.seeded import KEY, SECRET
from vcloud.emulator import Emulator

PREFIX = "/organization-management/v1"
START = 1_770_000_000.0
NONCES = (f"nonce-{number}" for number in itertools.count())


@frozen
class Answer:
    status: int
    body: dict[str, Any]
    headers: Any

    @property
    def code(self) -> Any:
        return self.body["client_code"]


def authorization(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str = KEY,
    secret: str = SECRET,
    nonce: str = "",
    at: float | None = None,
) -> str:
    nonce = nonce or next(NONCES)
    timestamp = int((time.time() if at is None else at) * 1000)
    text = f"{key}{method}{path}{timestamp}{nonce}".encode() + body
    signature = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return f"HMAC {key}:{signature}:{nonce}:{timestamp}"


@frozen
class Api:
    emu: Emulator
    http: aiohttp.ClientSession

    async def send(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        url = URL(self.emu.url + target, encoded=True)
        async with self.http.request(method, url, data=body or None, headers=headers) as response:
            return Answer(response.status, await response.json(), response.headers.copy())

    async def __call__(self, method: str, route: str, body: object = None) -> Answer:
        raw = b"" if body is None else json.dumps(body).encode()
        auth = authorization(method, (PREFIX + route).partition("?")[0], raw)
        headers = {"Authorization": auth, "Content-Type": "application/json"}
        return await self.send(method, PREFIX + route, raw, headers)

    async def attribute(self, name: str, machine: str = "100") -> Any:
        return (await self("GET", f"/machines/{machine}")).body["attributes"][name]

    async def status(self, machine: str = "100") -> Any:
        return await self.attribute("friendly_status", machine)


MACHINES = f"{PREFIX}/machines"
