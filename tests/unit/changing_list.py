"""A list that changes between two requests, and the result of an iteration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs

import attrs
from attrs import frozen
from msgspec import UNSET

from vcloud import Pager
from vcloud._core.resource import Handle
from vcloud._core.resources import Opened
from vcloud.providers import vagon_resources as vagon
from vcloud.providers.streamspace import wire
from vcloud.providers.streamspace.dialects.tables import DOCUMENTED, PUBLISHED
from vcloud.providers.streamspace.installation import Installation


@frozen(kw_only=True)
class Thing(Handle):
    id: str = ""


class Counted(vagon.Listing):
    key = "things"


class Numbered(wire.Listing):
    key: ClassVar[str] = "things"


@attrs.define(kw_only=True)
class ChangingList:
    """The list, and the service that pages it.

    Attributes:
        size: items on a full page.
        per_page: how many are asked for; the service caps a larger number than ``size``.
        style: ``"count"`` and ``"next"`` are Vagon's lists, without and with ``next_page``;
            ``"pages"`` is StreamSpace's.
        total: what the service says there are, given how many there are.
        before: what happens before each answer, given how many requests came before.
        delays: turns of the event loop that the requests wait before they are answered.
        max_pages: how many pages an iteration may read.
    """

    things: list[str]
    size: int = 3
    per_page: int | None = None
    style: str = "count"
    total: Callable[[int], int | None] = lambda there: there
    before: Callable[[int], None] = lambda requests: None
    delays: tuple[int, ...] = (0,)
    max_pages: int = 10_000
    asked: list[int] = attrs.field(factory=list)

    def leave(self, thing: str) -> None:
        if thing in self.things:
            self.things.remove(thing)

    def leave_at(self, places: list[int]) -> None:
        for place in places:
            if self.things:
                del self.things[place % len(self.things)]

    def join_at(self, places: list[int], name: str) -> None:
        for place in places:
            self.things.insert(
                place % (len(self.things) + 1), f"{name}.{place}.{id(places)}.{len(self.things)}"
            )

    def pager(self, start: int | None = None) -> Pager[Thing]:
        session = cast(
            "Any",
            type(
                "Session",
                (),
                {
                    "fetch": staticmethod(self._answer),
                    "max_pages": self.max_pages,
                    "installation": Installation(DOCUMENTED, PUBLISHED, "documented"),
                },
            )(),
        )
        asked = self.per_page or self.size
        shape = cast("Any", None)
        if self.style == "pages":
            wanted: wire.PagedList[Thing] = wire.PagedList("/things", shape)
            return wire.listing(session, lambda _: wanted, page=start, limit=asked)
        return vagon.listing(session, "/things", shape, page=start, per_page=asked)

    async def _answer(self, request: Any, _: Any) -> Any:
        number = int(parse_qs(request.query)["page"][0])
        for _ in range(self.delays[len(self.asked) % len(self.delays)]):
            await asyncio.sleep(0)
        self.before(len(self.asked))
        self.asked.append(number)
        there = len(self.things)
        page = self.things[(number - 1) * self.size : number * self.size]
        items = tuple([Thing(id=thing) for thing in page])
        total = self.total(there)
        if self.style == "pages":
            where = wire.Pagination(
                page=number,
                limit=self.size,
                total=there if total is None else total,
                total_pages=-(-there // self.size),
            )
            return Opened(Numbered(pagination=where), items)
        following = number + 1 if number * self.size < there else None
        says = following if self.style == "next" else UNSET
        return Opened(Counted(client_code=200, count=total, next_page=says), items)


def pages_of(items: int, size: int) -> int:
    return -(-items // size)
