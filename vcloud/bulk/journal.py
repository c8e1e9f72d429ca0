"""The journal of a bulk run: what must survive the process, written without holding up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Container
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from vcloud._core.cleanup import run_to_completion
from vcloud._core.log import printable_logger
from vcloud._core.process_limits import (
    LIMITS,
    MAX_WAIT,
    close_idle_descriptors,
    describe_limit,
    descriptor_limit_reached,
    limit_reached,
)
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.bulk.store import Entry, Ledger
from vcloud.errors import ConfigurationError

V = TypeVar("V")

#: File descriptors that an open journal has, and one to spare: SQLite looks at the folder as well.
_DESCRIPTORS = 8
#: Seconds between two looks whether there are so many.
_LOOK = 0.05
#: Seconds that a disk may take to come to an end.
_PATIENCE = 10.0
_log = printable_logger("vcloud.bulk")


def _open(path: Path, job: str, *, check_owner: bool) -> Ledger:
    """Open the files, in the thread of the journal.

    Raises:
        OSError: this process has not enough file descriptors left.
    """
    # Before, because SQLite does not say why a file could not be opened.
    if (number := descriptor_limit_reached(_DESCRIPTORS)) is None:
        try:
            return Ledger(path, job, check_owner=check_owner)
        except ConfigurationError:
            # Somebody else of this process may have taken them meanwhile.
            if (number := descriptor_limit_reached()) is None:
                raise
    raise OSError(number, os.strerror(number))


def _close_if_opened(opening: Future[Ledger]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class Journal:
    """A SQLite file in which a bulk run writes down what it is about to do and what became of it.

    An item is written down as begun before its action starts, on the disk and not in a cache; so whatever kills the process,
    or the machine, leaves a file that says what is done, what failed, and of what nobody knows. It holds keys, errors and what
    the run's ``record`` makes of results. It holds no credentials, and only its owner can read it.

    ::

        async with Journal("start.journal") as journal:
            for entry in await journal.entries():
                print(repr(entry.key), entry.status)

    A run opens its journal itself, and one that is open is nobody else's, in this process or
    another: whoever opened it holds the lock of ``NAME.lock``, an empty file beside it, until it is
    closed or its process ends. That file is never deleted. A child that is forked cannot use the
    journal, and keeps nobody from it. Reading the file meanwhile, to copy it, does no harm.

    **The file stays where it is.** When it, or its ``NAME.lock``, is removed, renamed, replaced or
    truncated while it is open, or changed by another program, every further use raises
    :class:`~vcloud.ConfigurationError`, and a run ends before it begins one more item. So it does
    when the file cannot be written, because its disk is full, say.

    **It is its owner's alone.** Whoever can write a journal decides what is done and what is not. So
    a journal that belongs to another user, that group or others may write, or that is a symbolic
    link is refused, and so are its lock file and what SQLite puts beside it. Symbolic links on the
    way to its folder are followed. root accepts its own files, and those of the user who owns the
    folder. A folder in which others may replace files is logged at WARNING; a sticky one, such as
    ``/tmp``, is none. All this is for POSIX.

    **On a local disk.** NFS has flock(2) since Linux 2.6.12, if server and mount permit it. With
    the mount options ``nolock`` or ``local_lock=flock``, two hosts do not see each other's locks.
    What another host does to the file is seen only when the client has refreshed its attributes
    (``acregmax``, by default 60 s; nfs(5)).

    Args:
        path: the file; made when it is not there, as ``NAME.lock`` is, for its owner alone.
        job: says what the run does, in your words. A journal of another job is refused.
        check_owner: False accepts files whoever owns and may write them, for file systems without
            owners and rights (FAT, SMB) or with those of another machine (NFS). Symbolic links are
            refused all the same.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, job: str = "", check_owner: bool = True
    ) -> None:
        self.path = Path(path)
        self.job = job
        self.check_owner = check_owner
        self._ledger: Ledger | None = None
        self._opening = False
        #: Why it could not be written, once that has failed.
        self._failure: BaseException | None = None
        self._waiting: list[tuple[Callable[[Ledger], object], asyncio.Future[Any]]] = []
        self._writing: asyncio.Future[list[object]] | None = None

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call.

        Raises:
            ConfigurationError: it is in use, damaged, of another job, from a later version, not
                this user's alone, or cannot be written or locked.
        """
        if self._ledger is not None or self._opening:
            raise ConfigurationError(f"the journal {self.path} is in use by another run")
        self._opening = True
        # One thread, because waiting for the disk is all that is done there.
        thread = ThreadPoolExecutor(1, thread_name_prefix="vcloud-journal")
        try:
            ledger = await self._opened(thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        finally:
            self._opening = False
        self._ledger, self._thread, self._failure = ledger, thread, None
        self._loop = asyncio.get_running_loop()
        return self

    async def _opened(self, thread: ThreadPoolExecutor) -> Ledger:
        """Open the files; wait for descriptors where this process has none left."""
        loop = asyncio.get_running_loop()
        until, logged = loop.time() + MAX_WAIT, False
        while True:
            opening = thread.submit(_open, self.path, self.job, check_owner=self.check_owner)
            try:
                return await asyncio.wrap_future(opening)
            except OSError as error:
                number = limit_reached(error)
                if number is None:
                    raise
            except BaseException:
                # Cancelled, it opens all the same, and nobody would close it; what opened it must.
                thread.submit(_close_if_opened, opening)
                raise
            if loop.time() >= until:
                raise ConfigurationError(
                    f"the journal {self.path} cannot be opened: {describe_limit(number)}, and none came "
                    f"free within {MAX_WAIT:g} s: {LIMITS[number][1]}"
                )
            if not logged:
                _log.warning(
                    "%s; the journal %s waits for it, up to %g s: %s",
                    describe_limit(number),
                    self.path,
                    MAX_WAIT,
                    LIMITS[number][1],
                )
                logged = True
            close_idle_descriptors()
            await asyncio.sleep(_LOOK)

    async def aclose(self) -> None:
        """Write down what is left, and let go of the file. May be called twice.

        Raises:
            ConfigurationError: the file is no longer what was opened, or its disk does not answer
                for 10 seconds.
        """
        ledger = self._ledger
        if ledger is None:
            return
        try:
            # A child that was forked has not the thread, and must leave the file to its parent.
            if not ledger.foreign and self._in_its_loop():
                await run_to_completion(self._end(ledger), within=_PATIENCE)
            elif not ledger.foreign:
                # The loop was closed over whoever had opened it, and nothing can be awaited.
                wait({self._thread.submit(ledger.close)}, _PATIENCE)
        except TimeoutError:
            raise ConfigurationError(
                f"the disk of the journal {self.path} does not answer"
            ) from None
        finally:
            self._ledger = None
            self._thread.shutdown(wait=False)
        if ledger.lost is not None:
            raise ConfigurationError(ledger.lost)

    def _in_its_loop(self) -> bool:
        """Whether the event loop that it was opened in runs, and was not closed over this."""
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    async def _end(self, ledger: Ledger) -> None:
        # Whoever waited for what cannot be written was told.
        with contextlib.suppress(ConfigurationError):
            await self._post(lambda _: None)
        await asyncio.get_running_loop().run_in_executor(self._thread, ledger.close)

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close. What is wrong with the file is raised; or noted on ``error``, and logged."""
        try:
            await self.aclose()
        except ConfigurationError as wrong:
            if error is None:
                raise
            if str(wrong) != str(error):
                error.add_note(str(wrong))
                _log.error("%s", wrong)

    async def entries(self) -> list[Entry]:
        """What it says, by key. Only while it is open: by ``async with journal``, or by the run that it belongs to.

        Raises:
            ConfigurationError: it is not open, or cannot be read.
        """
        return await self._post(Ledger.entries)

    # What follows is the run's.

    def _check(self) -> None:
        """Assert that the file could be written so far, and is in its place; without waiting."""
        if self._failure is not None:
            raise ConfigurationError(str(self._failure))
        if self._ledger is not None:
            self._ledger.check()

    async def _counts(self) -> dict[OutcomeStatus, int]:
        return await self._post(Ledger.counts)

    async def _others(self, keys: Container[str]) -> int:
        return await self._post(lambda ledger: ledger.others(keys))

    async def _begin(self, key: str, ticket: int, again: Container[OutcomeStatus]) -> Entry | None:
        return await self._post(lambda ledger: ledger.begin(key, ticket, again))

    async def _intend(self, key: str, ticket: int) -> None:
        await self._post(lambda ledger: ledger.intend(key, ticket))

    # These are written in turn whether or not anybody awaits it: one who is told to stop has no time to.

    def _finish(self, entry: Entry) -> asyncio.Future[None]:
        return self._post(lambda ledger: ledger.finish(entry))

    def _erase(self, key: str, ticket: int) -> asyncio.Future[None]:
        return self._post(lambda ledger: ledger.erase(key, ticket))

    def _post(self, work: Callable[[Ledger], V]) -> asyncio.Future[V]:
        if self._ledger is None:
            raise ConfigurationError(f"the journal {self.path} is not open")
        if self._ledger.foreign:
            raise ConfigurationError(
                f"the journal {self.path} belongs to the process that opened it, "
                "from which this one was forked"
            )
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        # Whoever was cancelled meanwhile does not ask what became of it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting.append((work, future))
        if self._writing is None:
            self._write_together(self._ledger)
        return future

    def _write_together(self, ledger: Ledger) -> None:
        """One transaction for all that wait: the disk is as slow for one as for fifty."""
        batch, self._waiting = self._waiting, []
        works = [work for work, _ in batch]
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._thread, ledger.together, works
        )
        self._writing.add_done_callback(
            partial(self._written, ledger, [future for _, future in batch])
        )

    def _written(
        self, ledger: Ledger, futures: list[asyncio.Future[Any]], done: asyncio.Future[list[object]]
    ) -> None:
        self._writing = None
        error = done.exception()
        self._failure = self._failure or error
        results = [error] * len(futures) if error is not None else done.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():
                continue
            # Whatever it is: an intent that is not written down must not pass for one that is.
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        if self._waiting:
            self._write_together(ledger)

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, job={self.job!r})"
