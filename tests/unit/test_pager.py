from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from tests.unit.changing_list import ChangingList, Thing, pages_of
from vcloud import Bulk, ConfigurationError, DecodeError, InvalidArgumentError, Page, Pager

T = TypeVar("T")


class Shelf:
    """Pages of numbers, and a record of which were asked for."""

    def __init__(self, total: int, per_page: int = 3) -> None:
        self.total, self.per_page = total, per_page
        self.asked: list[int] = []
        self.broken: set[int] = set()

    async def fetch(self, number: int) -> Page[int]:
        self.asked.append(number)
        if number in self.broken:
            raise ConnectionError(number)
        items = tuple(range((number - 1) * self.per_page, min(self.total, number * self.per_page)))
        last = -(-self.total // self.per_page)
        return Page(items, number, self.total, number + 1 if number < last else None, last)

    def pager(self, start: int | None = None) -> Pager[int]:
        return Pager(self.fetch, start=start)


def book(*pages: tuple[str, ...], total: int | None = None, identity: bool = True) -> Pager[str]:
    """Pages that were written beforehand; after the last written one it comes again and again."""

    async def fetch(number: int) -> Page[str]:
        return Page(pages[min(number, len(pages)) - 1], number, total, number + 1)

    return Pager(fetch, key=(lambda item: item) if identity else None)


async def collect(source: AsyncIterator[T], into: list[T]) -> None:
    """Append until the end, or an error."""
    async for one in source:
        into.append(one)


async def test_every_item_comes_once_and_in_order() -> None:
    shelf = Shelf(10)
    assert [item async for item in shelf.pager()] == list(range(10))
    assert await shelf.pager().all() == list(range(10))
    assert [page.items async for page in shelf.pager().pages()] == [
        (0, 1, 2),
        (3, 4, 5),
        (6, 7, 8),
        (9,),
    ]


async def test_nothing_is_asked_before_it_is_iterated_and_nothing_after_one_stops() -> None:
    shelf = Shelf(10)
    pager = shelf.pager()
    assert shelf.asked == []
    async for item in pager:
        if item == 4:
            break
    assert shelf.asked == [1, 2]
    assert await pager.first() == 0
    assert shelf.asked == [1, 2, 1]


async def test_it_can_begin_later() -> None:
    shelf = Shelf(10)
    assert await shelf.pager(start=3).all() == [6, 7, 8, 9]
    assert shelf.asked == [3, 4]


async def test_an_empty_list_has_no_first() -> None:
    assert await Shelf(0).pager().first() is None
    assert await Shelf(0).pager().all() == []


async def test_views_of_a_list_are_chained_and_leave_out_what_they_make_none_of() -> None:
    shown = (
        Shelf(10)
        .pager()
        .map(lambda number: number * 10 if number % 2 else None)
        .map(lambda ten: f"no. {ten}")
    )
    assert await shown.all() == ["no. 10", "no. 30", "no. 50", "no. 70", "no. 90"]
    assert [page.number async for page in shown.pages()] == [1, 2, 3, 4]


# -- what a service does to a list meanwhile ---------------------------------------------------------------------------


async def test_an_item_that_moved_to_a_later_page_is_not_yielded_twice() -> None:
    pager = book(("a", "b", "c"), ("c", "d", "e"), ("a", "f"), ())
    pages = pager.pages()
    assert [(await anext(pages)).items for _ in range(4)] == [
        ("a", "b", "c"),
        ("d", "e"),
        ("f",),
        (),
    ]


async def test_a_page_with_nothing_new_on_it_does_not_end_the_list() -> None:
    items = aiter(book(("a", "b"), ("b", "a"), ("c", "d")))
    assert [await anext(items) for _ in range(4)] == ["a", "b", "c", "d"]


async def test_what_one_page_says_twice_is_said_twice() -> None:
    items = aiter(book(("a", "a"), ("b", "a")))
    assert [await anext(items) for _ in range(3)] == ["a", "a", "b"]


async def test_items_that_nothing_tells_apart_are_all_yielded() -> None:
    async def fetch(number: int) -> Page[str]:
        return Page(("x", "y"), number, number * 2, number + 1 if number < 3 else None)

    assert await Pager(fetch, key=lambda item: None if item == "x" else item).all() == [
        "x",
        "y",
        "x",
        "x",
    ]
    assert await Pager(fetch).all() == ["x", "y"] * 3


async def test_a_page_that_comes_again_because_the_list_grew_by_a_page_is_no_standstill() -> None:
    async def fetch(number: int) -> Page[str]:
        items = (("a", "b"), ("a", "b"), ("c", "d"))[number - 1]
        return Page(items, number, 4 if number == 1 else 6, number + 1 if number < 3 else None)

    assert await Pager(fetch, key=lambda item: item).all() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("identity", [True, False])
async def test_a_service_that_repeats_a_page_for_ever_is_caught_at_once(identity: bool) -> None:
    pages = book(("a", "b"), ("c", "d"), identity=identity).pages()
    assert [(await anext(pages)).items, (await anext(pages)).items] == [("a", "b"), ("c", "d")]
    with pytest.raises(DecodeError, match="repeats itself: there is nothing new on page 3"):
        await anext(pages)


async def test_a_service_that_goes_round_in_circles_is_caught() -> None:
    async def fetch(number: int) -> Page[str]:
        return Page(("even",) if number % 2 == 0 else ("odd",), number, None, number + 1)

    with pytest.raises(DecodeError, match="repeats itself"):
        await Pager(fetch, key=lambda item: item).all()


async def test_a_service_that_sends_empty_pages_for_ever_is_caught() -> None:
    with pytest.raises(DecodeError, match="repeats itself"):
        await book(()).all()


# -- going on after an error -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1, 3])
async def test_items_go_on_where_an_error_interrupted_them(ahead: int) -> None:
    shelf = Shelf(20)
    shelf.broken = {4}
    pager = shelf.pager().prefetch(ahead) if ahead else shelf.pager()
    items = aiter(pager)
    seen: list[int] = []
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await collect(items, seen)
    assert seen == list(range(9))
    shelf.broken.clear()
    await collect(items, seen)
    assert seen == list(range(20))


@pytest.mark.parametrize("ahead", [0, 1, 3])
async def test_pages_say_where_another_can_go_on(ahead: int) -> None:
    shelf = Shelf(20)
    shelf.broken = {4}
    pages = (shelf.pager().prefetch(ahead) if ahead else shelf.pager()).pages()
    seen: list[Page[int]] = []
    with pytest.raises(ConnectionError):
        await collect(pages, seen)
    assert [page.number for page in seen] == [1, 2, 3]
    assert pages.number == 4
    shelf.broken.clear()
    assert await shelf.pager(start=pages.number).all() == list(range(9, 20))


async def test_a_page_that_cannot_be_taken_is_asked_for_again() -> None:
    shelf, doubts = Shelf(4, per_page=2), [2]

    def view(item: int) -> int:
        if item in doubts:
            raise ValueError(doubts.pop())
        return item

    items = aiter(shelf.pager().map(view))
    assert [await anext(items), await anext(items)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        await anext(items)
    assert [item async for item in items] == [2, 3]
    assert shelf.asked == [1, 2, 2]


async def test_what_has_ended_stays_ended() -> None:
    pages = Shelf(3).pager().pages()
    assert [page.number async for page in pages] == [1]
    assert pages.number is None
    assert [page async for page in pages] == []


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True])
def test_a_page_number_below_one_is_refused_before_anything_is_sent(bad: object) -> None:
    with pytest.raises(InvalidArgumentError, match="page must be a whole number"):
        Shelf(1).pager(start=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="prefetch must be a whole number"):
        Shelf(1).pager().prefetch(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("refused", [pickle.dumps, copy.deepcopy])
def test_a_pager_can_be_neither_pickled_nor_deep_copied_and_says_what_to_do(
    refused: Callable[[object], object],
) -> None:
    with pytest.raises(
        TypeError, match=r"a Pager reads through its client.*call list\(...\) again"
    ):
        refused(Shelf(1).pager())
    with pytest.raises(TypeError, match=r"an iteration of a Pager.*call list\(...\) again"):
        refused(Shelf(1).pager().pages())
    with pytest.raises(TypeError, match=r"an iteration of a Pager.*call list\(...\) again"):
        refused(aiter(Shelf(1).pager()))


async def test_a_shallow_copy_of_a_pager_reads_the_same_list() -> None:
    assert await copy.copy(Shelf(4).pager()).all() == [0, 1, 2, 3]


def test_a_plain_for_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="async for"):
        iter(Shelf(1).pager())  # type: ignore[call-overload]


@pytest.mark.parametrize("ahead", [0, 2])
async def test_two_tasks_that_share_an_iterator_are_told_so_and_lose_nothing(ahead: int) -> None:
    shelf = Shelf(10)

    async def fetch(number: int) -> Page[int]:
        await asyncio.sleep(0)
        return await shelf.fetch(number)

    pager = Pager(fetch)
    items = aiter(pager.prefetch(ahead) if ahead else pager)
    got: list[int] = []
    ends = await asyncio.gather(*[collect(items, got) for _ in range(2)], return_exceptions=True)
    assert got == list(range(10))
    assert [type(end) for end in ends if end is not None] == [ConfigurationError]


# -- lists that change meanwhile ---------------------------------------------------------------------------------------


def named(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("style", ["count", "next", "pages"])
@pytest.mark.parametrize(("count", "size"), [(60, 20), (1000, 100), (7, 1), (45, 20), (20, 20)])
async def test_a_loop_that_takes_each_item_off_the_list_gets_all_and_asks_for_one_page_more(
    style: str, count: int, size: int
) -> None:
    served = ChangingList(things=named(count), size=size, style=style)
    got = []
    async for thing in served.pager():
        served.leave(thing.id)
        got.append(thing.id)
    assert sorted(got, key=int) == named(count)
    assert len(served.asked) <= pages_of(count, size) + 1


@pytest.mark.parametrize("ahead", [1, 3, 8, 50])
async def test_reading_ahead_while_each_item_leaves_asks_for_twice_as_many_at_most(
    ahead: int,
) -> None:
    served = ChangingList(things=named(500), size=20, delays=(0, 2, 1))
    got = []
    async for thing in served.pager().prefetch(ahead):
        served.leave(thing.id)
        got.append(thing.id)
        await asyncio.sleep(0)
    assert sorted(got, key=int) == named(500)
    assert len(served.asked) <= 2 * (25 + 1)


@pytest.mark.parametrize("concurrency", [1, 5, 50])
@pytest.mark.parametrize("ahead", [0, 8])
async def test_a_bulk_run_over_a_list_that_shrinks_works_all_of_it_off(
    concurrency: int, ahead: int
) -> None:
    served = ChangingList(things=named(500), size=20)
    done = []

    async def act(thing: Thing) -> None:
        for _ in range(int(thing.id) % 7):
            await asyncio.sleep(0)
        served.leave(thing.id)
        done.append(thing.id)

    pager = served.pager()
    run = Bulk(pager.prefetch(ahead) if ahead else pager, act, concurrency=concurrency)
    assert (await run.run()).done == 500
    assert sorted(done, key=int) == named(500)
    assert len(served.asked) <= 2 * (25 + 1)


async def test_where_others_take_something_off_the_list_it_steps_back_and_looks_once_more() -> None:
    served = ChangingList(things=named(12), size=3)
    served.before = lambda requests: served.leave("0") if requests == 2 else None
    assert [thing.id async for thing in served.pager()] == [
        *["0", "1", "2", "3", "4", "5"],
        *["7", "8", "9"],  # page 3, which begins one too late
        "6",  # page 2 again
        *["10", "11"],
    ]
    assert served.asked == [1, 2, 3, 2, 4, 1], (
        "of the look at the end, what was read since is left out"
    )


async def test_what_left_and_joined_at_once_is_found_when_something_else_left() -> None:
    served = ChangingList(things=named(12), size=3)

    def others(requests: int) -> None:
        if requests == 1:  # the same total, so that nothing shows it
            served.leave("0")
            served.things.append("new")
        elif requests == 3:
            served.leave("11")

    served.before = others
    assert {thing.id async for thing in served.pager()} >= set(named(11))


async def test_a_wrong_total_that_does_not_change_shows_nothing() -> None:
    served = ChangingList(things=named(12), size=3, total=lambda there: 30)
    served.before = lambda requests: served.leave("0") if requests == 1 else None
    assert [thing.id async for thing in served.pager()] == [*named(3), *named(12)[4:]]
    assert served.asked == [1, 2, 3, 4, 5]


async def test_a_total_that_counts_the_page_alone_shows_nothing() -> None:
    served = ChangingList(things=named(7), size=3, style="next")
    served.total = lambda there: min(3, there - 3 * len(served.asked[1:]))
    assert [thing.id async for thing in served.pager()] == named(7)
    assert served.asked == [1, 2, 3]


async def test_without_totals_an_announced_page_that_is_empty_shows_that_something_left() -> None:
    served = ChangingList(things=named(6), size=3, style="next", total=lambda there: None)
    got = []
    async for thing in served.pager():
        got.append(thing.id)
        served.leave(thing.id)
    assert sorted(got) == named(6)
    assert served.asked == [1, 2, 1]


async def test_a_list_without_ids_is_read_once() -> None:
    things = list(range(9))

    async def fetch(number: int) -> Page[int]:
        page = tuple(things[(number - 1) * 3 : number * 3])
        return Page(page, number, len(things), number + 1 if number * 3 < len(things) else None)

    got = []
    async for thing in Pager(fetch):
        got.append(thing)
        things.remove(thing)
    assert got == [0, 1, 2, 6, 7, 8]


async def test_known_ids_that_moved_farther_than_the_list_grew_are_looked_at_once_more() -> None:
    served = ChangingList(things=named(12), size=3)

    def others(requests: int) -> None:
        if requests == 1:
            served.things.insert(0, "new")
        elif requests == 2:  # the total stays, and what was on page 1 comes again on page 3
            served.things[:0] = ["newer", "newest"]
            served.leave("10")
            served.leave("11")

    served.before = others
    ids = [thing.id async for thing in served.pager()]
    assert len(ids) == len(set(ids))
    assert {"new", "newer", "newest"} <= set(ids), "seen by the look at the end"


async def test_the_number_of_pages_is_the_page_from_which_nothing_is_missed() -> None:
    served = ChangingList(things=named(15), size=3)
    served.before = lambda requests: served.leave_at([0, 0, 0, 0]) if requests == 3 else None
    pages = served.pager().pages()
    got = [thing.id for _ in range(4) for thing in (await anext(pages)).items]
    assert served.asked == [1, 2, 3, 4]
    assert set(named(15)) - set(got) == {"9", "10", "11", "12"}
    assert pages.number == 2
    rest = [thing.id async for thing in served.pager(start=pages.number)]
    assert set(got) | set(rest) == set(named(15))


async def test_a_list_begun_in_the_middle_goes_back_before_it_for_what_moved_there() -> None:
    served = ChangingList(things=named(15), size=3)
    served.before = lambda requests: served.leave_at([0] * 5) if requests == 1 else None
    got = [thing.id async for thing in served.pager(start=3)]
    assert sorted(got, key=int) == named(15)[6:], "and shows nothing of what stood before"
    assert min(served.asked) < 3


async def test_a_loop_begun_in_the_middle_that_takes_each_item_off_stays_there() -> None:
    served = ChangingList(things=named(15), size=3)
    got = []
    async for thing in served.pager(start=3):
        served.leave(thing.id)
        got.append(thing.id)
    assert sorted(got, key=int) == named(15)[6:]
    assert served.asked == [3, 4, 3]


async def test_an_error_on_the_way_back_leaves_the_iterator_where_it_was() -> None:
    served = ChangingList(things=named(9), size=3)
    broken = [3]

    def before(requests: int) -> None:
        if requests == 2 and broken:
            raise ConnectionError(broken.pop())

    served.before = before
    items = aiter(served.pager())
    got: list[str] = []

    async def start_all() -> None:
        async for thing in items:
            served.leave(thing.id)
            got.append(thing.id)

    with pytest.raises(ConnectionError):
        await start_all()
    assert len(got) == 6
    await start_all()
    assert sorted(got) == named(9)


async def test_max_pages_ends_the_look_at_the_end_without_an_error() -> None:
    served = ChangingList(things=named(12), size=3, max_pages=5)
    served.before = lambda requests: served.leave("0") if requests == 2 else None
    assert len([thing async for thing in served.pager()]) == 12
    assert len(served.asked) == 5


async def test_a_page_with_items_that_cannot_be_read_is_an_error_and_then_passed() -> None:
    async def fetch(number: int) -> Page[str]:
        items = ("a", "b") if number == 1 else ("b", "c") if number == 2 else ("d",)
        error = DecodeError("page 2, item 1: id is missing") if number == 2 else None
        unread = 1 if error else 0
        return Page(items, number, 6, number + 1 if number < 3 else None, 3, error, unread)

    for ahead in (0, 2):
        pager = Pager(fetch, key=lambda item: item).map(str.upper)
        pages = (pager.prefetch(ahead) if ahead else pager).pages()
        assert (await anext(pages)).items == ("A", "B")
        with pytest.raises(DecodeError, match="id is missing") as caught:
            await anext(pages)
        assert caught.value.items == ("C",), "new ones, as they would have been shown"
        assert pages.number == 3
        assert [page.items async for page in pages] == [("D",)]
