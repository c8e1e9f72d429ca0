"""Blocks that hold a desktop open, and how many desktops are left."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import evolve

from vcloud import (
    Endpoint,
    VCloud,
)
from vcloud.emulator import Emulator


def endpoint(emulator: Emulator, **options: Any) -> Endpoint:
    return evolve(emulator.endpoints()["desktops"], **options)


def left(emulator: Emulator) -> int:
    """How many desktops were launched and not stopped, by the calls that were recorded."""
    stopped = {call.path.split("/")[-2] for call in emulator.calls if stops(call.path)}
    return len(set(emulator.desktops.desktops) - stopped)


def stops(path: str) -> bool:
    return path.endswith("/stop")


async def block(cloud: VCloud, entered: asyncio.Event) -> None:
    async with cloud.desktops.launch(poll=0.01):
        entered.set()
        await asyncio.Event().wait()


async def agents(cloud: VCloud, count: int) -> list[asyncio.Task[None]]:
    entered = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(block(cloud, one)) for one in entered]
    for task in tasks:
        # Not every test retrieves their exceptions.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.gather(*[one.wait() for one in entered])
    return tasks
