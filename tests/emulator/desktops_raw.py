"""Helpers for the desktop-action API over its socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from attrs import frozen
from yarl import URL

from tests.seeded import API_KEY
from vcloud.emulator.desktops import Desktop

START = 1_770_000_000.0
NOBODY = "00000000-0000-4000-8000-000000000000"
KEY = {"x-api-key": API_KEY}
JSON = {**KEY, "Content-Type": "application/json"}


def seen(seeded: Desktop) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.data)) for event in seeded.events]


@frozen
class Answer:
    status: int
    content_type: str
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@frozen
class Raw:
    url: str
    http: aiohttp.ClientSession

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] = JSON,
        raw: bytes | None = None,
    ) -> Answer:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        skip = [] if "Content-Type" in headers else ["Content-Type"]
        url = URL(self.url + path, encoded=True)
        async with self.http.request(
            method, url, data=data, headers=headers, skip_auto_headers=skip
        ) as response:
            return Answer(response.status, response.content_type, await response.text())
