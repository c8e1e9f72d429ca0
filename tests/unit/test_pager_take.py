"""The first items of a list: ``take`` reads no page that it does not need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.test_pager import Shelf, book
from vcloud import Bulk, DecodeError, InvalidArgumentError, Page, Pager, Taken


@pytest.mark.parametrize(
    ("n", "pages"), [(0, 0), (1, 1), (3, 1), (4, 2), (6, 2), (10, 4), (11, 4), (10**9, 4)]
)
async def test_it_is_the_first_items_and_costs_no_page_after_them(n: int, pages: int) -> None:
    shelf = Shelf(10)
    taken = shelf.pager().take(n)
    assert isinstance(taken, Taken)
    assert shelf.asked == [], "nothing before it is iterated"
    assert await taken == list(range(min(n, 10)))
    assert shelf.asked == list(range(1, pages + 1))
    assert [item async for item in shelf.pager().take(n)] == list(range(min(n, 10)))
    assert await shelf.pager().take(n).all() == list(range(min(n, 10)))
    assert await shelf.pager().take(n).first() == (0 if n else None)


async def test_each_iteration_takes_anew() -> None:
    taken = Shelf(10).pager().take(4)
    assert await taken == await taken == [0, 1, 2, 3]


async def test_its_pages_end_where_it_ends() -> None:
    pages = Shelf(10).pager().take(5).pages()
    seen = [page async for page in pages]
    assert [page.items for page in seen] == [(0, 1, 2), (3, 4)]
    assert [page.next for page in seen] == [2, None]
    assert [page.total for page in seen] == [10, 10], "as the service says"
    assert pages.number is None


@pytest.mark.parametrize(("n", "most"), [(4, 2), (7, 3), (30, 10)])
async def test_reading_ahead_stops_at_the_last_page_that_is_needed(n: int, most: int) -> None:
    for ahead in (1, 2, 8):
        for pager in ("take first", "take last"):
            shelf = Shelf(300)
            taken = (
                shelf.pager().take(n).prefetch(ahead)
                if pager == "take first"
                else shelf.pager().prefetch(ahead).take(n)
            )
            assert await taken == list(range(n))
            await asyncio.sleep(0)
            assert shelf.asked == list(range(1, most + 1)), (ahead, pager)


async def test_views_before_and_after_it_are_applied_in_their_order() -> None:
    def even(item: int) -> int | None:
        return None if item % 2 else item

    assert await Shelf(30).pager().map(even).take(3) == [0, 2, 4]
    assert await Shelf(30).pager().take(3).map(even) == [0, 2]
    assert await Shelf(30).pager().take(7).map(even).take(2) == [0, 2]
    assert await Shelf(30).pager().take(3).take(5) == [0, 1, 2]
    assert await Shelf(30).pager().take(5).take(3) == [0, 1, 2]


async def test_a_view_that_raises_takes_nothing_away() -> None:
    fail = True

    def view(item: int) -> int:
        if fail and item == 1:
            raise KeyError(item)
        return item

    items = aiter(Shelf(10).pager().map(view).take(4))
    with pytest.raises(KeyError):
        await anext(items)
    fail = False
    assert [item async for item in items] == [0, 1, 2, 3]


async def test_items_that_come_again_are_not_counted_twice() -> None:
    assert await book(("a", "b"), ("b", "c"), ("d", "e")).take(4) == ["a", "b", "c", "d"]


async def test_a_page_with_an_item_that_cannot_be_read_says_so_and_gives_the_others() -> None:
    async def fetch(number: int) -> Page[str]:
        return Page(("a", "b", "c"), number, 9, number + 1, 3, DecodeError("no"), 1)

    with pytest.raises(DecodeError) as caught:
        await Pager(fetch).take(2)
    assert caught.value.items == ("a", "b")
    items = aiter(Pager(fetch).take(2))
    with pytest.raises(DecodeError) as caught:
        await anext(items)
    assert items.keep_readable(caught.value)
    assert [item async for item in items] == ["a", "b"]


@pytest.mark.parametrize("n", [-1, 1.0, "3", None, True])
async def test_it_takes_a_whole_number(n: int) -> None:
    with pytest.raises(InvalidArgumentError, match="take must be a whole number of at least 0"):
        Shelf(3).pager().take(n)


async def test_a_bulk_run_works_it_off() -> None:
    async def act(number: int) -> int:
        return number

    shelf = Shelf(10_000, per_page=100)
    async with Bulk(shelf.pager().take(250), act) as run:
        assert sorted([outcome.item async for outcome in run]) == list(range(250))
    assert shelf.asked == [1, 2, 3]


async def test_items_that_leave_the_list_do_not_end_it_early() -> None:
    """Each item that is taken leaves the list, as machines that are started leave the list off."""
    left = list(range(20))

    async def fetch(number: int) -> Page[int]:
        items = tuple(left[(number - 1) * 3 : number * 3])
        last = max(1, -(-len(left) // 3))
        return Page(items, number, len(left), number + 1 if number < last else None, last)

    async def taking() -> AsyncIterator[int]:
        async for item in Pager(fetch, key=lambda item: item).take(10):
            left.remove(item)
            yield item

    assert sorted([item async for item in taking()]) == list(range(10))
    assert left == list(range(10, 20))


@pytest.mark.parametrize("guess", ["limit", "head"])
def test_its_other_names_lead_to_it(guess: str) -> None:
    with pytest.raises(AttributeError, match=r"take\(n\) ends the list after n items"):
        getattr(Shelf(3).pager(), guess)
