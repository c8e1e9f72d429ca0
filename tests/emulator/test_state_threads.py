"""State that is set from other threads, while requests come in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from vcloud import VCloud
from vcloud.emulator import Clock, Emulator

START = 1_770_000_000.0
HOUR = 3600


def test_state_is_set_from_any_thread_while_requests_come_in() -> None:
    count, threads, rounds = 500, 8, 40
    failures: list[BaseException] = []

    def change(emulator: Emulator, number: int) -> None:
        try:
            for step in range(rounds):
                id = str(100 + (number + threads * step) % count)
                emulator.computers.machines[id].status = ("ready", "off")[step % 2]
                emulator.computers.add_machine(name=f"by {number}")
                emulator.streams.add_machine(1381).status = "available"
                emulator.streamspace.add_session().state = "hibernated"
                emulator.desktops.add_desktop().status = "error"
        except BaseException as error:
            failures.append(error)

    async def read(emulator: Emulator) -> None:
        async with VCloud(**emulator.endpoints()) as cloud:
            while workers_left():
                listed = [one.id async for one in cloud.computers.machines.list(per_page=50)]
                assert len(listed) == len(set(listed)) >= count

    with Emulator(machines=count, rate_limits=False, clock=Clock.stopped(START)) as emulator:
        workers = [threading.Thread(target=change, args=(emulator, n)) for n in range(threads)]

        def workers_left() -> bool:
            return any(worker.is_alive() for worker in workers)

        for worker in workers:
            worker.start()
        asyncio.run(read(emulator))
        for worker in workers:
            worker.join()
        assert failures == []
        assert len(emulator.computers.machines) == count + threads * rounds
        assert len({one.id for one in emulator.streams.machines.values()}) == threads * rounds


def test_a_change_from_another_thread_is_made_in_the_emulators_own() -> None:
    class Watched(Clock):
        """A clock that remembers the threads in which it was read."""

        def __init__(self) -> None:
            super().__init__(0.0)
            self.threads: set[int] = set()

        def now(self) -> float:
            self.threads.add(threading.get_ident())
            return super().now()

    clock = Watched()
    with Emulator(machines=1, desktops=1, sessions=1, clock=clock) as emulator:
        own = emulator.run(threading.get_ident)
        assert own != threading.get_ident()
        (session,) = emulator.streamspace.sessions.values()
        (desktop,) = emulator.desktops.desktops.values()
        visited = emulator.streams.add_machine(1381)
        changes: list[Callable[[], object]] = [
            lambda: setattr(emulator.computers.machines["100"], "status", "ready"),
            lambda: setattr(emulator.computers.machines["100"], "idle", 60),
            lambda: setattr(visited, "status", "connected"),
            lambda: setattr(session, "state", "hibernated"),
            lambda: setattr(desktop, "status", "error"),
            emulator.computers.add_machine,
            emulator.streamspace.add_session,
            emulator.desktops.add_desktop,
        ]
        for change in changes:
            clock.threads.clear()
            change()
            assert clock.threads == {own}
