from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest

from vcloud import ConfigurationError, DecodeError, InvalidArgumentError, Page, Pager

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


async def test_nothing_is_requested_before_the_iteration_or_after_it_is_left() -> None:
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


async def test_views_of_a_list_are_chained_and_leave_out_none() -> None:
    shown = (
        Shelf(10)
        .pager()
        .map(lambda number: number * 10 if number % 2 else None)
        .map(lambda ten: f"no. {ten}")
    )
    assert await shown.all() == ["no. 10", "no. 30", "no. 50", "no. 70", "no. 90"]
    assert [page.number async for page in shown.pages()] == [1, 2, 3, 4]


# -- what a service does to a list meanwhile -------------------------------------------------------


async def test_an_item_that_moved_to_a_later_page_is_not_yielded_twice() -> None:
    pager = book(("a", "b", "c"), ("c", "d", "e"), ("a", "f"), ())
    pages = pager.pages()
    assert [(await anext(pages)).items for _ in range(4)] == [
        ("a", "b", "c"),
        ("d", "e"),
        ("f",),
        (),
    ]


async def test_a_page_without_new_items_does_not_end_the_list() -> None:
    items = aiter(book(("a", "b"), ("b", "a"), ("c", "d")))
    assert [await anext(items) for _ in range(4)] == ["a", "b", "c", "d"]


async def test_an_item_that_is_twice_on_one_page_is_yielded_twice() -> None:
    items = aiter(book(("a", "a"), ("b", "a")))
    assert [await anext(items) for _ in range(3)] == ["a", "a", "b"]


async def test_items_without_identity_are_all_yielded() -> None:
    async def fetch(number: int) -> Page[str]:
        return Page(("x", "y"), number, number * 2, number + 1 if number < 3 else None)

    assert await Pager(fetch, key=lambda item: None if item == "x" else item).all() == [
        "x",
        "y",
        "x",
        "x",
    ]
    assert await Pager(fetch).all() == ["x", "y"] * 3


async def test_a_page_that_comes_again_because_the_list_grew_is_not_an_error() -> None:
    async def fetch(number: int) -> Page[str]:
        items = (("a", "b"), ("a", "b"), ("c", "d"))[number - 1]
        return Page(items, number, 4 if number == 1 else 6, number + 1 if number < 3 else None)

    assert await Pager(fetch, key=lambda item: item).all() == ["a", "b", "c", "d"]


@pytest.mark.parametrize("identity", [True, False])
async def test_a_service_that_repeats_a_page_is_an_error_at_once(identity: bool) -> None:
    pages = book(("a", "b"), ("c", "d"), identity=identity).pages()
    assert [(await anext(pages)).items, (await anext(pages)).items] == [("a", "b"), ("c", "d")]
    with pytest.raises(DecodeError, match="repeats itself: there is nothing new on page 3"):
        await anext(pages)


async def test_a_service_that_repeats_several_pages_is_an_error() -> None:
    async def fetch(number: int) -> Page[str]:
        return Page(("even",) if number % 2 == 0 else ("odd",), number, None, number + 1)

    with pytest.raises(DecodeError, match="repeats itself"):
        await Pager(fetch, key=lambda item: item).all()


async def test_a_service_that_only_sends_empty_pages_is_an_error() -> None:
    with pytest.raises(DecodeError, match="repeats itself"):
        await book(()).all()


# -- going on after an error -----------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [0, 1, 3])
async def test_items_continue_where_an_error_interrupted_them(ahead: int) -> None:
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
async def test_pages_say_with_which_page_to_continue(ahead: int) -> None:
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


async def test_a_page_whose_view_failed_is_requested_again() -> None:
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


async def test_an_iteration_that_ended_stays_ended() -> None:
    pages = Shelf(3).pager().pages()
    assert [page.number async for page in pages] == [1]
    assert pages.number is None
    assert [page async for page in pages] == []


# -- arguments -------------------------------------------------------------------------------------


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


def test_a_plain_for_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="async for"):
        iter(Shelf(1).pager())  # type: ignore[call-overload]


@pytest.mark.parametrize("ahead", [0, 2])
async def test_two_tasks_that_share_an_iterator_get_an_error_and_lose_nothing(ahead: int) -> None:
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
