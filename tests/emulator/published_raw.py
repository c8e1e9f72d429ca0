"""Helpers for raw HTTP to the emulated published StreamSpace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any, Self, Unpack

import aiohttp
from attrs import define, field
from multidict import CIMultiDict
from yarl import URL

from vcloud.emulator import Clock, Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.emulator.streamspace.published.service import AddedSession, PublishedStreamSpace
from vcloud.emulator.streamspace.published.state import Session

PREFIX = "/api/v1"
PASSWORD = "Passw0rd!x"
HOST = "desktop-host"
"""An agent of the tests."""


@define
class Answer:
    """An answer; its body is decoded if it is JSON."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.json["error"]


@define
class Api:
    """A client that sends what it is told, with the administrator's login."""

    emu: Emulator
    http: aiohttp.ClientSession
    token: str = ""
    headers: dict[str, str] = field(factory=dict)

    @property
    def space(self) -> PublishedStreamSpace:
        return self.emu.published_streamspace

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | BytesIO | None = None,
        root: bool = False,
        extra: Mapping[str, str | None] | None = None,
        **headers: str | None,
    ) -> Answer:
        """Send a request; a header that is None is left out. In `headers`, `_` stands for `-`."""
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Accept-Encoding": "identity",
        }
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {
            name: value
            for name, value in {**sent, **given, **(extra or {})}.items()
            if value is not None
        }
        url = URL(f"{self.emu.url}{'' if root else PREFIX}{path}", encoded=True)
        data = json.dumps(body).encode() if raw is None and body is not None else raw
        async with self.http.request(
            method, url, data=data, headers=kept, allow_redirects=False
        ) as response:
            return Answer(response.status, CIMultiDict(response.headers), await response.read())

    async def login(self, username: str = ADMIN, password: str | None = None) -> Answer:
        known = self.emu.credentials.streamspace_password if password is None else password
        body = {"username": username, "password": known}
        return await self("POST", "/auth/login", body, Authorization=None)

    async def as_user(self, username: str) -> Self:
        """The same for another user, who is made if there is none."""
        if username not in self.space.users:
            self.space.add_user(username, PASSWORD)
        answer = await self.login(username, PASSWORD)
        return type(self)(self.emu, self.http, answer.json["token"])

    def session(self, state: str = "running", **given: Unpack[AddedSession]) -> Session:
        return self.space.add_session(state=state, **given)

    async def as_agent(
        self, method: str, path: str, body: object = None, key: str | None = None
    ) -> Answer:
        """Send what an agent sends, with its key or the installation's."""
        found = self.emu.credentials.streamspace_bootstrap_key if key is None else key
        headers = {"Authorization": None, "X-Agent-API-Key": found}
        return await self(method, path, body, extra=headers)

    async def register(self, agent_id: str = HOST, **given: object) -> Answer:
        body = {"agentId": agent_id, "platform": "kubernetes", **given}
        return await self.as_agent("POST", "/agents/register", body)


@asynccontextmanager
async def published(clock: Clock | None = None, **options: Any) -> AsyncIterator[Api]:
    """An emulator of the published StreamSpace, and a client that has logged in."""
    async with (
        Emulator(streamspace="published", clock=clock or Clock.stopped(), **options) as emu,
        aiohttp.ClientSession() as http,
    ):
        api = Api(emu, http)
        username = emu.credentials.streamspace_username
        api.token = (await api.login(username)).json["token"]
        yield api
