"""Whether a client holds nothing any more: plain functions, so that any test can ask."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

from tests.secrets.tls import RELAY
from vcloud import VCloud
from vcloud._core.client import Client
from vcloud.auth import BearerAuth

#: How often the loop may turn, and for how many seconds, until what was cancelled must be over.
TURNS, PATIENCE = 50, 5.0


async def at_rest(before: Collection[asyncio.Task[Any]]) -> None:
    """Return as soon as no task is left but those of ``before``; fail if they do not end by themselves."""
    for _ in range(TURNS):
        if not _others(before):
            return
        await asyncio.sleep(0)
    # Closing a connection may take a few turns of the network too.
    # The last one may have ended in the last of those turns.
    if left := _others(before):
        await asyncio.wait(left, timeout=PATIENCE)
    left = _others(before)
    assert not left, f"tasks are left: {left}"


def _others(before: Collection[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task not in before and not _is_served(task)}


def _is_served(task: asyncio.Task[Any]) -> bool:
    """Whether it is the other side's, for a connection that is kept alive."""
    coroutine: Any = task.get_coro()
    return task.get_name() == RELAY or getattr(coroutine, "__qualname__", "").startswith(
        ("RequestHandler.", "Emulator.", "Listener.")
    )


def whole(client: Client | VCloud, *, slots: int = 100) -> None:
    """Fail unless every slot is free, nobody waits, no rate token and no connection is held, and nobody logs in.

    Args:
        client: any, with nothing under way.
        slots: its ``concurrency``.
    """
    for one in client._clients.values() if isinstance(client, VCloud) else (client,):
        flaws = list(_flaws(one, slots))
        assert not flaws, f"{one}: {'; '.join(flaws)}"


def _flaws(client: Client, slots: int) -> Iterator[str]:
    session = client._session
    admission = session.admission
    if admission.free != slots:
        yield f"{admission.free} of {slots} slots are free"
    for reason, waiting in admission.waiting().items():
        yield f"{waiting.number} wait for a {reason}"
    if admission.in_flight:
        yield f"{admission.in_flight} are in flight"
    if not admission.is_idle:
        yield "somebody asks the store, or an answer is awaited that nobody will get"
    if isinstance(session.auth, BearerAuth):
        # Another loop's client may share the strategy, and log in at this moment.
        lock = session.auth._locks.get(asyncio.get_running_loop())
        if lock is not None and lock.locked():
            yield "somebody logs in"
    http = session.transport.aiohttp_session
    if http is not None and http.connector is not None and http.connector._acquired:
        yield f"{len(http.connector._acquired)} connections are held"
