"""Cancels a call at its k-th suspension, for every k, at each moment at which that is possible."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from enum import Enum
from typing import Any

from attrs import define


class Moment(Enum):
    """When the cancellation comes, relative to the suspension."""

    AT_ONCE = "as it suspends"
    LATER = "one turn of the loop later"
    #: What it waited for has happened, and the result is lost: the moment at which things leak.
    WAKING = "as it is about to resume"


@define(eq=False)
class Plan:
    """When to cancel one run of a call, and what happened.

    Attributes:
        at: the suspension to cancel at, from 1; tasks that the call starts are counted too.
        moment: when exactly.
        suspensions: how many there were so far.
        delivered: whether the cancellation came before the end of the call.
    """

    at: int
    moment: Moment
    suspensions: int = 0
    delivered: bool = False
    task: asyncio.Task[Any] | None = None

    def suspended(self, waits_for: Any) -> None:
        self.suspensions += 1
        if self.suspensions != self.at:
            return
        if self.moment is Moment.AT_ONCE:
            self._cancel()
        elif self.moment is Moment.LATER or not asyncio.isfuture(waits_for):
            asyncio.get_running_loop().call_soon(self._cancel)
        else:
            # Added, and so called, before the callback of the task that waits for it.
            waits_for.add_done_callback(lambda _: self._cancel())

    def _cancel(self) -> None:
        assert self.task is not None
        self.delivered = self.task.cancel()


_PLAN: ContextVar[Plan | None] = ContextVar("plan", default=None)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that reports its suspensions."""

    def __init__(self, inner: Coroutine[Any, Any, Any], plan: Plan) -> None:
        self._inner = inner
        self._plan = plan
        self.__qualname__ = getattr(inner, "__qualname__", type(inner).__name__)

    def send(self, value: Any, /) -> Any:
        return self._seen(self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._seen(self._inner.throw(*error))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def _seen(self, waits_for: Any) -> Any:
        self._plan.suspended(waits_for)
        return waits_for


def _factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    plan = _PLAN.get()
    return asyncio.Task(work if plan is None else _Stepped(work, plan), loop=loop, **options)


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Count the suspensions of tasks that a call starts with those of the call."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(_factory)
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def cancelled(call: Callable[[], Awaitable[object]], at: int, moment: Moment) -> Plan:
    """Run a call, cancel it at this moment, and return when it has ended.

    This fails if the call swallows the cancellation. It raises any other error of the call.
    """
    plan = Plan(at, moment)

    async def run() -> None:
        await call()

    token = _PLAN.set(plan)
    try:
        task = plan.task = asyncio.get_running_loop().create_task(run())
    finally:
        _PLAN.reset(token)
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
        assert not plan.delivered, f"the cancellation {moment.value} {at} was swallowed"
    return plan
