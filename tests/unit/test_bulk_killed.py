"""A bulk run that is killed at any time repeats nothing and loses nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud import Bulk, Settled


def copy_of(journal: Path, elsewhere: Path) -> Path:
    """The journal as a process leaves it that is killed now."""
    elsewhere.mkdir()
    for file in journal.parent.glob(f"{journal.name}*"):
        shutil.copy(file, elsewhere)
    return elsewhere / journal.name


class Killed(BaseException):
    pass


class Life:
    """One process, which acts until it is killed at a random moment."""

    def __init__(
        self, service: Counter[int], crash_at: int, journal: Path, elsewhere: Path
    ) -> None:
        self.service = service
        self.moments = crash_at
        self.journal = journal
        self.elsewhere = elsewhere
        self.left: Path | None = None

    async def moment(self) -> None:
        await asyncio.sleep(0)
        self.moments -= 1
        if self.moments == 0:
            self.left = copy_of(self.journal, self.elsewhere)
        if self.left is not None:
            # From here on nothing that this process does has an effect.
            raise Killed

    async def act(self, number: int) -> str:
        await self.moment()
        self.service[number] += 1
        await self.moment()
        return str(number)


async def live(
    life: Life, settle: Callable[[int], Awaitable[Settled[str]]] | None
) -> Bulk[int, str]:
    run = Bulk(range(8), life.act, journal=life.journal, concurrency=3, settle=settle)
    try:
        async with run:
            async for _ in run:
                await life.moment()
    except Killed:
        pass
    return run


@settings(max_examples=40, deadline=None)
@given(crashes=st.lists(st.integers(1, 24), max_size=4), settled=st.booleans())
def test_a_run_that_is_killed_at_any_time_repeats_and_loses_nothing(
    crashes: list[int], settled: bool
) -> None:
    service: Counter[int] = Counter()

    async def look(number: int) -> Settled[str]:
        return Settled.done(str(number)) if service[number] else Settled.undone()

    async def lives(folder: Path) -> Bulk[int, str]:
        path = folder / "journal"
        for index, crash_at in enumerate([*crashes, 0]):
            life = Life(service, crash_at, path, folder / str(index))
            run = await live(life, look if settled else None)
            path = life.left or path
        return run

    with TemporaryDirectory() as folder:
        totals = asyncio.run(lives(Path(folder))).totals
    assert max(service.values(), default=0) <= 1
    assert (totals.done + totals.unknown, totals.failed, totals.undone) == (8, 0, 0)
    if settled:
        assert totals.unknown == 0
        assert sum(service.values()) == 8
    else:
        assert sum(service.values()) >= totals.done
