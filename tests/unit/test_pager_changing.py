"""A list that changes while it is read: which pages are read again, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.changing_list import ChangingList, Thing, pages_of
from vcloud import Bulk, Page, Pager


def named(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("style", ["count", "next", "pages"])
@pytest.mark.parametrize(("count", "size"), [(60, 20), (1000, 100), (7, 1), (45, 20), (20, 20)])
async def test_a_loop_that_removes_each_item_gets_all_and_requests_one_page_more(
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
async def test_reading_ahead_while_each_item_leaves_requests_at_most_twice_as_many_pages(
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
async def test_a_bulk_run_over_a_list_that_shrinks_gets_all_items(
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


async def test_if_others_remove_items_it_steps_back_and_checks_at_the_end() -> None:
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


async def test_an_item_missed_by_an_equal_total_is_found_when_another_one_leaves() -> None:
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


async def test_known_ids_that_moved_farther_than_the_list_grew_cause_a_check_at_the_end() -> None:
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


async def test_number_of_pages_is_the_page_to_resume_with_without_a_gap() -> None:
    served = ChangingList(things=named(15), size=3)
    served.before = lambda requests: served.leave_at([0, 0, 0, 0]) if requests == 3 else None
    pages = served.pager().pages()
    got = [thing.id for _ in range(4) for thing in (await anext(pages)).items]
    assert served.asked == [1, 2, 3, 4]
    assert set(named(15)) - set(got) == {"9", "10", "11", "12"}
    assert pages.number == 2
    rest = [thing.id async for thing in served.pager(start=pages.number)]
    assert set(got) | set(rest) == set(named(15))


async def test_an_iteration_from_a_later_page_goes_back_for_items_that_moved() -> None:
    served = ChangingList(things=named(15), size=3)
    served.before = lambda requests: served.leave_at([0] * 5) if requests == 1 else None
    got = [thing.id async for thing in served.pager(start=3)]
    assert sorted(got, key=int) == named(15)[6:], "and shows nothing of what stood before"
    assert min(served.asked) < 3


async def test_a_loop_from_a_later_page_that_removes_each_item_does_not_go_back() -> None:
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


async def test_max_pages_ends_the_check_at_the_end_without_an_error() -> None:
    served = ChangingList(things=named(12), size=3, max_pages=5)
    served.before = lambda requests: served.leave("0") if requests == 2 else None
    assert len([thing async for thing in served.pager()]) == 12
    assert len(served.asked) == 5
