"""Every call cancelled wherever it may wait: in line, for its answer, for its next attempt. Nothing is held afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import Any, Final

from attrs import frozen

from tests.faults.matrix import GUARD, Cell, FailedError, aftermath, settled, staged
from tests.faults.targets import TARGETS, Target
from vcloud import CleanupError
from vcloud.emulator import Fault

AT_ONCE: Final = 24
#: Seconds that it is asked to wait for. A launch that is cancelled waits too, for the desktop that it has to stop.
PAUSE: Final = 0.5


class Moment(Enum):
    """Where a call is when it is cancelled."""

    LINE = "another one has the only slot"
    ANSWER = "it was sent"
    PAUSE = "it is to be sent again"


@frozen
class Cancelled:
    """One endpoint, cancelled at one moment."""

    target: Target
    moment: Moment

    def __str__(self) -> str:
        return f"{self.target.id}, cancelled while {self.moment.value}"


def cases(targets: Sequence[Target] = TARGETS) -> list[Cancelled]:
    """Every endpoint, cancelled at every moment."""
    return [Cancelled(target, moment) for target in targets for moment in Moment]


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD):
        while not there():  # noqa: ASYNC110 - neither side has an event for it
            await asyncio.sleep(0.001)


def quiet(client: Any) -> bool:
    """Whether nothing that a client sent is still to be answered."""
    gate = client._session.admission
    return gate.free == 1 and not gate.in_flight


async def _cancel(tasks: Sequence[asyncio.Task[object]], *, sent: bool) -> list[str]:
    """Cancel all in one moment, and say what is wrong with how they ended.

    Args:
        tasks: those that wait in line, and then the one that does not.
        sent: whether that one was sent, and has no answer.
    """
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(GUARD):
        await asyncio.wait(tasks)
    return [
        f"was cancelled and ended with {task.exception()!r}"
        for task in tasks
        if not task.cancelled() and not (sent and task is tasks[-1] and _says_what_is_left(task))
    ]


def _says_what_is_left(task: asyncio.Task[object]) -> bool:
    """Whether it ended by saying that a machine may have been started, in place of a cancellation."""
    error = task.exception()
    return isinstance(error, CleanupError) and error.outcome_unknown and not error.ids


async def flaws(case: Cancelled) -> AsyncIterator[str]:
    """What is wrong after a call was cancelled."""
    target, moment = case.target, case.moment
    # The cell says how patient the client is, and what is to be found afterwards; its fault is not played.
    cell = Cell(target, "delay" if moment is Moment.PAUSE else "stall_headers", lasting=True)
    async with staged(cell) as stage:
        emulator, gate = stage.emulator, stage.client._session.admission
        fault = Fault.server_error(503, PAUSE) if moment is Moment.PAUSE else Fault.stall_headers()
        rule = emulator.faults.add(target.route, fault, None)

        async def call() -> object:
            return await target.call(stage.client)

        tasks = [asyncio.create_task(call())]
        await _until(lambda: rule.hits == 1)
        if moment is Moment.LINE:
            tasks.insert(0, asyncio.create_task(call()))
            # A login needs no slot, and so waits for its answer too.
            await _until(lambda: gate.waiting() or rule.hits == 2)
        elif moment is Moment.PAUSE:
            await _until(lambda: quiet(stage.client))
        ends = await _cancel(tasks, sent=moment is not Moment.PAUSE)
        emulator.faults.clear()
        await settled(emulator)
        for end in ends:
            yield end
        async for flaw in aftermath(cell, stage):
            yield flaw


async def run(todo: Sequence[Cancelled]) -> dict[Cancelled, list[str]]:
    """Cancel each, some at once, and say what is wrong after it."""
    found: dict[Cancelled, list[str]] = {}
    line = iter(todo)

    async def worker() -> None:
        for case in line:
            found[case] = [flaw async for flaw in flaws(case)]

    await asyncio.gather(*[worker() for _ in range(min(AT_ONCE, len(todo)))])
    return found


async def check(todo: Sequence[Cancelled]) -> None:
    """Cancel each, and refuse whatever is held afterwards.

    Raises:
        FailedError: names the calls, and what is wrong after each.
    """
    failed = [f"{case}: {'; '.join(wrong)}" for case, wrong in (await run(todo)).items() if wrong]
    if failed:
        raise FailedError("\n".join(failed[:50]))
