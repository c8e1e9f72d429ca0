"""What runs on all configured providers, as one list with common states.

The view of a single instance is in :mod:`vcloud._core.instances`, which the providers import.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Self

from vcloud._core.instances import (
    Capabilities,
    Controllable,
    Instance,
    InstanceRef,
    InstanceState,
)
from vcloud._core.paging.pager import Pager
from vcloud._core.paging.pages import abandon, begin
from vcloud._core.paging.source import Page
from vcloud._core.tasks import cancel_and_wait
from vcloud.errors import ConfigurationError, VCloudError

__all__ = [
    "Capabilities",
    "Controllable",
    "Instance",
    "InstanceRef",
    "InstanceState",
    "Instances",
]


class Instances(AsyncIterator[Instance]):
    """The instances of all configured providers, as they arrive.

    Providers are asked concurrently, each for one page at a time; ``prefetch(8)`` reads ahead.
    Stopping early cancels the requests in flight.

    A provider that fails does not hide the others: when the iteration ends, its error is in
    ``errors``. Where some items of a page cannot be decoded, the other items and the pages after it
    are shown.

    Attributes:
        errors: the first error of each provider that failed, by the provider's name.
    """

    def __init__(self, sources: Mapping[str, Pager[Instance]]) -> None:
        self.errors: dict[str, VCloudError] = {}
        self._sources = sources
        self._pages = {name: pager.pages() for name, pager in sources.items()}
        self._requests: dict[str, asyncio.Task[Page[Instance] | None]] = {}
        self._cancelled: list[asyncio.Task[Page[Instance] | None]] = []
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
        """The same, with up to ``n`` pages of each provider read ahead; see :meth:`Pager.prefetch`.

        Raises:
            InvalidArgumentError: ``n`` is not a whole number of at least 1.
        """
        return Instances({name: pager.prefetch(n) for name, pager in self._sources.items()})

    async def all(self) -> list[Instance]:
        """Every instance of every provider that answered."""
        return [instance async for instance in self]

    async def aclose(self) -> None:
        """Cancel the requests in flight, and return when they are over.

        To continue iterating requests these pages again.
        """
        self._cancel_requests()
        await cancel_and_wait(self._cancelled)
        for pages in self._pages.values():
            await pages.aclose()

    def __del__(self) -> None:
        abandon(self._requests.values())

    def _cancel_requests(self) -> None:
        """Cancel the requests in flight; a page that has arrived stays."""
        for name in [name for name, task in self._requests.items() if not task.done()]:
            self._cancelled.append(self._requests.pop(name))
        abandon(self._cancelled)

    async def _ask(self) -> None:
        """Ask each provider with further pages for the next one, and take what arrives first."""
        # One task at a time may read a provider's pages.
        await cancel_and_wait(self._cancelled)
        self._cancelled.clear()
        for name, pages in self._pages.items():
            if name not in self._requests:
                self._requests[name] = begin(anext(pages, None))
        try:
            await asyncio.wait(self._requests.values(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._cancel_requests()
            raise
        for name in [name for name, task in self._requests.items() if task.done()]:
            try:
                page = self._requests.pop(name).result()
            except ConfigurationError:
                raise  # the client's, not that of one provider
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
