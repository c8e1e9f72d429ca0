"""Opens and closes a journal's file, in the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from vcloud._core.log import printable_logger
from vcloud._core.process_limits import (
    LIMITS,
    MAX_WAIT,
    close_idle_descriptors,
    describe_limit,
    descriptor_limit_reached,
    limit_reached,
)
from vcloud._core.wrong_arguments import explained
from vcloud.bulk.journal_writer import JournalWriter, not_open
from vcloud.bulk.store import JournalStore
from vcloud.errors import ConfigurationError

#: File descriptors that an open journal uses, and one to spare: SQLite also opens the folder.
_DESCRIPTORS: Final = 8
#: Seconds between two checks whether there are so many.
_CHECK_INTERVAL: Final = 0.05
_log = printable_logger("vcloud.bulk")


def _open_store(path: Path, job: str, *, check_owner: bool) -> JournalStore:
    """Open the files, in the thread of the journal.

    Raises:
        OSError: this process has not enough file descriptors left.
    """
    # Before, because SQLite does not say why a file could not be opened.
    if (number := descriptor_limit_reached(_DESCRIPTORS)) is None:
        try:
            return JournalStore(path, job, check_owner=check_owner)
        except ConfigurationError:
            # Something else in this process may have used them meanwhile.
            if (number := descriptor_limit_reached()) is None:
                raise
    raise OSError(number, os.strerror(number))


def _close_if_opened(opening: Future[JournalStore]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class JournalOpener:
    """Opens and closes the file of a :class:`~vcloud.Journal`, which describes the arguments."""

    @explained("Journal")
    def __init__(
        self, path: str | os.PathLike[str], *, job: str = "", check_owner: bool = True
    ) -> None:
        self.path: Path = Path(path)
        self.job: str = job
        self.check_owner: bool = check_owner
        self._writer: JournalWriter | None = None
        self._opening = False

    @property
    def is_open(self) -> bool:
        """Whether it is open, for you or for its run."""
        return self._writer is not None

    @property
    def writer(self) -> JournalWriter:
        """The writer, for the run.

        Raises:
            ConfigurationError: it is not open.
        """
        if self._writer is None:
            raise not_open(self.path)
        return self._writer

    async def aopen(self) -> Self:
        """Open without ``async with``. You must call :meth:`aclose` then.

        Raises:
            ConfigurationError: it is in use, damaged, of another job, from a later version, not
                this user's alone, or cannot be written or locked.
        """
        if self._writer is not None or self._opening:
            raise ConfigurationError(f"the journal {self.path} is in use by another run")
        self._opening = True
        # One thread, because waiting for the disk is all that is done there.
        thread = ThreadPoolExecutor(1, thread_name_prefix="vcloud-journal")
        try:
            store = await self._open_when_possible(thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        finally:
            self._opening = False
        self._writer = JournalWriter(self.path, store, thread)
        return self

    async def _open_when_possible(self, thread: ThreadPoolExecutor) -> JournalStore:
        """Open the files. Wait for file descriptors if this process has none left."""
        loop = asyncio.get_running_loop()
        until, logged = loop.time() + MAX_WAIT, False
        while True:
            opening = thread.submit(_open_store, self.path, self.job, check_owner=self.check_owner)
            try:
                return await asyncio.wrap_future(opening)
            except OSError as error:
                number = limit_reached(error)
                if number is None:
                    raise
            except BaseException:
                # After a cancellation the thread opens the files all the same, so it must close
                # them too.
                thread.submit(_close_if_opened, opening)
                raise
            if loop.time() >= until:
                raise ConfigurationError(
                    f"the journal {self.path} cannot be opened: {describe_limit(number)}, and none "
                    f"came free within {MAX_WAIT:g} s: {LIMITS[number][1]}"
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
            await asyncio.sleep(_CHECK_INTERVAL)

    async def aclose(self) -> None:
        """Write what is left, and close the file. May be called twice.

        Raises:
            ConfigurationError: the file is no longer what was opened, or its disk does not answer
                for 10 seconds.
        """
        if self._writer is None:
            return
        try:
            await self._writer.aclose()
        finally:
            self._writer = None

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close. What is wrong with the file is raised; or noted on ``error``, and logged."""
        try:
            await self.aclose()
        except ConfigurationError as wrong:
            if error is None:
                raise
            if str(wrong) != str(error):
                error.add_note(str(wrong))
                _log.error("%s", wrong)

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, job={self.job!r})"


@asynccontextmanager
async def opened(journal: JournalOpener) -> AsyncIterator[JournalWriter]:
    """The writer of a journal, which is opened for this block unless it is open already."""
    if journal.is_open:
        yield journal.writer
        return
    async with journal:
        yield journal.writer
