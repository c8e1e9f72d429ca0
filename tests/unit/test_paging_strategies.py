from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vcloud._core.paging.strategies import ABSENT, last_by_count, next_by_count, next_by_total


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
        following = (number + 1 if number * per_page < total else None) if says_next else ABSENT
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
def test_a_right_count_tells_the_last_page_from_any_other(
    total: int, size: int, data: st.DataObject
) -> None:
    last = -(-total // size)
    number = data.draw(st.integers(1, last))
    seen = min(total, number * size)
    following = number + 1 if number < last else None
    assert (
        last_by_count(number=number, following=following, seen=seen, count=total, size=size) == last
    )


def test_no_last_page_is_made_up_where_the_service_does_not_tell() -> None:
    assert last_by_count(number=1, following=2, seen=20, count=None, size=20) is None
    assert last_by_count(number=1, following=3, seen=20, count=100, size=20) is None, (
        "these pages are not numbered in turn"
    )
    assert last_by_count(number=1, following=2, seen=20, count=20, size=20) is None, (
        "the count contradicts the next page"
    )
    assert last_by_count(number=3, following=4, seen=15, count=45, size=0) is None, (
        "how large a page is, is not known yet"
    )
