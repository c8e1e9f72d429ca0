"""A service that answers by path, and clients of it that know nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from tests.seeded import ADMIN_PASSWORD
from vcloud import (
    BearerAuth,
    RetryPolicy,
)
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.dialect import DialectName
from vcloud.providers.streamspace import StreamSpace

API = "/api/v1"
KINDS: tuple[DialectName, ...] = ("documented", "published")
HTML = (200, "<!doctype html><title>Log in</title>")
VERSION = (200, {"api": "v1", "phase": "2.2", "version": "v0.1.0"})
SETUP = (200, {"setupRequired": False, "adminExists": True, "hasPassword": True, "message": "m"})
MISSING = (404, "404 page not found")
REDIRECT = (302, "")
WRONG: dict[str, Any] = {"near": "publish", "number": 2, "keyword": {"dialct": "published"}}


def paths(emulator: Emulator) -> list[str]:
    return [call.path for call in emulator.calls]


def login() -> BearerAuth:
    return BearerAuth.login(ADMIN, ADMIN_PASSWORD)


@define
class Service:
    """Answers by path, and keeps what it was asked and with which credentials."""

    answers: dict[str, tuple[int, Any]]
    url: str = ""
    asked: list[str] = field(factory=list)
    credentials: list[str | None] = field(factory=list)
    gate: asyncio.Event = field(factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.credentials.append(request.headers.get("Authorization"))
        await self.gate.wait()
        status, body = self.answers.get(request.path, MISSING)
        headers = {"Location": "https://login.example.com/?next=x"} if status == 302 else None
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html", headers=headers)
        return web.json_response(body, status=status)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    runners: list[web.AppRunner] = []

    async def start(answers: dict[str, tuple[int, Any]], *, open: bool = True) -> Service:
        service = Service(answers)
        if open:
            service.gate.set()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", service.handle)
        runners.append(runner := web.AppRunner(app, access_log=None, shutdown_timeout=0.1))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return service

    yield start
    for runner in runners:
        await runner.cleanup()


def client(url: str, **given: Any) -> StreamSpace:
    plain = {"auth": BearerAuth("tok-canary"), "retry": RetryPolicy(base=0.001)}
    options: dict[str, Any] = {**plain, **given}
    return StreamSpace(url, **options)
