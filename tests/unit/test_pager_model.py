"""Lists that change during the iteration: results, exceptions and cost, compared with a model.

The long form: ``python -m pytest -n 0 -m long tests/unit/test_pager_model.py``
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.changing_list import ChangingList, Thing, pages_of
from vcloud import DecodeError, Pager

PLACES = st.integers(0, 10_000)


@frozen
class Change:
    """What others do to the list between two requests."""

    leave: tuple[int, ...] = ()
    join: tuple[int, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether something leaves without the total falling."""
        return 0 < len(self.leave) <= len(self.join)


def changes(leave: Any, join: Any) -> Any:
    return st.builds(Change, leave=leave, join=join)


NOTHING: Any = st.just(())
LEAVING = st.lists(PLACES, max_size=6).map(tuple)
JOINING = st.lists(PLACES, max_size=4).map(tuple)
#: Fewer join than leave.
FALLING = st.lists(PLACES, min_size=1, max_size=6).flatmap(
    lambda leave: changes(
        st.just(tuple(leave)), st.lists(PLACES, max_size=len(leave) - 1).map(tuple)
    )
)


@frozen
class World:
    """A list, how it is read, and what happens meanwhile.

    Attributes:
        acts: whether a thing leaves the list when it is yielded, for one after the other, round and
            round.
    """

    count: int
    size: int
    cap: bool
    style: str
    more: int
    ahead: int
    delays: tuple[int, ...]
    others: tuple[Change, ...]
    acts: tuple[bool, ...]

    def list(self) -> ChangingList:
        return ChangingList(
            things=[str(number) for number in range(self.count)],
            size=self.size,
            per_page=self.size * 2 if self.cap else self.size,
            style=self.style,
            total=lambda there: there + self.more,
            delays=self.delays,
        )


def worlds(others: Any, acts: Any) -> Any:
    return st.builds(
        World,
        count=st.integers(0, 40),
        size=st.integers(1, 7),
        cap=st.booleans(),
        style=st.sampled_from(["count", "next", "pages"]),
        more=st.sampled_from([0, 0, 0, 3]),
        ahead=st.sampled_from([0, 0, 1, 2, 5, 50]),
        delays=st.lists(st.integers(0, 4), min_size=1, max_size=5).map(tuple),
        others=others,
        acts=acts,
    )


@frozen
class Outcome:
    yielded: list[str]
    missed: set[str]
    asked: list[int]
    hidden: int
    first: int
    left: int
    joined: int


def outcome(world: World) -> Outcome:
    """Iterate, and hold what came against what was there from the beginning to the end."""
    served = world.list()
    before: list[set[str]] = []  # what was listed at each request
    hidden = joined = 0

    def between(requests: int) -> None:
        nonlocal hidden, joined
        change = world.others[requests] if requests < len(world.others) else Change()
        served.leave_at(list(change.leave))
        served.join_at(list(change.join), f"new {requests}")
        now = set(served.things)
        if before:
            gone = len(before[-1] - now)
            if gone and len(now) >= len(before[-1]):
                hidden += gone
            joined += len(now - before[-1])
        before.append(now)

    served.before = between
    yielded: list[str] = []

    async def run() -> None:
        pager: Pager[Thing] = served.pager()
        async for thing in pager.prefetch(world.ahead) if world.ahead else pager:
            if world.acts[len(yielded) % len(world.acts)]:
                served.leave(thing.id)
            yielded.append(thing.id)
            await asyncio.sleep(0)

    asyncio.run(run())
    stayed = set.intersection(*before, set(served.things))
    return Outcome(
        yielded=yielded,
        missed=stayed - set(yielded),
        asked=served.asked,
        hidden=hidden,
        first=len(before[0]),
        left=len(served.things),
        joined=joined,
    )


ACTS = st.lists(st.booleans(), min_size=1, max_size=6).map(tuple)
IDLE = st.just((False,))
SHORT = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
LONG = settings(SHORT, max_examples=2000)


def what_stays_comes_once(world: World) -> None:
    found = outcome(world)
    assert len(set(found.yielded)) == len(found.yielded)
    if not found.hidden:
        assert not found.missed


def no_more_is_missed_than_was_hidden(world: World) -> None:
    found = None
    # So many may join while as many leave that a page comes again on a list of the same length.
    with contextlib.suppress(DecodeError):
        found = outcome(world)
    if found is not None:
        assert len(set(found.yielded)) == len(found.yielded)
        assert len(found.missed) <= found.hidden


def what_joins_costs_nothing(world: World) -> None:
    # Answers that overtake each other show the list growing and shrinking.
    found = outcome(attrs.evolve(world, delays=(0,)))
    assert found.asked == list(range(1, len(found.asked) + 1))
    if not (found.joined or world.more):
        assert len(found.asked) == max(1, pages_of(found.first, world.size))


def no_more_is_asked_than_two_readings_of_what_is_left(world: World) -> None:
    found = outcome(world)
    pages = pages_of(world.count, world.size)
    joined = pages_of(found.joined, world.size)
    assert len(found.asked) <= pages_of(len(found.yielded), world.size) + 2 * pages + joined + 4


def one_page_more_is_asked_for_by_a_loop_that_acts_on_all(world: World) -> None:
    found = outcome(attrs.evolve(world, acts=(True,), more=0))
    pages = max(1, pages_of(world.count, world.size))
    assert len(found.asked) <= (2 * (pages + 1) if world.ahead else pages + 1)
    assert found.left == 0


def two_readings_of_what_stays_are_asked_for_by_a_loop_that_acts_on_some(world: World) -> None:
    found = outcome(attrs.evolve(world, more=0, ahead=0))
    pages = max(1, pages_of(world.count, world.size))
    assert len(found.asked) <= pages + 2 * pages_of(found.left, world.size) + 3


ONLY_LEAVING = worlds(st.lists(changes(LEAVING, NOTHING), max_size=60).map(tuple), ACTS)
ONLY_JOINING = worlds(st.lists(changes(NOTHING, JOINING), max_size=8).map(tuple), IDLE)
BOTH = worlds(
    st.lists(changes(LEAVING, NOTHING) | changes(NOTHING, JOINING) | FALLING, max_size=6).map(
        tuple
    ),
    ACTS,
)
HIDING = worlds(st.lists(changes(LEAVING, JOINING), max_size=30).map(tuple), ACTS)
NOBODY_ELSE = worlds(NOTHING, ACTS)

PROPERTIES: dict[str, tuple[Callable[[World], None], st.SearchStrategy[World]]] = {
    "what stays comes once while others leave": (what_stays_comes_once, ONLY_LEAVING),
    "what stays comes once while others join": (what_stays_comes_once, ONLY_JOINING),
    "what stays comes once while some leave and others join": (what_stays_comes_once, BOTH),
    "no more is missed than leaves while as many join": (
        no_more_is_missed_than_was_hidden,
        HIDING,
    ),
    "what joins costs nothing": (what_joins_costs_nothing, ONLY_JOINING),
    "two readings more, others leaving": (
        no_more_is_asked_than_two_readings_of_what_is_left,
        ONLY_LEAVING,
    ),
    "two readings more, others coming and going": (
        no_more_is_asked_than_two_readings_of_what_is_left,
        BOTH,
    ),
    "one page more, acting on all": (
        one_page_more_is_asked_for_by_a_loop_that_acts_on_all,
        NOBODY_ELSE,
    ),
    "two readings of what stays, acting on some": (
        two_readings_of_what_stays_are_asked_for_by_a_loop_that_acts_on_some,
        NOBODY_ELSE,
    ),
}


def hold(name: str, chosen: settings) -> None:
    prove, drawn = PROPERTIES[name]

    @chosen
    @given(drawn)
    def check(world: World) -> None:
        prove(world)

    check()


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_model(name: str) -> None:
    hold(name, SHORT)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", PROPERTIES)
def test_the_model_at_length(name: str) -> None:
    hold(name, LONG)
