"""Calls of a session that wait, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from vcloud import (
    Auth,
    Endpoint,
    HMACAuth,
    Observer,
    Queued,
    Request,
    Response,
)
from vcloud._core.call.sources import Sources
from vcloud._core.connections.options import TransportOptions
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.vagon import VagonService

OK = Response(200, {}, b'{"client_code":200,"message":"OK"}')


SLOW_DOWN = Response(429, {"Retry-After": "30"}, b'{"client_code":429,"message":"slow down"}')


BUSY = Response(503, {}, b'{"client_code":503,"message":"busy"}')


START = Request("POST", "/machines/100/start", "secret=query")


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The loop's time and the session's, which stand still unless they are moved."""

    def __init__(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self.now = float(round(loop.time()))
        self.began = self.now
        patch.setattr(loop, "time", self)
        self.timers = 0
        call_at = loop.call_at

        def counted(when: float, callback: Callable[..., object], *args: Any, **named: Any) -> Any:
            self.timers += 1
            return call_at(when, callback, *args, **named)

        patch.setattr(loop, "call_at", counted)

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON.timestamp() + self.now - self.began

    async def move(self, seconds: float) -> None:
        """Let time pass, and all that is due happen, in steps of a tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.now = round(self.now + 0.1, 6)
            await settle()


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Service(Transport):
    """Answers a request when the test says so; one with a scripted answer, at once."""

    def __init__(self, *answers: Response) -> None:
        super().__init__()
        self.answers = list(answers)
        self.waiting: list[asyncio.Future[Response]] = []

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        if self.answers:
            return self.answers.pop(0)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    def answer(self, response: Response = OK) -> None:
        self.waiting.pop(0).set_result(response)


class Diary(Observer):
    def __init__(self) -> None:
        self.events: list[Queued] = []

    def queued(self, event: Queued) -> None:
        self.events.append(event)

    @property
    def reasons(self) -> list[str]:
        return [event.reason.value for event in self.events]


class Calls:
    """Calls of one session."""

    def __init__(self, shared: Session) -> None:
        self.session = shared
        self.tasks: list[asyncio.Task[Response]] = []

    async def make(self, count: int = 1, request: Request = START) -> None:
        self.tasks += [asyncio.create_task(self.session.send(request)) for _ in range(count)]
        await settle()

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def making(clock: Clock) -> AsyncIterator[Make]:
    """Make sessions whose calls wait; all of their calls are ended afterwards."""
    made: list[Calls] = []

    def calls(*answers: Response, auth: Auth | None = None, **options: Any) -> Any:
        service = Service(*answers)
        url = "https://vagon.test/v1"
        endpoint = Endpoint(url, auth=auth or HMACAuth("ak", "sk"), **options)
        shared = Session(
            VagonService("computers"),
            endpoint,
            url,
            service,
            sources=Sources(clock=clock, wall=clock.wall, entropy=lambda: 0.5),
        )
        made.append(Calls(shared))
        return service, made[-1]

    yield calls
    for one in made:
        await one.end()


Make = Callable[..., tuple[Service, Calls]]
