"""Pages ahead: what is asked for and when, what ends it, and that the outcome is that of one by one."""

from __future__ import annotations

import asyncio
import gc
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

from vcloud import ConnectError, DecodeError, Instance, InstanceState, Page, Pager
from vcloud._core.resource import Handle
from vcloud._core.resources import Opened
from vcloud.instances import Instances
from vcloud.providers.vagon_resources import Listing, listing


class Desk:
    """A list whose pages are answered when the test says so; page 1 at once."""

    def __init__(self, last: int, *, says_last: bool = True) -> None:
        self.last, self.says_last = last, says_last
        self.asked: list[int] = []
        self.cancelled: list[int] = []
        self.answers: dict[int, asyncio.Future[None]] = {}

    async def fetch(self, number: int) -> Page[int]:
        self.asked.append(number)
        if number > 1:
            self.answers[number] = asyncio.get_running_loop().create_future()
            try:
                await self.answers[number]
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise
        following, last = (
            number + 1 if number < self.last else None,
            self.last if self.says_last else None,
        )
        return Page((number * 10, number * 10 + 1), number, None, following, last)

    def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.answers[number].set_result(None)

    def refuse(self, number: int) -> None:
        self.answers[number].set_exception(ConnectError(f"page {number}"))

    def pager(self) -> Pager[int]:
        return Pager(self.fetch)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_is_asked_before_it_is_iterated_and_the_first_page_alone() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(3).pages()
    await settle()
    assert desk.asked == []
    assert (await anext(pages)).number == 1
    assert desk.asked == [1]


async def test_so_many_pages_are_under_way_and_no_more_wait_to_be_taken() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    assert desk.asked == [1, 2, 3, 4]
    desk.answer(2, 3, 4)
    await settle()
    assert desk.asked == [1, 2, 3, 4], "nobody took one"
    assert (await anext(pages)).number == 2
    await settle()
    assert desk.asked == [1, 2, 3, 4, 5]


async def test_pages_come_in_order_however_they_are_answered() -> None:
    desk = Desk(4)
    everything = asyncio.ensure_future(desk.pager().prefetch(8).all())
    await settle()
    assert desk.asked == [1, 2, 3, 4], "and nothing past the last"
    desk.answer(4, 2)
    await settle()
    desk.answer(3)
    assert await everything == [10, 11, 20, 21, 30, 31, 40, 41]


async def test_the_first_item_takes_one_request() -> None:
    desk = Desk(9)
    assert await desk.pager().prefetch(8).first() == 10
    await settle()
    assert desk.asked == [1]


async def test_where_the_service_does_not_say_how_many_there_are_nothing_is_guessed() -> None:
    desk = Desk(4, says_last=False)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    assert desk.asked == [1]


async def test_leaving_cancels_what_is_under_way() -> None:
    desk = Desk(9)
    async for _ in desk.pager().prefetch(3):
        await settle()
        break
    await settle()
    assert desk.asked == [1, 2, 3, 4]
    assert sorted(desk.cancelled) == [2, 3, 4]


async def test_leaving_from_another_thread_cancels_too() -> None:
    asyncio.get_running_loop().set_debug(True)  # it then refuses what another thread may not do
    desk = Desk(9)
    holder = [desk.pager().prefetch(3).pages()]
    await anext(holder[0])
    await settle()
    await asyncio.to_thread(holder.clear)
    await settle()
    assert sorted(desk.cancelled) == [2, 3, 4]


def test_leaving_after_the_loop_has_closed_is_no_error_and_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(9)

    async def begin() -> object:
        pages = desk.pager().prefetch(3).pages()
        await anext(pages)
        await settle()
        desk.refuse(3)
        await settle()
        return pages

    pages = asyncio.run(begin())
    del pages, desk.answers
    gc.collect()
    assert caplog.messages == []


async def test_closing_cancels_and_waits_and_one_can_go_on() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    await pages.aclose()
    assert sorted(desk.cancelled) == [2, 3, 4]
    going_on = asyncio.ensure_future(anext(pages))
    await settle()
    desk.answer(2)
    assert (await going_on).number == 2


async def test_items_can_be_closed_too() -> None:
    desk = Desk(9)
    items = aiter(desk.pager().prefetch(3))
    await anext(items)
    await settle()
    await items.aclose()
    assert sorted(desk.cancelled) == [2, 3, 4]


async def test_cancelling_whoever_waits_cancels_what_is_under_way() -> None:
    desk = Desk(9)
    reading = asyncio.ensure_future(desk.pager().prefetch(3).all())
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await settle()
    assert sorted(desk.cancelled) == [2, 3, 4]


async def test_an_error_is_raised_when_its_turn_comes_and_ends_the_rest() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(4).pages()
    await anext(pages)
    await settle()
    desk.refuse(4)
    desk.answer(2, 3)
    assert [(await anext(pages)).number, (await anext(pages)).number] == [2, 3]
    await settle()
    with pytest.raises(ConnectError, match="page 4"):
        await anext(pages)
    await settle()
    assert sorted(desk.cancelled) == [5, 6, 7]
    assert pages.number == 4


async def test_an_error_that_nobody_comes_to_is_no_noise() -> None:
    noise: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    desk = Desk(9)
    async for _ in desk.pager().prefetch(3):
        await settle()
        desk.refuse(3)
        await settle()
        break
    del desk
    await settle()
    gc.collect()
    assert noise == []


async def test_after_an_error_the_others_are_asked_for_again() -> None:
    desk = Desk(4)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    desk.refuse(2)
    with pytest.raises(ConnectError):
        await anext(pages)
    await settle()
    desk.asked.clear()
    rest = asyncio.ensure_future(anext(pages))
    await settle()
    desk.answer(2)
    assert (await rest).number == 2
    await settle()
    assert desk.asked == [2, 3, 4]


async def test_where_the_service_goes_on_elsewhere_what_was_read_in_vain_is_forgotten() -> None:
    asked: list[int] = []
    cancelled: list[int] = []

    async def fetch(number: int) -> Page[int]:
        asked.append(number)
        if number in {3, 4}:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.append(number)
        return Page((number,), number, None, {1: 2, 2: 7}.get(number), 9 if number == 1 else None)

    pages = Pager(fetch).prefetch(3).pages()
    assert [page.number async for page in pages] == [1, 2, 7]
    await settle()
    assert asked == [1, 2, 3, 4, 7]
    assert cancelled == [3, 4]


async def test_a_list_that_ends_early_cancels_what_was_asked_for_beyond_its_end() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    desk.last = 2
    desk.answer(2)
    assert [page.number async for page in pages] == [2]
    await settle()
    assert sorted(desk.cancelled) == [3, 4]


async def test_views_and_prefetch_go_together_in_either_order() -> None:
    for pager in (Desk(1).pager().map(str).prefetch(3), Desk(1).pager().prefetch(3).map(str)):
        assert await pager.all() == ["10", "11"]
    desk = Desk(9)
    pages = desk.pager().prefetch(3).map(str).pages()
    await anext(pages)
    await settle()
    assert desk.asked == [1, 2, 3, 4]


async def test_everything_on_all_providers_is_read_ahead_and_leaving_cancels() -> None:
    def instance(number: int) -> Instance:
        return Instance("x", str(number), "", InstanceState.RUNNING, None, None, cast("Any", None))

    desks = {"a": Desk(9), "b": Desk(9)}
    async for _ in Instances(
        {name: desk.pager().map(instance) for name, desk in desks.items()}
    ).prefetch(2):
        await settle()
        break
    await settle()
    for desk in desks.values():
        assert desk.asked == [1, 2, 3]
        assert sorted(desk.cancelled) == [2, 3]


@pytest.mark.parametrize("n", [0, 2])
async def test_a_page_that_is_partly_unreadable_hides_nothing_else_of_its_provider(n: int) -> None:
    def instance(number: int) -> Instance:
        return Instance("x", str(number), "", InstanceState.RUNNING, None, None, cast("Any", None))

    broken = [DecodeError(f"page {number}: no id") for number in (2, 3)]

    async def fetch(number: int) -> Page[int]:
        error = broken[number - 2] if number in {2, 3} else None
        following = number + 1 if number < 4 else None
        return Page((number,), number, None, following, 4, error, 1 if error else 0)

    async def refuse(number: int) -> Page[int]:
        raise DecodeError("nothing of it can be read")

    found = Instances({"a": Pager(fetch).map(instance), "b": Pager(refuse).map(instance)})
    found = found.prefetch(n) if n else found
    assert sorted([one.id async for one in found]) == ["1", "2", "3", "4"]
    assert found.errors["a"] is broken[0], "the first one"
    assert "nothing of it" in str(found.errors["b"])


# -- a Vagon list, with a service that says much, little or the wrong thing ---------------------------------------------


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
def test_with_a_right_count_reading_ahead_asks_for_nothing_that_one_by_one_does_not(
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
def test_never_more_pages_than_that_are_under_way_or_waiting(
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
def test_whatever_moves_meanwhile_nothing_is_yielded_twice(
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
        # By chance all of a small page may have moved to the next one, which then looks like a service that stands still.
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


async def test_a_short_page_to_begin_with_is_not_taken_for_the_measure_of_those_before_it() -> None:
    service = Service(total=45, cap=20, count=45, says_next=False)
    assert len(await service.pager(20, 3).prefetch(8).all()) == 5
    assert service.asked == [3, 4], "one empty page to be sure, and none beyond"
