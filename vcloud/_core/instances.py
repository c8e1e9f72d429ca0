"""What all providers rent, as one small common view, and how it is listed across them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, Self, runtime_checkable

from attrs import frozen

from vcloud._core.paging.pager import Pager
from vcloud._core.paging.pages import abandon, begin
from vcloud._core.paging.source import Page
from vcloud._core.tasks import cancel_and_wait
from vcloud.errors import ConfigurationError, VCloudError


class InstanceState(StrEnum):
    """What an instance is doing, in words that fit every provider."""

    #: On its way to running.
    STARTING = "starting"
    #: Can be used now, or is being used.
    RUNNING = "running"
    #: Saved, and soon running again when asked.
    HIBERNATED = "hibernated"
    #: Busy with itself: resizing, installing, moving.
    MAINTENANCE = "maintenance"
    #: On its way to stopped.
    STOPPING = "stopping"
    #: Off; whether it can be started again depends on the provider.
    STOPPED = "stopped"
    #: Broken.
    FAILED = "failed"
    #: The provider said something that this SDK does not know; ask the resource.
    UNKNOWN = "unknown"


@runtime_checkable
class Controllable(Protocol):
    """What the machines, sessions and desktops of every provider can do. Each method acts on the object it is called on.

    Starting and opening are not among it, because not every provider can: a Streams machine that ended does not start
    again, and its link goes with an assignment. Machines of Computers and sessions of StreamSpace have ``start``; these
    and desktops have ``connect_url``.
    """

    async def stop(self) -> object:
        """Make it stop. Except for machines of Computers, that is for good."""
        ...

    async def wait_until(
        self, state: str, /, *, timeout: timedelta | float = ..., poll: timedelta | float = ...
    ) -> object:
        """Wait for a state, in the provider's words."""
        ...


@frozen
class Instance:
    """Something that runs, or could.

    Attributes:
        provider: ``"streams"``, ``"computers"``, ``"streamspace"`` or ``"desktops"``.
        id: the provider's id for it.
        name: what a person would call it.
        state: what it is doing, in the shared vocabulary.
        region: where it is; None when the provider does not say.
        started_at: since when it runs; None when it does not, or the provider does not say.
        resource: the provider's own object, to act on.
    """

    provider: str
    id: str
    name: str
    state: InstanceState
    region: str | None
    started_at: datetime | None
    resource: Controllable


class Instances(AsyncIterator[Instance]):
    """Everything on all configured providers, as it arrives; providers are asked concurrently, one page each at a time.

    ``prefetch(8)`` reads ahead; stopping early cancels what is under way.

    One provider that fails does not hide the others: its error is in ``errors``, under its name, when the iteration ends.
    Of a page some items of which cannot be read, the others are shown, and the pages after it.

    Attributes:
        errors: what went wrong first, by provider.
    """

    def __init__(self, sources: Mapping[str, Pager[Instance]]) -> None:
        self.errors: dict[str, VCloudError] = {}
        self._sources = sources
        self._pages = {name: pager.pages() for name, pager in sources.items()}
        self._asked: dict[str, asyncio.Task[Page[Instance] | None]] = {}
        self._left: list[asyncio.Task[Page[Instance] | None]] = []
        self._ready: deque[Instance] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Instance:
        while not self._ready:
            if not self._pages:
                raise StopAsyncIteration
            await self._ask()
        return self._ready.popleft()

    def prefetch(self, n: int) -> Instances:
        """The same, each provider read up to ``n`` pages ahead, as by :meth:`Pager.prefetch`.

        Raises:
            InvalidArgumentError: ``n`` is no whole number of at least 1.
        """
        return Instances({name: pager.prefetch(n) for name, pager in self._sources.items()})

    async def all(self) -> list[Instance]:
        """Every instance of every provider that answered."""
        return [instance async for instance in self]

    async def aclose(self) -> None:
        """Cancel what is under way and return when it is over. Iterating on asks for it again."""
        self._leave()
        await cancel_and_wait(self._left)
        for pages in self._pages.values():
            await pages.aclose()

    def __del__(self) -> None:
        abandon(self._asked.values())

    def _leave(self) -> None:
        """Ask for no more; a page that is there already stays."""
        for name in [name for name, task in self._asked.items() if not task.done()]:
            self._left.append(self._asked.pop(name))
        abandon(self._left)

    async def _ask(self) -> None:
        """Ask each provider that still has pages for its next one, and take what comes first."""
        # A provider's pages are read by one task at a time.
        await cancel_and_wait(self._left)
        self._left.clear()
        for name, pages in self._pages.items():
            if name not in self._asked:
                self._asked[name] = begin(anext(pages, None))
        try:
            await asyncio.wait(self._asked.values(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave()
            raise
        for name in [name for name, task in self._asked.items() if task.done()]:
            try:
                page = self._asked.pop(name).result()
            except ConfigurationError:
                raise  # about the client, not about one provider
            except VCloudError as error:
                self.errors.setdefault(name, error)
                if self._pages[name].passed(error):
                    self._ready.extend(error.items)
                else:
                    del self._pages[name]
                continue
            if page is None:
                del self._pages[name]
            else:
                self._ready.extend(page.items)
