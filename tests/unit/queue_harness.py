"""Requests that wait at an admission, with a clock, timers and a store that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest

from vcloud import RateLimit
from vcloud._core.limits.admission import Admission
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timers:
    """Replaces the loop's timers. The test fires them."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.set: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self.call_later)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Handle:
        timer = (self.clock.now + delay, callback)
        self.set.append(timer)
        return Handle(self, timer)

    async def fire(self) -> None:
        """Move the clock to the next timer, and call it."""
        timer = min(self.set)
        self.set.remove(timer)
        self.clock.now = timer[0]
        timer[1]()
        await asyncio.sleep(0)


class Handle:
    def __init__(self, timers: Timers, timer: tuple[float, Callable[[], None]]) -> None:
        self.timers, self.timer = timers, timer

    def cancel(self) -> None:
        if self.timer in self.timers.set:
            self.timers.set.remove(self.timer)


async def settle() -> None:
    """Let all tasks run that can."""
    for _ in range(6):
        await asyncio.sleep(0)


class Queue:
    """Requests that wait at one admission, by name, and the order in which they were admitted."""

    def __init__(self, admission: Admission, name: str = "") -> None:
        self.admission = admission
        self.bucket = admission.bucket(name)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._numbers: list[int] = []

    def occupy(self) -> None:
        """Admit a request without a name at once."""
        number = self.admission.try_enter(self.bucket)
        assert number
        self._numbers.append(number)

    def join(self, name: str, flow: Flow | None = None, **given: Any) -> asyncio.Task[None]:
        context = copy_context()
        context.run(CURRENT_FLOW.set, flow)
        task = asyncio.get_running_loop().create_task(self._enter(name, given), context=context)
        self.tasks.append(task)
        return task

    async def _enter(self, name: str, given: dict[str, Any]) -> None:
        number = await self.admission.enter(self.bucket, None, **given)
        self._numbers.append(number)
        self.order.append(name)

    def leave(self) -> None:
        """Answer the request that was admitted first of those in flight."""
        self.admission.leave(self.bucket, self._numbers.pop(0))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class Store:
    """A shared budget that grants a request when the test says so."""

    def __init__(self) -> None:
        self.asking: list[tuple[bool, asyncio.Future[None]]] = []
        self.waiting: Callable[[], int] = lambda: 0

    async def acquire(
        self,
        rule: RateLimit,
        max_wait: float,
        *,
        urgent: bool = False,
        waiting: Callable[[], int] | None = None,
    ) -> None:
        self.waiting = waiting or self.waiting
        asked = (urgent, asyncio.get_running_loop().create_future())
        self.asking.append(asked)
        try:
            await asked[1]
        finally:
            self.asking.remove(asked)

    async def grant(self, *, urgent: bool = False) -> None:
        next(answer for kind, answer in self.asking if kind is urgent).set_result(None)
        await settle()

    async def fail(self, error: Exception) -> None:
        self.asking[0][1].set_exception(error)
        await settle()
