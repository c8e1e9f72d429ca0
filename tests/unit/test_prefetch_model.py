"""Pages read ahead of a Vagon list, compared with pages read one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qs

import attrs
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from vcloud import DecodeError, Page, Pager
from vcloud._core.resource import Handle
from vcloud._core.resources import Opened
from vcloud.providers.vagon_resources import Listing, listing


@frozen(kw_only=True)
class Thing(Handle):
    id: str


@frozen(kw_only=True)
class Answer(Listing):
    key = "things"


@frozen(kw_only=True)
class Service:
    """A list at a service.

    Attributes:
        total: items that there are.
        cap: the largest page that it gives.
        count: what it says there are.
        says_next: whether its pages have ``next_page``.
        hidden: items that it leaves out of their page, which is short then.
        moves: what it does to the list before an answer.
    """

    total: int
    cap: int
    count: int | None
    says_next: bool
    hidden: frozenset[int] = frozenset()
    moves: Callable[[list[int]], None] = lambda things: None
    delays: tuple[int, ...] = (0,)
    asked: list[int] = attrs.field(factory=list)

    def pager(self, per_page: int, start: int | None = None) -> Pager[Thing]:
        things = list(range(self.total))

        async def fetch(request: Any, _: Any) -> Opened[Thing]:
            number = int(parse_qs(request.query)["page"][0])
            self.asked.append(number)
            for _ in range(self.delays[number % len(self.delays)]):
                await asyncio.sleep(0)
            self.moves(things)
            size = min(per_page, self.cap)
            items = tuple(
                [
                    Thing(id=str(one))
                    for one in things[(number - 1) * size : number * size]
                    if one not in self.hidden
                ]
            )
            following = number + 1 if number * size < len(things) else None
            return Opened(
                Answer(
                    client_code=200,
                    count=self.count,
                    next_page=following if self.says_next else UNSET,
                ),
                items,
            )

        session = type("Session", (), {"fetch": staticmethod(fetch), "max_pages": 10_000})()
        return listing(session, "/things", cast("Any", None), page=start, per_page=per_page)


services = st.builds(
    Service,
    total=st.integers(0, 40),
    cap=st.integers(1, 9),
    count=st.none() | st.integers(0, 60),
    says_next=st.booleans(),
    hidden=st.frozensets(st.integers(0, 40)),
    delays=st.lists(st.integers(0, 6), min_size=1, max_size=5).map(tuple),
)


async def read(pager: Pager[Thing]) -> list[Page[Thing]]:
    return [page async for page in pager.pages()]


@given(service=services, per_page=st.integers(1, 9), start=st.integers(1, 4), n=st.integers(1, 9))
def test_reading_ahead_yields_exactly_what_one_by_one_yields(
    service: Service, per_page: int, start: int, n: int
) -> None:
    one_by_one = asyncio.run(read(service.pager(per_page, start)))
    assert asyncio.run(read(service.pager(per_page, start).prefetch(n))) == one_by_one


@given(
    total=st.integers(0, 40),
    cap=st.integers(1, 9),
    says_next=st.booleans(),
    per_page=st.integers(1, 9),
    n=st.integers(1, 9),
)
def test_with_a_right_count_reading_ahead_requests_the_same_pages(
    total: int, cap: int, says_next: bool, per_page: int, n: int
) -> None:
    service = Service(total=total, cap=cap, count=total, says_next=says_next)
    pages = asyncio.run(read(service.pager(per_page).prefetch(n)))
    assert [thing.id for page in pages for thing in page.items] == [
        str(one) for one in range(total)
    ]
    assert service.asked == list(range(1, max(1, -(-total // min(cap, per_page))) + 1))
    assert {page.last for page in pages} == {len(pages)}


@given(service=services, per_page=st.integers(1, 9), n=st.integers(1, 9), ticks=st.integers(0, 9))
def test_there_are_never_more_than_n_pages_in_flight_or_waiting(
    service: Service, per_page: int, n: int, ticks: int
) -> None:
    async def run() -> None:
        taken = 0
        async for _ in service.pager(per_page).prefetch(n).pages():
            taken += 1
            for _ in range(ticks):
                await asyncio.sleep(0)
            assert len(service.asked) - taken <= n

    asyncio.run(run())


@given(
    service=services,
    per_page=st.integers(1, 9),
    n=st.integers(0, 9),
    random=st.randoms(use_true_random=False),
)
def test_nothing_is_yielded_twice_however_items_move(
    service: Service, per_page: int, n: int, random: Any
) -> None:
    def moves(things: list[int]) -> None:
        if things:
            things.insert(
                random.randrange(len(things) + 1), things.pop(random.randrange(len(things)))
            )

    async def run() -> None:
        pager = attrs.evolve(service, moves=moves).pager(per_page)
        seen: set[str] = set()
        # By chance all items of a small page may have moved to the next one, which then looks like
        # a service that repeats itself.
        with suppress(DecodeError):
            async for thing in pager.prefetch(n) if n else pager:
                assert thing.id not in seen
                seen.add(thing.id)

    asyncio.run(run())


@pytest.mark.parametrize("start", [1, 2, 3, 6])
async def test_a_list_begun_in_the_middle_is_read_to_its_end_where_the_service_caps_its_pages(
    start: int,
) -> None:
    service = Service(total=120, cap=20, count=120, says_next=False)
    ids = [thing.id async for thing in service.pager(100, start)]
    assert ids == [str(one) for one in range((start - 1) * 20, 120)]


async def test_a_short_first_page_does_not_show_the_size_of_a_full_page() -> None:
    service = Service(total=45, cap=20, count=45, says_next=False)
    assert len(await service.pager(20, 3).prefetch(8).all()) == 5
    assert service.asked == [3, 4], "one empty page to be sure, and none beyond"
