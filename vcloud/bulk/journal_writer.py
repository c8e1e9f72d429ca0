"""Writes an open journal in a thread, so that the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from vcloud._core.cleanup import run_to_completion
from vcloud.bulk.entry import Entry
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.bulk.store import JournalStore
from vcloud.errors import ConfigurationError

V = TypeVar("V")

#: Seconds that a disk may take to finish when the journal is closed.
_CLOSE_TIMEOUT: Final = 10.0


class JournalWriter:
    """Writes the open journal of a bulk run. Other callers use :class:`Journal`.

    Items that are submitted while a transaction is being written wait for the next one, and are
    written together: the disk is as slow for one item as for fifty.

    Args:
        path: the file, for messages.
        store: the open file.
        thread: a pool of one thread, in which the file was opened. It is shut down on closing.
    """

    def __init__(self, path: Path, store: JournalStore, thread: ThreadPoolExecutor) -> None:
        self._path = path
        self._store = store
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._closed = False
        #: Why a transaction failed, once one has.
        self._failure: BaseException | None = None
        self._waiting: list[tuple[Callable[[JournalStore], object], asyncio.Future[Any]]] = []
        self._writing: asyncio.Future[list[object]] | None = None

    async def aclose(self) -> None:
        """Write what is left, and close the file.

        Raises:
            ConfigurationError: the file is no longer what was opened, or its disk does not answer
                for 10 seconds.
        """
        store = self._store
        try:
            # A forked child does not have the thread, and must leave the file to its parent.
            if not store.inherited and self.in_its_loop():
                await run_to_completion(self._write_and_close(), within=_CLOSE_TIMEOUT)
            elif not store.inherited:
                # The loop was closed while the journal was open, so nothing can be awaited.
                wait({self._thread.submit(store.close)}, _CLOSE_TIMEOUT)
        except TimeoutError:
            raise ConfigurationError(
                f"the disk of the journal {self._path} did not answer for {_CLOSE_TIMEOUT:g} s: "
                "the last outcomes may be missing there; check the disk, and look for these items "
                "at the service"
            ) from None
        finally:
            self._closed = True
            self._thread.shutdown(wait=False)
        if store.lost is not None:
            raise ConfigurationError(store.lost)

    async def _write_and_close(self) -> None:
        # A failed write was raised where it was awaited.
        with contextlib.suppress(ConfigurationError):
            await self.submit(lambda _: None)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)

    def in_its_loop(self) -> bool:
        """Whether the event loop in which the journal was opened is running."""
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def check(self) -> None:
        """Check, without waiting, that no write has failed and that the file is in its place.

        Raises:
            ConfigurationError: a write has failed, or the file is not in its place.
        """
        if self._failure is not None:
            raise ConfigurationError(str(self._failure))
        if not self._closed:
            self._store.check()

    async def entries(self) -> list[Entry]:
        """All entries, by key."""
        return await self.submit(JournalStore.entries)

    async def counts(self) -> dict[OutcomeStatus, int]:
        """How many items have each status."""
        return await self.submit(JournalStore.counts)

    async def count_others(self, keys: Container[str]) -> int:
        """How many items have none of these keys."""
        return await self.submit(lambda store: store.count_others(keys))

    async def begin(
        self,
        key: str,
        ticket: int,
        repeated: Container[OutcomeStatus],
        reference: str | None = None,
    ) -> Entry | None:
        """Look an item up and write its intent, as :meth:`JournalStore.begin` does."""
        return await self.submit(lambda store: store.begin(key, ticket, repeated, reference))

    async def intend(self, key: str, ticket: int) -> None:
        """Write that an item is started."""
        await self.submit(lambda store: store.intend(key, ticket))

    # These are written even if they are not awaited, because a cancelled item cannot wait.

    def finish(self, entry: Entry) -> asyncio.Future[None]:
        """Write the outcome of an item."""
        return self.submit(lambda store: store.finish(entry))

    def erase(self, key: str, ticket: int) -> asyncio.Future[None]:
        """Write that nothing was sent for an item, as :meth:`JournalStore.erase` does."""
        return self.submit(lambda store: store.erase(key, ticket))

    def submit(self, work: Callable[[JournalStore], V]) -> asyncio.Future[V]:
        """Run this in the thread, in the next transaction.

        Raises:
            ConfigurationError: the journal is closed, or this process was forked from the one that
                opened it.
        """
        if self._closed:
            raise not_open(self._path)
        if self._store.inherited:
            raise ConfigurationError(
                f"the journal {self._path} was opened by the process from which this one was "
                "forked: open a journal of its own in each process"
            )
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        # A cancelled caller never retrieves the error.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append((work, future))
        if self._writing is None:
            self._write_batch()
        return future

    def _write_batch(self) -> None:
        """Write in one transaction whatever waits."""
        batch, self._waiting = self._waiting, []
        works = [work for work, _ in batch]
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._thread, self._store.run_together, works
        )
        self._writing.add_done_callback(partial(self._written, [future for _, future in batch]))

    def _written(
        self, futures: list[asyncio.Future[Any]], done: asyncio.Future[list[object]]
    ) -> None:
        self._writing = None
        error = done.exception()
        self._failure = self._failure or error
        results = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            # Any error: an intent that was not written must not be taken for one that was.
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._waiting:
            self._write_batch()


def not_open(path: Path) -> ConfigurationError:
    """The error of a journal that is not open."""
    return ConfigurationError(
        f"the journal {path} is not open: open it with `async with`, or run a bulk run with it"
    )
