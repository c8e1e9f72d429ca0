"""What runs on all configured providers, as one list with common states.

The view of a single instance is in :mod:`vcloud._core.instances`, which the providers import.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, ClassVar, NoReturn, Self

from vcloud._core.guided import Guided
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
from vcloud._core.timing.running_time import timeout_running
from vcloud.errors import ConfigurationError, RequestTimeout, VCloudError

__all__ = [
    "Capabilities",
    "Controllable",
    "Instance",
    "InstanceRef",
    "InstanceState",
    "Instances",
]


class Instances(Guided, AsyncIterator[Instance]):
    """The instances of all configured providers, as they arrive.

    Providers are asked concurrently, each for one page at a time; ``prefetch(8)`` reads ahead.
    Stopping early cancels the requests in flight.

    A provider that fails does not hide the others: when the iteration ends, its error is in
    ``errors``. Where some items of a page cannot be decoded, the other items and the pages after it
    are shown.

    Args:
        sources: the instances of each provider, by its name.
        timeout: seconds for which an iteration waits for answers, in all. A provider that has not
            answered in full by then has failed with a RequestTimeout. None: as long as it takes.

    Attributes:
        errors: the first error of each provider that failed, by the provider's name.
    """

    _absent: ClassVar[Mapping[str, str]] = {
        "first": "write await anext(instances)",
        **dict.fromkeys(("take", "limit"), "leave the loop when you have enough"),
        "list": "did you mean all?",
    }

    def __init__(
        self, sources: Mapping[str, Pager[Instance]], timeout: float | None = None
    ) -> None:
        self.errors: dict[str, VCloudError] = {}
        self._timeout = self._left = timeout
        self._sources = sources
        self._pages = {name: pager.pages() for name, pager in sources.items()}
        self._requests: dict[str, asyncio.Task[Page[Instance] | None]] = {}
        self._cancelled: list[asyncio.Task[Page[Instance] | None]] = []
        self._ready: deque[Instance] = deque()

    if not TYPE_CHECKING:

        def __await__(self) -> NoReturn:
            raise TypeError(
                "instances are not awaited themselves: use `async for instance in ...`, or "
                "`await ....all()`"
            )

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
        sources = {name: pager.prefetch(n) for name, pager in self._sources.items()}
        return Instances(sources, self._timeout)

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
            await self._wait()
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

    async def _wait(self) -> None:
        """Wait until a page is there, or a provider has failed, or the time is over."""
        requests = self._requests.values()
        if self._left is None:
            await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
            return
        # While the process is stopped, no provider is late.
        timer = timeout_running(self._left)
        try:
            async with timer:
                await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            self._give_up()
            await cancel_and_wait(self._cancelled)
        self._left = max(0.0, timer.left)

    def _give_up(self) -> None:
        """Keep the pages that are there, and record of every other provider that it is late."""
        late = [name for name, task in self._requests.items() if not task.done()]
        self._cancel_requests()
        for name in late:
            del self._pages[name]
            error = RequestTimeout(
                f"{name} did not answer in full within {self._timeout:g} s, the timeout of "
                "instances()"
            )
            self.errors.setdefault(name, error)
