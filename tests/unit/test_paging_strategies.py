from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from vcloud._core.paging.strategies import ByCount, ByTotalPages, PageAnswer, SinglePage


def answer(
    number: int,
    items: int,
    total: int | None = None,
    next_page: int | UnsetType | None = UNSET,
    total_pages: int | None = None,
    unread: int = 0,
) -> PageAnswer[int]:
    return PageAnswer(tuple(range(items)), number, total, next_page, total_pages, unread=unread)


def next_by_count(
    *,
    number: int,
    items: int,
    per_page: int,
    seen: int,
    count: int | None,
    next_page: int | UnsetType | None = UNSET,
) -> int | None:
    page = answer(number, items, count, next_page)
    return ByCount(per_page).place(page, seen, items).next


def next_by_total(*, number: int, items: int, total_pages: int | None) -> int | None:
    return ByTotalPages().place(answer(number, items, total_pages=total_pages), items, items).next


@given(
    total=st.integers(0, 200),
    per_page=st.integers(1, 30),
    says_next=st.booleans(),
    says_count=st.booleans(),
)
def test_vagon_lists_end_exactly_after_the_last_item(
    total: int, per_page: int, says_next: bool, says_count: bool
) -> None:
    number: int | None = 1
    seen = requests = 0
    while number is not None:
        items = max(0, min(per_page, total - (number - 1) * per_page))
        seen += items
        requests += 1
        following = (number + 1 if number * per_page < total else None) if says_next else UNSET
        number = next_by_count(
            number=number,
            items=items,
            per_page=per_page,
            seen=seen,
            count=total if says_count else None,
            next_page=following,
        )
    assert seen == total
    needed = max(1, -(-total // per_page))
    # Only a service that says neither makes one ask for an empty page to be sure.
    assert requests == needed + (
        0 if says_next or says_count or total % per_page or not total else 1
    )


def test_a_wrong_count_does_not_lose_or_invent_pages() -> None:
    # One documented example says count 7 above a single item.
    assert next_by_count(number=1, items=1, per_page=20, seen=1, count=7) == 2
    assert next_by_count(number=2, items=0, per_page=20, seen=1, count=7) is None


def test_a_service_that_caps_the_page_size_is_still_read_to_the_end() -> None:
    assert next_by_count(number=1, items=50, per_page=100, seen=50, count=120) == 2
    assert next_by_count(number=3, items=20, per_page=100, seen=120, count=120) is None


def test_a_service_that_points_back_is_not_followed() -> None:
    for back in (1, 2, 3):
        assert (
            next_by_count(number=3, items=20, per_page=20, seen=60, count=None, next_page=back)
            is None
        )


def test_streamspace_lists_end_with_total_pages_or_at_once_without() -> None:
    assert next_by_total(number=1, items=20, total_pages=3) == 2
    assert next_by_total(number=3, items=5, total_pages=3) is None
    assert next_by_total(number=1, items=20, total_pages=None) is None
    assert next_by_total(number=1, items=0, total_pages=9) is None


@given(total=st.integers(1, 200), size=st.integers(1, 30), data=st.data())
def test_a_correct_count_identifies_the_last_page(
    total: int, size: int, data: st.DataObject
) -> None:
    last = -(-total // size)
    number = data.draw(st.integers(1, last))
    seen = min(total, number * size)
    following = number + 1 if number < last else None
    sent = min(size, total - (number - 1) * size)
    for says in (following, UNSET):
        place = ByCount(size).place(answer(number, sent, total, says), seen, size)
        assert (place.next, place.last) == (following, last)
        assert place.announced == (says is not UNSET and following is not None)


def test_no_last_page_is_invented_if_the_service_does_not_say() -> None:
    by_count = ByCount(20)
    assert by_count.place(answer(1, 20), 20, 20).last is None
    assert by_count.place(answer(1, 20, 100, 3), 20, 20).last is None, (
        "these pages are not numbered in turn"
    )
    assert by_count.place(answer(1, 20, 20, 2), 20, 20).last is None, (
        "the count contradicts the next page"
    )
    assert by_count.place(answer(3, 5, 45), 15, 0).last is None, (
        "how large a page is, is not known yet"
    )


def test_a_short_page_is_not_the_last_if_the_service_announces_another() -> None:
    assert ByCount(20).place(answer(1, 5, 15, 2), 5, 0).last == 3


def test_items_that_could_not_be_read_count_as_sent() -> None:
    assert ByCount(20).place(answer(1, 19, unread=1), 20, 20).next == 2
    assert ByTotalPages().place(answer(1, 0, total_pages=3, unread=2), 2, 2).next == 2


def test_a_list_that_comes_all_at_once_has_one_page() -> None:
    place = SinglePage().place(answer(1, 500, 500), 500, 500)
    assert (place.next, place.last, place.announced) == (None, 1, False)


def test_streamspace_announces_the_number_of_pages_and_the_next_page() -> None:
    place = ByTotalPages().place(answer(1, 20, 50, total_pages=3), 20, 20)
    assert (place.next, place.last, place.announced) == (2, 3, True)
    place = ByTotalPages().place(answer(3, 10, 50, total_pages=3), 50, 20)
    assert (place.next, place.last, place.announced) == (None, 3, False)
