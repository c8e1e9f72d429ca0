"""Recognising lines after a log's connection dropped."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.growth import check_growth
from vcloud.providers.streamspace.realtime.log_overlap import (
    DIGEST_ABOVE,
    Lines,
    Overlap,
    line_key,
)

LINES = st.lists(st.sampled_from("abc"), max_size=12)
LONG = "x" * DIGEST_ABOVE
#: Logs that repeat themselves, with lines around the length from which a digest stands for them.
REPETITIVE = st.lists(st.sampled_from(["a", "b", "", LONG, LONG + "y", LONG + "z"]), max_size=14)


def split(message: bytes | str) -> list[str]:
    """The lines of one message, all at once."""
    return list(Lines(message))


def end_of_known(known: Sequence[str], fresh: Sequence[str]) -> int | None:
    """Where in ``fresh`` the first occurrence of all known lines ends; None without one."""
    overlap = Overlap([line_key(line) for line in known])
    count = overlap.feed(iter(fresh), len(fresh))
    return count if overlap.complete else None


def new_lines(known: Sequence[str], fresh: Sequence[str]) -> list[str]:
    """The lines of ``fresh`` that come after the known ones, both being ends of one log.

    The longest overlap decides: either all known lines stand somewhere in ``fresh``, or an end of
    them begins it. Where several places fit, a line is rather returned twice than lost.
    """
    overlap = Overlap([line_key(line) for line in known])
    count = overlap.feed(iter(fresh), len(fresh))
    return list(fresh[count if overlap.complete else overlap.known_at_start() :])


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
    # Where fewer lines are requested than were remembered, or more were written than requested,
    # all that came is new.
    expected = log[max(seen, total - asked) :] if previous else fresh
    if previous and asked < total - seen + len(previous) and asked > total - seen:
        assert new_lines(previous, fresh) == log[seen:]
    assert new_lines(previous, fresh) == expected


@given(LINES, LINES, LINES)
def test_when_the_remembered_lines_are_there_no_later_line_is_lost(
    before: list[str], previous: list[str], after: list[str]
) -> None:
    result = new_lines(previous, before + previous + after)
    assert result[len(result) - len(after) :] == after


@given(LINES, LINES)
def test_the_new_lines_are_always_the_last_ones_that_came(
    previous: list[str], fresh: list[str]
) -> None:
    result = new_lines(previous, fresh)
    assert fresh[len(fresh) - len(result) :] == result


@given(LINES, LINES)
def test_the_longest_overlap_decides(previous: list[str], fresh: list[str]) -> None:
    overlap = len(fresh) - len(new_lines(previous, fresh))
    if end_of_known(previous, fresh) is None:
        matching = [
            k
            for k in range(min(len(previous), len(fresh)) + 1)
            if previous[len(previous) - k :] == fresh[:k]
        ]
        assert overlap == max(matching)
    else:
        assert fresh[overlap - len(previous) : overlap] == previous


def naively_seen(previous: list[str], fresh: list[str]) -> int | None:
    """Compare all lines at each place."""
    for end in range(len(previous), len(fresh) + 1):
        if fresh[end - len(previous) : end] == previous:
            return end
    return None


def naively_new(previous: list[str], fresh: list[str]) -> list[str]:
    if (end := naively_seen(previous, fresh)) is not None:
        return fresh[end:]
    for count in range(min(len(previous), len(fresh)), -1, -1):
        if previous[len(previous) - count :] == fresh[:count]:
            return fresh[count:]
    raise AssertionError("no lines at all overlap with any")


@settings(max_examples=1000)
@given(REPETITIVE, REPETITIVE, st.integers(1, 5))
def test_lines_are_recognised_as_by_comparing_all_of_them(
    previous: list[str], fresh: list[str], at_once: int
) -> None:
    assert end_of_known(previous, fresh) == naively_seen(previous, fresh)
    assert new_lines(previous, fresh) == naively_new(previous, fresh)
    overlap, lines, count = Overlap([line_key(line) for line in previous]), iter(fresh), 0
    while looked := overlap.feed(lines, at_once):
        count += looked
    assert fresh[count if overlap.complete else overlap.known_at_start() :] == naively_new(
        previous, fresh
    )


def test_looking_for_an_overlap_costs_in_proportion_to_the_lines() -> None:
    previous = [*["a"] * 198, "b", "a"]
    check_growth(
        make=lambda size: "\n".join(["a"] * size),
        work=lambda message: new_lines(previous, split(message)),
    )


def test_the_remembered_lines_are_compared_in_proportion_too() -> None:
    def work(lines: list[str]) -> None:
        assert new_lines([*lines, "b"], [*lines, "c"]) == [*lines, "c"]

    check_growth(make=lambda size: ["a"] * size, work=work)


def test_a_million_empty_lines_take_the_room_of_their_message() -> None:
    message = "\n" * 1_000_000
    tracemalloc.start()
    try:
        assert sum(not line for line in Lines(message)) == 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@given(st.text(alphabet="a\r\n", max_size=12))
def test_lines_are_those_of_splitting_the_message(message: str) -> None:
    whole = message.removesuffix("\n").split("\n") if message else []
    assert split(message) == [line.removesuffix("\r") for line in whole]


def test_a_message_is_one_or_more_lines() -> None:
    assert split("a\nb\r\n") == ["a", "b"]
    assert split("a\n\nb") == ["a", "", "b"]
    assert split("\n") == [""]
    assert split("") == []
    assert split(b"gr\xc3\xbcn\xff") == ["grün\ufffd"]
