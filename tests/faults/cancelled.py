"""Every call is cancelled at each place where it may wait: queue, answer, next attempt.

Nothing may be held afterwards.
"""

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

#: How many calls are tested at once.
AT_ONCE: Final = 24
#: Seconds of a pause between attempts. A cancelled launch waits as well: it stops the desktop.
PAUSE: Final = 0.5


class Moment(Enum):
    """What a call waits for when it is cancelled."""

    QUEUE = "another call has the only slot"
    ANSWER = "it has no answer yet"
    PAUSE = "it pauses before the next attempt"


@frozen
class Cancelled:
    """A call to one endpoint, cancelled at one moment."""

    target: Target
    moment: Moment

    def __str__(self) -> str:
        return f"{self.target.id}, cancelled while {self.moment.value}"


def cases(targets: Sequence[Target] = TARGETS) -> list[Cancelled]:
    """All endpoints, cancelled at each moment."""
    return [Cancelled(target, moment) for target in targets for moment in Moment]


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD):
        while not there():  # noqa: ASYNC110 - neither side has an event for it
            await asyncio.sleep(0.001)


def quiet(client: Any) -> bool:
    """Whether no request of a client is in flight."""
    stats = client.stats()
    return stats.free == 1 and not stats.in_flight


async def _cancel(tasks: Sequence[asyncio.Task[object]], *, sent: bool) -> list[str]:
    """Cancel all tasks at once; what is wrong with their outcomes.

    Args:
        tasks: those in the queue, and last the one that is not.
        sent: whether the last one was sent and has no answer.
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
    """Whether it raised an error instead, which says that a machine may have been started."""
    error = task.exception()
    return isinstance(error, CleanupError) and error.outcome_unknown and not error.ids


async def flaws(case: Cancelled) -> AsyncIterator[str]:
    """What is wrong after a call was cancelled."""
    target, moment = case.target, case.moment
    # The cell gives the timeouts of the client and the checks afterwards. Its fault is not applied.
    cell = Cell(target, "delay" if moment is Moment.PAUSE else "stall_headers", lasting=True)
    async with staged(cell) as stage:
        emulator, client = stage.emulator, stage.client
        fault = Fault.server_error(503, PAUSE) if moment is Moment.PAUSE else Fault.stall_headers()
        rule = emulator.faults.add(target.route, fault, None)

        async def call() -> object:
            return await target.call(client)

        tasks = [asyncio.create_task(call())]
        await _until(lambda: rule.hits == 1)
        if moment is Moment.QUEUE:
            tasks.insert(0, asyncio.create_task(call()))
            # A login needs no slot, so it waits for its answer instead.
            await _until(lambda: client.stats().waiting > 0 or rule.hits == 2)
        elif moment is Moment.PAUSE:
            await _until(lambda: quiet(client))
        ends = await _cancel(tasks, sent=moment is not Moment.PAUSE)
        emulator.faults.clear()
        await settled(emulator)
        for end in ends:
            yield end
        async for flaw in aftermath(cell, stage):
            yield flaw


async def run(todo: Sequence[Cancelled]) -> dict[Cancelled, list[str]]:
    """Cancel each call, some at once; what is wrong afterwards."""
    found: dict[Cancelled, list[str]] = {}
    queue = iter(todo)

    async def worker() -> None:
        for case in queue:
            found[case] = [flaw async for flaw in flaws(case)]

    await asyncio.gather(*[worker() for _ in range(min(AT_ONCE, len(todo)))])
    return found


async def check(todo: Sequence[Cancelled]) -> None:
    """Cancel each call, and fail if anything is wrong afterwards.

    Raises:
        FailedError: names the calls, and what is wrong after each.
    """
    failed = [f"{case}: {'; '.join(wrong)}" for case, wrong in (await run(todo)).items() if wrong]
    if failed:
        raise FailedError("\n".join(failed[:50]))
