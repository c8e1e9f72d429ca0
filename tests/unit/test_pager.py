from __future__ import annotations

import pytest

from vcloud import DecodeError, InvalidArgumentError, Page, Pager


class Shelf:
    """Pages of numbers, and a count of how often it was asked."""

    def __init__(self, total: int, per_page: int = 3) -> None:
        self.total, self.per_page = total, per_page
        self.asked: list[tuple[int, int]] = []

    async def fetch(self, number: int, seen: int) -> Page[int]:
        self.asked.append((number, seen))
        items = tuple(range((number - 1) * self.per_page, min(self.total, number * self.per_page)))
        return Page(items, number, self.total, number + 1 if number * self.per_page < self.total else None)

    def pager(self, start: int | None = None) -> Pager[int]:
        return Pager(self.fetch, start=start, per_page=self.per_page)


async def test_every_item_comes_once_and_in_order() -> None:
    shelf = Shelf(10)
    assert [item async for item in shelf.pager()] == list(range(10))
    assert await shelf.pager().all() == list(range(10))
    assert [page.items async for page in shelf.pager().pages()] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9,)]


async def test_nothing_is_asked_before_it_is_iterated_and_nothing_after_one_stops() -> None:
    shelf = Shelf(10)
    pager = shelf.pager()
    assert shelf.asked == []
    async for item in pager:
        if item == 4:
            break
    assert [number for number, _ in shelf.asked] == [1, 2]
    assert await pager.first() == 0
    assert len(shelf.asked) == 3


async def test_it_can_begin_later_and_knows_what_it_skipped() -> None:
    shelf = Shelf(10)
    assert await shelf.pager(start=3).all() == [6, 7, 8, 9]
    assert shelf.asked == [(3, 6), (4, 9)]


async def test_an_empty_list_has_no_first() -> None:
    assert await Shelf(0).pager().first() is None
    assert await Shelf(0).pager().all() == []


async def test_a_service_that_repeats_a_page_for_ever_is_caught() -> None:
    async def same(number: int, seen: int) -> Page[int]:
        return Page((1, 2), number, None, number + 1)

    with pytest.raises(DecodeError, match="repeats itself"):
        await Pager(same).all()


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True])
def test_a_page_number_below_one_is_refused_before_anything_is_sent(bad: object) -> None:
    for name in ("start", "per_page"):
        with pytest.raises(InvalidArgumentError, match="whole number"):
            Pager(Shelf(1).fetch, **{name: bad})  # type: ignore[arg-type]


def test_a_plain_for_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="async for"):
        iter(Shelf(1).pager())
