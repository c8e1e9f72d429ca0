"""How the program ends: one main function for each :class:`End`, around any operation."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from types import FrameType
from typing import Any, Final

import anyio

from tests.ends.operations import OPERATIONS, STREAMS, task_stream
from tests.ends.scene import Scene, background, described
from vcloud import VCloud

Main = Callable[[Scene], Coroutine[Any, Any, None]]

#: Seconds that a program waits for the cleanup of a dropped generator before it ends.
CLEANUP_TIME: Final = 3.0
#: Seconds for which a program continues after a part of it has ended.
CONTINUES: Final = 0.1


class MainError(Exception):
    """An error elsewhere in the program."""


async def _agent(scene: Scene) -> None:
    """Do the operation with a client of its own."""

    async def work() -> None:
        async with scene.cloud() as cloud:
            await OPERATIONS[scene.spec["moment"]](scene, cloud)

    await scene.recorded("operation", work())


async def _returns(scene: Scene) -> None:
    task = background(_agent(scene))
    await scene.go()
    assert not task.done(), "ended too early"


async def _raises(scene: Scene) -> None:
    await _returns(scene)
    raise MainError


async def _awaits(scene: Scene) -> None:
    await scene.recorded("caller", _agent(scene))


async def _system_exit(scene: Scene) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    await _awaits(scene)


async def _soft_limit(scene: Scene) -> None:
    def late(_: int, frame: FrameType | None) -> None:
        if _is_swallowed(frame):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        raise MainError

    for number in (signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, late)
    await _awaits(scene)


def _is_swallowed(frame: FrameType | None) -> bool:
    """Whether asyncio only logs an exception that is raised in this frame, as in its callbacks.

    A step of a task is a callback too, but an exception in there becomes the task's.
    """
    step = vars(asyncio.Handle)["_run"].__code__
    while frame is not None:
        if frame.f_code.co_flags & inspect.CO_COROUTINE:
            return False
        if frame.f_code is step:
            return True
        frame = frame.f_back
    return False


async def _sigterm(scene: Scene) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await _awaits(scene)


async def _lives_on(scene: Scene, work: Callable[[VCloud], Coroutine[Any, Any, None]]) -> None:
    """End a part of a program whose client continues, as a request to a web app does."""
    async with scene.cloud() as cloud:
        try:
            await scene.recorded("caller", work(cloud))
        finally:
            # Requests that should not be sent would arrive in this time.
            await asyncio.sleep(CONTINUES)


def _operation(scene: Scene, cloud: VCloud) -> Coroutine[Any, Any, None]:
    return scene.recorded("operation", OPERATIONS[scene.spec["moment"]](scene, cloud))


async def _task_group(scene: Scene) -> None:
    async def sibling() -> None:
        await scene.go()
        raise MainError

    async def group(cloud: VCloud) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_operation(scene, cloud))
            tasks.create_task(sibling())

    await _lives_on(scene, group)


async def _timeout(scene: Scene) -> None:
    async def limited(cloud: VCloud) -> None:
        async with asyncio.timeout(None) as limit:
            scene.on_go(lambda: limit.reschedule(asyncio.get_running_loop().time()))
            await _operation(scene, cloud)

    await _lives_on(scene, limited)


async def _anyio(scene: Scene) -> None:
    async def limited(cloud: VCloud) -> None:
        with anyio.move_on_after(math.inf) as scope:
            # anyio's clock is the loop's, but it can be read only in tasks.
            scene.on_go(lambda: setattr(scope, "deadline", asyncio.get_running_loop().time()))
            await _operation(scene, cloud)

    await _lives_on(scene, limited)


async def _loop_stop(scene: Scene) -> None:
    scene.on_go(asyncio.get_running_loop().stop)
    await _awaits(scene)


async def _others() -> None:
    """Wait for the other tasks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=CLEANUP_TIME)


async def _drop(scene: Scene, cloud: Any) -> None:
    """Read a stream, and drop it without closing it."""
    stream = STREAMS.get(scene.spec["moment"], task_stream)
    async for _ in stream(scene, cloud):
        await scene.go()
        break


async def _generator(scene: Scene) -> None:
    async with scene.cloud() as cloud:
        await _drop(scene, cloud)
        await asyncio.sleep(0)  # the collected generator begins to close
        await _others()


async def _generator_closed(scene: Scene) -> None:
    async with scene.cloud() as cloud:
        await _drop(scene, cloud)


async def _client_closed(scene: Scene) -> None:
    cloud = await scene.cloud().aopen()
    async with aclosing(cloud):
        task = background(_operation(scene, cloud))
        await scene.go()
        assert not task.done(), "ended too early"
        await scene.recorded("close", cloud.aclose())
    scene.leave.set()
    await asyncio.wait({task})


MAINS: Final[dict[str, Main]] = {
    "RETURNS": _returns,
    "RAISES": _raises,
    "SYSTEM_EXIT": _system_exit,
    "SOFT_LIMIT": _soft_limit,
    "SIGINT": _awaits,
    "SIGINT_TWICE": _awaits,
    "SIGTERM": _sigterm,
    "TASK_GROUP": _task_group,
    "TIMEOUT": _timeout,
    "ANYIO": _anyio,
    "LOOP_STOP": _loop_stop,
    "LOOP_CLOSED": _loop_stop,
    "GENERATOR": _generator,
    "GENERATOR_CLOSED": _generator_closed,
    "CLIENT_CLOSED": _client_closed,
}


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    loop = asyncio.new_event_loop()
    if kind == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
    return loop


def run(scene: Scene) -> None:
    """Run the program to its end, and report how it ended."""
    main, kind = MAINS[scene.spec["end"]], scene.spec["loop"]
    error: dict[str, Any] | None = None
    try:
        try:
            _run(scene, main, kind)
        finally:
            _ignore_signals()
    except BaseException as ended:
        error = described(ended)
    # It may end before it is told to, or before the second Ctrl-C.
    _ignore_signals()
    # Whatever the collector finds must be reported before the last event.
    gc.collect()
    scene.tell(ended=error, cpu=time.process_time())


def _run(scene: Scene, main: Main, kind: str) -> None:
    if scene.spec["end"] == "LOOP_CLOSED":
        _abandon(scene, main, kind)
        return
    with asyncio.Runner(loop_factory=lambda: _new_loop(kind)) as runner:
        runner.run(main(scene))


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _abandon(scene: Scene, main: Main, kind: str) -> None:
    """Close the loop by hand while it still has tasks."""
    loop = _new_loop(kind)
    asyncio.set_event_loop(loop)
    task = loop.create_task(main(scene))
    loop.run_forever()
    loop.close()
    asyncio.set_event_loop(None)
    # The event knows the tasks that wait for it.
    scene.leave = asyncio.Event()
    del task, loop
    gc.collect()
