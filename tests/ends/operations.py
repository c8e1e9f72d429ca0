"""What the program is doing when it ends: one operation for each moment.

Each reports ``started`` when everything is prepared, or ``inside`` when its block is entered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.ends.scene import Scene, background
from vcloud import ConfigurationError, PermissionDeniedError, RateLimitError, RetryPolicy, VCloud

Operation = Callable[[Scene, VCloud], Awaitable[None]]

POLL: Final = 0.02
ONCE: Final = RetryPolicy(attempts=1, max_retry_after=3600)
BOUGHT: Final = range(8)


@asynccontextmanager
async def _slot_in_use(scene: Scene, work: Awaitable[object]) -> AsyncIterator[None]:
    """Keep another request in flight, which is never answered."""
    other = background(work)
    await asyncio.sleep(0)  # it takes its slot
    scene.reached("started")
    try:
        yield
    finally:
        other.cancel()


async def _launch(scene: Scene, cloud: VCloud) -> None:
    async with cloud.desktops.launch(poll=POLL) as desktop:
        scene.reached("inside")
        await scene.leave.wait()
        try:
            await desktop.click(1, 1)
        except ConfigurationError as error:
            scene.tell(closed=str(error))


async def _launch_and_leave(scene: Scene, cloud: VCloud) -> None:
    async with cloud.desktops.launch(poll=POLL):
        scene.reached("started")


async def _close_over_block(scene: Scene, _: VCloud) -> None:
    """Close a client while another task is in a desktop's block."""
    mine = await scene.cloud().aopen()
    inside = asyncio.Event()

    async def agent() -> None:
        async with mine.desktops.launch(poll=POLL):
            inside.set()
            await asyncio.Event().wait()

    task = background(agent())
    try:
        await inside.wait()
        scene.reached("started")
        await mine.aclose()
    finally:
        task.cancel()


async def _queue_slot(scene: Scene, cloud: VCloud) -> None:
    async with _slot_in_use(scene, cloud.desktops.get(scene.spec["spare"])):
        await _launch(scene, cloud)


async def _queue_limit(scene: Scene, cloud: VCloud) -> None:
    await cloud.desktops.get(scene.spec["spare"])
    scene.reached("started")
    await _launch(scene, cloud)


async def _refused(scene: Scene, cloud: VCloud) -> None:
    """Get a 429, which pauses the client for minutes."""
    try:
        await cloud.desktops.with_options(retry=ONCE).get(scene.spec["spare"])
    except RateLimitError:
        return
    raise AssertionError("no pause was asked for")


async def _queue_pause(scene: Scene, cloud: VCloud) -> None:
    await _refused(scene, cloud)
    scene.reached("started")
    await _launch(scene, cloud)


async def _started_launch(scene: Scene, cloud: VCloud) -> None:
    scene.reached("started")
    await _launch(scene, cloud)


async def _queue_login(scene: Scene, cloud: VCloud) -> None:
    scene.reached("started")
    await cloud.streamspace.sessions.create(user="admin", template="firefox-browser")


async def _queue_create(scene: Scene, cloud: VCloud) -> None:
    async with _slot_in_use(scene, cloud.computers.machines.ref("100").refresh()):
        await cloud.computers.machines.create(1, region="dublin")


async def _connect(scene: Scene, cloud: VCloud) -> None:
    scene.reached("started")
    await cloud.streams.streams.ref("1381").connect("dublin", poll=POLL)


async def _queue_bulk(scene: Scene, cloud: VCloud) -> None:
    async with _slot_in_use(scene, cloud.computers.machines.ref("100").refresh()):
        async for _ in bought(scene, cloud):
            pass


async def _paused_block(scene: Scene, cloud: VCloud) -> None:
    async with cloud.desktops.launch(poll=POLL):
        await _refused(scene, cloud)
        scene.reached("inside")
        await scene.leave.wait()


async def _anytime(scene: Scene, cloud: VCloud) -> None:
    async def agent() -> None:
        async with cloud.desktops.launch(poll=POLL) as desktop:
            await desktop.click(1, 1)
            await desktop.screenshot()

    async def visitor() -> None:
        with contextlib.suppress(PermissionDeniedError):
            await cloud.streams.streams.ref("1381").connect("dublin", poll=POLL)

    scene.reached("started")
    async with asyncio.TaskGroup() as tasks:
        for work in (agent(), agent(), visitor()):
            tasks.create_task(work)


async def _bulk(scene: Scene, cloud: VCloud) -> None:
    scene.reached("started")
    async for _ in bought(scene, cloud):
        pass


async def bought(scene: Scene, cloud: VCloud) -> AsyncIterator[Any]:
    """Buy some machines, three at once, with a journal."""
    async with cloud.bulk(
        BOUGHT,
        lambda _: cloud.computers.machines.create(1, region="dublin"),
        concurrency=3,
        journal=scene.folder / "bulk.journal",
        key=str,
        record=lambda machines: [machine.id for machine in machines],
    ) as run:
        async for outcome in run:
            yield outcome


OPERATIONS: Final[dict[str, Operation]] = {
    "queue.slot": _queue_slot,
    "queue.limit": _queue_limit,
    "queue.pause": _queue_pause,
    "queue.backoff": _started_launch,
    "queue.login": _queue_login,
    "queue.create": _queue_create,
    "queue.connect": _connect,
    "queue.bulk": _queue_bulk,
    "create": _started_launch,
    "create.lost": _started_launch,
    "block": _launch,
    "block.unanswered": _launch,
    "block.paused": _paused_block,
    "stopping": _launch_and_leave,
    "stopping.again": _launch_and_leave,
    "stopping.unanswered": _launch_and_leave,
    "closing": _close_over_block,
    "closing.unanswered": _close_over_block,
    "starting": _connect,
    "starting.lost": _connect,
    "assigning": _connect,
    "assigning.lost": _connect,
    "undo": _connect,
    "undo.unanswered": _connect,
    "bulk": _bulk,
    "anytime": _anytime,
}


async def block_stream(scene: Scene, cloud: VCloud) -> AsyncIterator[str]:
    """As a streaming answer does: keep a desktop as long as somebody reads."""
    async with cloud.desktops.launch(poll=POLL):
        if scene.spec["moment"] == "block.paused":
            await _refused(scene, cloud)
        scene.reached("inside")
        while True:
            yield "a picture"


async def bulk_stream(scene: Scene, cloud: VCloud) -> AsyncIterator[str]:
    """As a progress page does: yield the outcomes of a bulk run."""
    scene.reached("started")
    async for outcome in bought(scene, cloud):
        yield str(outcome.key)


async def task_stream(scene: Scene, cloud: VCloud) -> AsyncIterator[str]:
    """As a streaming answer with a producer does: work in a task that ends with the generator."""
    task = background(scene.recorded("operation", OPERATIONS[scene.spec["moment"]](scene, cloud)))
    try:
        while True:
            yield "something"
    finally:
        task.cancel()
        await asyncio.wait({task})


#: Moments in which the generator itself does the work. In all others its own task does.
STREAMS: Final = {
    "block": block_stream,
    "block.unanswered": block_stream,
    "block.paused": block_stream,
    "bulk": bulk_stream,
}
