"""A session with a scripted transport and its own clock, to record the calls of observers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from attrs import define, field

from vcloud import Attempt, Endpoint, HMACAuth, Observer, Request, Response
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.vagon import VagonService

#: An answer, an exception, or a function that gives an answer.
Act = Response | BaseException | Callable[[], Awaitable[Response]]

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')
BUSY = Response(503, {}, b'{"client_code":503,"message":"busy"}')
START = Request("POST", "/machines/100/start", "secret=query")
GET = Request("GET", "/machines/100")


@define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Script(Transport):
    """Gives these answers and exceptions in turn, each after a quarter of a second."""

    def __init__(self, clock: Clock, *acts: Act) -> None:
        super().__init__()
        self.clock = clock
        self.acts = list(acts)

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.clock.now += 0.25
        act = self.acts.pop(0)
        if isinstance(act, BaseException):
            raise act
        return act if isinstance(act, Response) else await act()


@define
class Diary(Observer):
    """Keeps what it is called with, as it is at that moment."""

    heard: list[tuple[str, int, int | None, str | None, float | None, float | None]] = field(
        factory=list
    )
    attempts: list[Attempt] = field(factory=list)

    def started(self, attempt: Attempt) -> None:
        self._note("started", attempt)

    def ended(self, attempt: Attempt) -> None:
        self._note("ended", attempt)

    def retried(self, attempt: Attempt) -> None:
        self._note("retried", attempt)

    def _note(self, what: str, attempt: Attempt) -> None:
        error = None if attempt.error is None else type(attempt.error).__name__
        self.heard.append(
            (what, attempt.number, attempt.status, error, attempt.duration, attempt.retry_in)
        )
        if what == "started":
            self.attempts.append(attempt)
        else:
            assert attempt in self.attempts, "the same object from start to end"


def moving_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that ``asyncio.sleep`` moves, and nothing else does."""
    clock, real = Clock(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await real(0)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return clock


def session(
    clock: Clock,
    *acts: Act,
    observers: list[Observer] | None = None,
    **options: Any,
) -> Session:
    auth = options.pop("auth", None) or HMACAuth("ak", "sk")
    base_url = "https://vagon.test/v1"
    endpoint = Endpoint(base_url, auth=auth, observers=observers or [], **options)
    transport = Script(clock, *acts)
    return Session(
        VagonService("computers"),
        endpoint,
        base_url,
        transport,
        sources=Sources(clock=clock, wall=lambda: 1e9, entropy=lambda: 0.5),
    )
