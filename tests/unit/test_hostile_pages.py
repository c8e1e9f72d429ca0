"""Lists with any pages: an iteration ends, or is a typed error, after bounded requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS
from tests.unit.hostile import LITERALS, ONCE, STEADY
from vcloud import (
    ConfigurationError,
    DecodeError,
    Endpoint,
    LimitExceededError,
    Page,
    Pager,
    Response,
)
from vcloud._core.client import client_with
from vcloud._core.connections.options import TransportOptions
from vcloud._core.transport import Transport

MAX_PAGES = 12

#: What a page may say of itself and of those after it.
NUMBERS = (
    st.integers(-2, 30).map(str)
    | st.sampled_from(
        [
            "null",
            "1e3",
            "1.5",
            '"2"',
            '"x"',
            "true",
            "[]",
            "{}",
            "10000000000",
            "9" * 25,
            "-" + "9" * 25,
        ]
    )
    | LITERALS
)
NAMES = st.sampled_from(
    ["count", "page", "next_page", "total", "total_pages", "limit", "totalPages"]
)
SAYS = st.dictionaries(NAMES, NUMBERS, max_size=4)
#: Which items are on a page, by number. None: as many as there are pages, always new.
ITEMS = st.lists(st.integers(0, 6), max_size=3) | st.none()


class Shelf(Transport):
    """Answers with the prepared pages in their order, and then always with the last one."""

    def __init__(
        self,
        item: Any,
        key: str,
        pages: list[tuple[dict[str, str], list[int] | None]],
        *,
        nested: bool,
    ) -> None:
        super().__init__()
        self._item, self._key, self._pages, self._nested = item, key, pages, nested
        self.asked = 0

    def check(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        says, items = self._pages[min(self.asked, len(self._pages) - 1)]
        self.asked += 1
        ids = [1000 + self.asked] if items is None else items
        found = [{**self._item, "id": f"i{id}"} for id in ids]
        said = ",".join(f'"{name}":{value}' for name, value in says.items())
        says_so = f'"pagination":{{{said}}}' if self._nested else said
        text = (
            ",".join(
                filter(None, ['{"client_code":200', f'"{self._key}":{json.dumps(found)}', says_so])
            )
            + "}"
        )
        return Response(200, {}, text.encode())


def example(api: str, operation: str, key: str) -> Any:
    answers = next(found for found in PROVIDERS[api].operations if found["id"] == operation)[
        "responses"
    ]
    return next(answer["body"][key][0] for answer in answers if answer["status"] == 200)


LISTS = [
    ("computers", "machines.list", "machines", False, lambda client: client.machines.list()),
    ("streams", "sessions.list", "sessions", False, lambda client: client.sessions.list()),
    (
        "streams",
        "applications.list",
        "applications",
        False,
        lambda client: client.applications.list(per_page=1),
    ),
    ("streamspace", "sessions.list", "sessions", True, lambda client: client.sessions.list()),
    ("streamspace", "agents.list", "agents", False, lambda client: client.agents.list()),
]


@pytest.mark.parametrize(
    ("api", "operation", "key", "nested", "listed"),
    LISTS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_iteration_ends_and_asks_no_more_than_it_may(
    api: str, operation: str, key: str, nested: bool, listed: Any
) -> None:
    item = example(api, operation, key)
    with asyncio.Runner() as runner:

        @settings(STEADY, max_examples=80)
        @given(st.lists(st.tuples(SAYS, ITEMS), min_size=1, max_size=4), st.sampled_from([0, 5]))
        def check(pages: list[tuple[dict[str, str], list[int] | None]], ahead: int) -> None:
            shelf = Shelf(item, key, pages, nested=nested)
            provider = PROVIDERS[api]
            endpoint = Endpoint(
                provider.document["base_url"], auth=provider.auth(), retry=ONCE, max_pages=MAX_PAGES
            )
            pager = listed(
                client_with(provider.client_class, endpoint, transport=shelf, own=provider.own)
            )
            got = runner.run(collect(pager.prefetch(ahead) if ahead else pager))
            ids = [one.id for one in got]
            assert shelf.asked <= MAX_PAGES + ahead
            assert len(ids) <= 3 * MAX_PAGES
            if pages[-1][1] is None:
                # A page that lists an item twice is the service's own fault, and is yielded so.
                if any(len(set(items)) < len(items) for _, items in pages if items is not None):
                    ids = [id for id in ids if int(id.removeprefix("i")) > 1000]
                assert len(set(ids)) == len(ids), "what is always new comes once"

        check()


async def collect(pager: Pager[Any]) -> list[Any]:
    got: list[Any] = []
    with contextlib.suppress(DecodeError, LimitExceededError):
        async for one in pager:
            got.append(one)
    return got


@pytest.mark.parametrize("ahead", [0, 1, 3, 100])
async def test_max_pages_is_the_number_of_pages_that_are_read(ahead: int) -> None:
    asked: list[int] = []

    async def fetch(number: int) -> Page[int]:
        asked.append(number)
        return Page((number,), number, None, number + 1, 10**9)

    for bound in (1, 2, 7):
        asked.clear()
        pager = Pager(fetch, max_pages=bound)
        pages = (pager.prefetch(ahead) if ahead else pager).pages()
        for number in range(1, bound + 1):
            assert (await anext(pages)).number == number
        for _ in range(2):
            with pytest.raises(
                LimitExceededError,
                match=f"continues after {bound} pages.*max_pages.*begin with page {bound + 1}",
            ):
                await anext(pages)
        assert asked == list(range(1, bound + 1))


async def test_a_list_of_exactly_max_pages_is_whole() -> None:
    async def fetch(number: int) -> Page[int]:
        return Page((number,), number, None, number + 1 if number < 7 else None, 7)

    assert (
        await Pager(fetch, max_pages=7).all()
        == await Pager(fetch, max_pages=7).prefetch(3).all()
        == [1, 2, 3, 4, 5, 6, 7]
    )
    with pytest.raises(ConfigurationError, match="max_pages"):
        Endpoint(auth=PROVIDERS["computers"].auth(), max_pages=0)
