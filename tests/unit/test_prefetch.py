"""Pages read ahead: which requests are sent and when, and what cancels them."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from vcloud import ConnectError, DecodeError, Instance, InstanceState, Page, Pager
from vcloud.instances import Instances


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


async def test_nothing_is_requested_before_the_iteration_and_the_first_page_alone() -> None:
    desk = Desk(9)
    pages = desk.pager().prefetch(3).pages()
    await settle()
    assert desk.asked == []
    assert (await anext(pages)).number == 1
    assert desk.asked == [1]


async def test_at_most_n_pages_are_in_flight_or_wait_for_the_caller() -> None:
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


async def test_if_the_service_does_not_say_how_many_pages_there_are_none_is_read_ahead() -> None:
    desk = Desk(4, says_last=False)
    pages = desk.pager().prefetch(3).pages()
    await anext(pages)
    await settle()
    assert desk.asked == [1]


async def test_leaving_cancels_requests_in_flight() -> None:
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


def test_leaving_after_the_loop_has_closed_raises_and_logs_nothing(
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


async def test_closing_cancels_and_waits_and_iterating_can_continue() -> None:
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


async def test_cancelling_the_waiting_task_cancels_requests_in_flight() -> None:
    desk = Desk(9)
    reading = asyncio.ensure_future(desk.pager().prefetch(3).all())
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await settle()
    assert sorted(desk.cancelled) == [2, 3, 4]


async def test_an_error_is_raised_at_its_page_and_cancels_the_rest() -> None:
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


async def test_an_error_of_a_page_that_is_not_reached_is_not_logged() -> None:
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


async def test_after_an_error_the_later_pages_are_requested_again() -> None:
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


async def test_if_the_service_names_another_next_page_the_pages_read_ahead_are_dropped() -> None:
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


async def test_a_list_that_ends_early_cancels_the_requests_beyond_its_end() -> None:
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


async def test_instances_are_read_ahead_and_leaving_cancels() -> None:
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
async def test_a_page_that_is_partly_unreadable_hides_no_other_page_of_its_provider(n: int) -> None:
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
