"""Checks that a client holds no slot, no connection and no task."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

from tests.secrets.tls import RELAY
from vcloud import VCloud
from vcloud._core.client import Client, session_of
from vcloud.auth import BearerAuth

#: Turns of the loop, and then seconds, within which cancelled tasks must end.
TURNS, SECONDS = 50, 5.0


async def wait_for_tasks(before: Collection[asyncio.Task[Any]]) -> None:
    """Return when all tasks but those of ``before`` have ended; fail if they do not end."""
    for _ in range(TURNS):
        if not _others(before):
            return
        await asyncio.sleep(0)
    # The last one may have ended in the last turn; closing a connection may take longer.
    if left := _others(before):
        await asyncio.wait(left, timeout=SECONDS)
    left = _others(before)
    assert not left, f"tasks are left: {left}"


def _others(before: Collection[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task not in before and not _is_servers(task)}


def _is_servers(task: asyncio.Task[Any]) -> bool:
    """Whether a task belongs to the server's end of a kept connection."""
    coroutine: Any = task.get_coro()
    return task.get_name() == RELAY or getattr(coroutine, "__qualname__", "").startswith(
        ("RequestHandler.", "Emulator.", "Listener.")
    )


def clients_of(client: Client | VCloud) -> list[Client]:
    """The clients of a facade, or this client."""
    if isinstance(client, VCloud):
        return [getattr(client, name) for name in client.stats()]
    return [client]


def assert_nothing_held(client: Client | VCloud, *, slots: int = 100) -> None:
    """Fail unless all slots are free, and nothing waits, is in flight, is connected or logs in.

    Args:
        client: with no call in flight.
        slots: its ``concurrency``.
    """
    for one in clients_of(client):
        flaws = list(_flaws(one, slots))
        assert not flaws, f"{one}: {'; '.join(flaws)}"


def _flaws(client: Client, slots: int) -> Iterator[str]:
    stats, session = client.stats(), session_of(client)
    if stats.free != slots:
        yield f"{stats.free} of {slots} slots are free"
    for reason, number in stats.waiting_for.items():
        yield f"{number} wait for a {reason}"
    if stats.in_flight:
        yield f"{stats.in_flight} are in flight"
    if not session.admission.is_idle:
        yield "a store is being asked, or an answer is awaited that nobody will get"
    if isinstance(session.auth, BearerAuth):
        # Only this loop's lock: a client in another loop may share the strategy, and log in.
        locks = session.auth._locks  # noqa: SLF001 - a login has no public state
        lock = locks.get(asyncio.get_running_loop())
        if lock is not None and lock.locked():
            yield "a login is not over"
    http = session.transport.aiohttp_session
    if http is not None and http.connector is not None:
        # Not through the package, which some tests run as if aiohttp had no private parts.
        held = http.connector._acquired  # noqa: SLF001 - without it, no leak would be seen
        if held:
            yield f"{len(held)} connections are held"
