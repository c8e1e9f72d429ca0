"""Mutants: each breaks one thing in the client. The judge must find every one."""

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
    """Stops send nothing."""

    async def stop(self: Any) -> None:
        await asyncio.sleep(0)

    DesktopRef.stop = StreamMachineRef.stop = stop  # type: ignore[method-assign]


def log_nothing() -> None:
    """Nothing is logged about machines that are left."""
    for name in ("vcloud.desktops", "vcloud.streams"):
        logging.getLogger(name).disabled = True


def log_false_errors() -> None:
    """Every stop logs an error."""
    _before_stop(DesktopRef, "desktops")
    _before_stop(StreamMachineRef, "streams")


def send_after_the_end() -> None:
    """A cancelled create stays in the queue, and is sent in its turn."""
    real = Machines.create

    async def create(self: Machines, *given: Any, **more: Any) -> Any:
        return await asyncio.shield(asyncio.create_task(real(self, *given, **more)))

    Machines.create = create  # type: ignore[method-assign]


def never_end_a_stop() -> None:
    """Stops never end, whatever the timeout."""

    async def stop(self: Any) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    DesktopRef.stop = stop  # type: ignore[method-assign]


def forget_the_journal() -> None:
    """A bulk run writes no journal."""
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
        log_nothing,
        log_false_errors,
        send_after_the_end,
        never_end_a_stop,
        forget_the_journal,
    )
}
