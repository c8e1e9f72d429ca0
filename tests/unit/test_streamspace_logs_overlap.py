"""Recognising lines after a log's connection dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vcloud.providers.streamspace.logs import seen_whole, split, unseen

LINES = st.lists(st.sampled_from("abc"), max_size=12)


@given(
    total=st.integers(0, 60),
    seen=st.integers(0, 60),
    kept=st.integers(1, 60),
    asked=st.integers(1, 60),
)
def test_in_a_log_of_distinct_lines_exactly_what_was_written_since_is_new(
    total: int, seen: int, kept: int, asked: int
) -> None:
    log = [f"line {number}" for number in range(total)]
    seen = min(seen, total)
    previous = log[max(0, seen - kept) : seen]
    fresh = log[max(0, total - asked) :]
    # Where fewer lines are asked for than were remembered, or more were written than asked for, that is all there is.
    expected = log[max(seen, total - asked) :] if previous else fresh
    if previous and asked < total - seen + len(previous) and asked > total - seen:
        assert unseen(previous, fresh) == log[seen:]
    assert unseen(previous, fresh) == expected


@given(LINES, LINES, LINES)
def test_when_the_remembered_lines_are_there_no_later_line_is_lost(
    before: list[str], previous: list[str], after: list[str]
) -> None:
    result = unseen(previous, before + previous + after)
    assert result[len(result) - len(after) :] == after


@given(LINES, LINES)
def test_what_is_new_is_always_the_end_of_what_came(previous: list[str], fresh: list[str]) -> None:
    result = unseen(previous, fresh)
    assert fresh[len(fresh) - len(result) :] == result


@given(LINES, LINES)
def test_the_longest_overlap_decides(previous: list[str], fresh: list[str]) -> None:
    overlap = len(fresh) - len(unseen(previous, fresh))
    if seen_whole(previous, fresh) is None:
        matching = [
            k
            for k in range(min(len(previous), len(fresh)) + 1)
            if previous[len(previous) - k :] == fresh[:k]
        ]
        assert overlap == max(matching)
    else:
        assert fresh[overlap - len(previous) : overlap] == previous


def test_a_message_is_one_or_more_lines() -> None:
    assert split("a\nb\r\n") == ["a", "b"]
    assert split("a\n\nb") == ["a", "", "b"]
    assert split("\n") == [""]
    assert split("") == []
    assert split(b"gr\xc3\xbcn\xff") == ["grün\ufffd"]
