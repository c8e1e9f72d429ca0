"""Clients with one thing wrong: what each does to the code. The judge has to catch every one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from vcloud import VCloud
from vcloud.providers.computers.machines import Machines
from vcloud.providers.desktops.desktops import DesktopRef
from vcloud.providers.streams.machines import StreamMachineRef


def never_stop() -> None:
    """It takes a stop for granted."""

    async def stop(self: Any) -> None:
        await asyncio.sleep(0)

    DesktopRef.stop = StreamMachineRef.stop = stop  # type: ignore[method-assign]


def say_nothing() -> None:
    """It writes no line about what is left."""
    for name in ("vcloud.desktops", "vcloud.streams"):
        logging.getLogger(name).disabled = True


def cry_wolf() -> None:
    """It alarms whenever it stops something."""
    _before_stop(DesktopRef, "desktops")
    _before_stop(StreamMachineRef, "streams")


def send_after_all() -> None:
    """What was cancelled goes on by itself, and is sent when its turn comes."""
    real = Machines.create

    async def create(self: Machines, *given: Any, **more: Any) -> Any:
        return await asyncio.shield(asyncio.create_task(real(self, *given, **more)))

    Machines.create = create  # type: ignore[method-assign]


def wait_for_ever() -> None:
    """A stop that is never over, whatever the bound."""

    async def stop(self: Any) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    DesktopRef.stop = stop  # type: ignore[method-assign]


def forget_the_journal() -> None:
    """It buys without writing anything down."""
    real = VCloud.bulk

    def bulk(self: Any, items: Any, action: Any, *, concurrency: int, **journal: Any) -> Any:
        return real(self, items, action, concurrency=concurrency)

    VCloud.bulk = bulk  # type: ignore[method-assign, assignment]


def _before_stop(owner: Any, provider: str) -> None:
    real = owner.stop

    async def stop(self: Any) -> None:
        logging.getLogger(f"vcloud.{provider}").error("%s may still run", self.id)
        await real(self)

    owner.stop = stop


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    one.__name__: one
    for one in (
        never_stop,
        say_nothing,
        cry_wolf,
        send_after_all,
        wait_for_ever,
        forget_the_journal,
    )
}
