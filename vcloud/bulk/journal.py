"""The public class of a journal, the file that survives a killed bulk run."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
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
from vcloud.bulk.journal_writer import JournalWriter, not_open
from vcloud.bulk.store import Entry, JournalStore
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


class Journal:
    """A SQLite file in which a bulk run records what it is about to do, and every outcome.

    Before the action of an item starts, the journal records it as started, on the disk and not in
    a cache. So if the process or the machine is killed, the file shows which items are done, which
    failed, and which are unknown. It holds keys, errors and what the run's ``record`` returns. It
    holds no credentials, and only its owner can read it.

    ::

        async with Journal("start.journal") as journal:
            for entry in await journal.entries():
                print(repr(entry.key), entry.status)

    A run opens its journal itself. Only one run, in this process or another, can have a journal
    open: it holds the lock of ``NAME.lock``, an empty file beside it, until the journal is closed
    or the process ends. That file is never deleted. A forked child cannot use the journal, and does
    not keep it locked. Reading the file meanwhile, to copy it, does no harm.

    **The file must stay where it is.** If it or its ``NAME.lock`` is removed, renamed, replaced or
    truncated while it is open, or changed by another program, every further use raises
    :class:`~vcloud.ConfigurationError`, and a run ends before it starts one more item. The same
    happens if the file cannot be written, for example because the disk is full.

    **Only its owner may write it.** A user who can write a journal decides what is done and what is
    not. So a journal is refused if it belongs to another user, if group or others may write it, or
    if it is a symbolic link. The same holds for its lock file and for what SQLite puts beside it.
    Symbolic links on the way to its folder are followed. root accepts its own files, and those of
    the user who owns the folder. A folder in which others may replace files is logged at WARNING,
    unless it is sticky, such as ``/tmp``. All this is for POSIX.

    **Keep it on a local disk.** NFS has flock(2) since Linux 2.6.12, if server and mount permit it.
    With the mount options ``nolock`` or ``local_lock=flock``, two hosts do not see each other's
    locks. What another host does to the file is seen only after the client has refreshed its
    attributes (``acregmax``, by default 60 s; nfs(5)).

    Args:
        path: the file. It is made if it does not exist, as ``NAME.lock`` is, for its owner alone.
        job: what the run does, in your words. A journal of another job is refused.
        check_owner: False accepts files of any owner and mode, for file systems without
            owners and modes (FAT, SMB) or with those of another machine (NFS). Symbolic links are
            refused all the same.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, job: str = "", check_owner: bool = True
    ) -> None:
        self.path: Path = Path(path)
        self.job: str = job
        self.check_owner: bool = check_owner
        self._writer: JournalWriter | None = None
        self._opening = False

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

    async def entries(self) -> list[Entry]:
        """All entries, by key. Only while the journal is open, for you or for its run.

        Raises:
            ConfigurationError: it is not open, or cannot be read.
        """
        return await self.writer.entries()

    def __repr__(self) -> str:
        return f"Journal({str(self.path)!r}, job={self.job!r})"
