"""A session whose transport plays a script: no socket, no real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from vcloud import (
    Auth,
    Endpoint,
    HMACAuth,
    Request,
    Response,
)
from vcloud._core.auth import Send
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.vagon import VagonService

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')


GET, POST, DELETE = (Request(method, "/machines") for method in ("GET", "POST", "DELETE"))


def refused(code: int, status: int = 400, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, headers or {}, b'{"client_code":%d,"message":"no"}' % code)


class Script(Transport):
    """Plays answers and exceptions in turn, and keeps what it was asked."""

    def __init__(self, *acts: Response | Exception) -> None:
        super().__init__()
        self.acts = list(acts)
        self.asked: list[tuple[str, str, dict[str, str], float]] = []
        self.in_flight = self.most_in_flight = 0

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.asked.append((method, url, dict(headers), wire.attempt_timeouts.seconds))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        if isinstance(act, Exception):
            raise act
        return act


class Time:
    """A clock that sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds > 0:
                self.slept.append(seconds)
                self.now += seconds
            await real(0)

        def call_later(
            loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], None]
        ) -> asyncio.Handle:
            self.slept.append(seconds)
            self.now += seconds
            return loop.call_soon(callback)

        monkeypatch.setattr("asyncio.sleep", sleep)
        monkeypatch.setattr("asyncio.BaseEventLoop.call_later", call_later)

    def __call__(self) -> float:
        return self.now


def session(script: Script, time: Time, **options: Any) -> Session:
    endpoint = Endpoint("https://vagon.test/v1", **{"auth": HMACAuth("ak", "sk")} | options)
    nonces = iter(range(10_000))
    return Session(
        VagonService("computers"),
        endpoint,
        "https://vagon.test/v1",
        script,
        sources=Sources(
            clock=time, wall=time, entropy=lambda: 0.5, nonce=lambda: f"n{next(nonces)}"
        ),
    )


ServerErrorAnswer = Response(502, {}, b"<html>bad gateway</html>")


class Fetched(Auth):
    """A user's own strategy. The request that obtains its credential names no bucket."""

    token = ""

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Token": self.token}

    def ready(self, now: float) -> bool:
        return bool(self.token)

    async def acquire(self, send: Send, *, now: float) -> None:
        await send(Request("POST", "/token", authenticated=False))
        self.token = "fresh"
