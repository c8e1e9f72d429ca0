"""Which requests a fault applies to: routes, skipping, probability, and invalid rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from vcloud.emulator import Fault, Faults


def played(table: Faults, requests: int = 12) -> list[int]:
    return [number for number in range(1, requests + 1) if table.take("GET", "/x")]


def test_skip_and_every_select_from_the_matching_requests() -> None:
    for more, expected in (
        ({}, [1]),
        ({"times": 3}, [1, 2, 3]),
        ({"skip": 4}, [5]),
        ({"times": None, "every": 4}, [4, 8, 12]),
        ({"times": 2, "skip": 3, "every": 2}, [5, 7]),
    ):
        table = Faults()
        rule = table.add("GET *", Fault.reset_before(), **more)
        table.take("POST", "/x")
        assert played(table) == expected
        assert rule.hits == len(expected)


def test_a_rule_counts_requests_to_which_another_applied() -> None:
    table = Faults()
    table.add("GET *", Fault.reset_before())
    second = table.add("GET *", Fault.html(), skip=1)
    assert [fault and fault.name for fault in (table.take("GET", "/x") for _ in range(3))] == [
        "reset_before",
        "html",
        None,
    ]
    assert (second.seen, second.hits) == (2, 1)


def test_draws_come_from_the_seed_and_match_the_probability() -> None:
    def drawn(seed: int, *, neighbour: bool = False) -> list[int]:
        table = Faults(seed)
        table.add("GET *", Fault.html(), None, probability=0.3)
        if neighbour:
            table.add("GET *", Fault.html(), None, probability=0.5)
        rule = table.rules[0]
        hits = []
        for number in range(1000):
            before = rule.hits
            table.take("GET", "/x")
            hits += [number] * (rule.hits - before)
        return hits

    assert drawn(1) == drawn(1, neighbour=True) != drawn(2)
    assert 250 < len(drawn(1)) < 350
    table = Faults()
    alike = [table.add("GET *", Fault.html(), None, probability=0.5) for _ in range(2)]
    played(table, 1000)
    assert 200 < alike[1].hits < 300, "where the first has bad luck, the second may have good luck"
    table = Faults()
    table.add("GET *", Fault.html(), None, probability=0)
    assert played(table) == []


def test_a_rule_can_be_removed_alone_or_with_all() -> None:
    table = Faults()
    first, second = (table.add("GET *", Fault.html(), None) for _ in range(2))
    first.remove()
    first.remove()
    assert table.rules == (second,)
    table.clear()
    second.remove()
    assert not table.rules


@pytest.mark.parametrize(
    "wrong",
    [("GET *", "reset"), ("GET *", Fault.reset_after), (Fault.html(), "GET *")],
    ids=["text", "no call", "swapped"],
)
def test_a_rule_without_a_fault_is_refused(wrong: tuple[Any, Any]) -> None:
    table = Faults()
    with pytest.raises(TypeError, match=r"as in add\('GET \*', Fault.reset_after\(\)\)"):
        table.add(*wrong)
    assert not table.rules


@pytest.mark.parametrize(
    "more",
    [{"times": 0}, {"skip": -1}, {"every": 0}, {"probability": 1.1}, {"probability": float("nan")}],
)
def test_an_invalid_rule_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        Faults().add("GET *", Fault.html(), **more)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fault.truncate(-1),
        lambda: Fault.delay(float("nan")),
        lambda: Fault.drip(size=0),
        lambda: Fault.reply(101),
        lambda: Fault.too_many(float("inf")),
        lambda: Fault.too_many(1, "fortnights"),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_fault_is_refused(make: Callable[[], Fault]) -> None:
    with pytest.raises(ValueError, match="must|cannot|status|seconds"):
        make()


def test_a_reply_takes_a_dict_or_a_list_as_json() -> None:
    text = '{"error":"no"}'
    given = Fault.reply(401, {"error": "no"})
    assert given == Fault.reply(401, text, content_type="application/json")
    problem = Fault.reply(400, [1], content_type="application/problem+json")
    assert problem.arguments["body"] == b"[1]"
    assert problem.arguments["content_type"] == "application/problem+json"
    with pytest.raises(TypeError, match="body must be bytes, a text, or a dict or list for JSON"):
        Fault.reply(400, 5)  # type: ignore[arg-type]


async def test_rules_can_be_added_from_any_thread_while_requests_come_in() -> None:
    table = Faults()

    def order() -> None:
        for _ in range(300):
            table.add("GET *", Fault.html())

    async def ask() -> int:
        found = 0
        while found < 1200:
            found += table.take("GET", "/x") is not None
            await asyncio.sleep(0)
        return found

    *_, found = await asyncio.gather(*[asyncio.to_thread(order) for _ in range(4)], ask())
    assert (found, table.rules) == (1200, ())
