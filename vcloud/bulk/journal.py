"""The public class of a journal, the file that survives a killed bulk run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar, overload

from vcloud.bulk.entry import Entry
from vcloud.bulk.journal_lists import planned_count
from vcloud.bulk.journal_opening import JournalOpener, opened
from vcloud.bulk.journal_rows import all_rows, write_csv
from vcloud.bulk.plan import Plan
from vcloud.errors import ConfigurationError, InvalidArgumentError

T = TypeVar("T")
H = TypeVar("H")


class Journal(JournalOpener):
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

    async def entries(self) -> list[Entry]:
        """All entries, by key. Only while the journal is open, for you or for its run.

        Raises:
            ConfigurationError: it is not open, or cannot be read.
        """
        return await self.writer.entries()

    async def rows(self) -> list[dict[str, Any]]:
        """A table of the whole job, by key: plain values, for a report or a DataFrame.

        The columns are ``key``, ``status``, ``attempts``, ``duration_s``, ``error`` and
        ``recorded``; a list or an object in ``recorded`` is its JSON text. Items of the plan that
        were not started are ``undone``. The journal is opened for this, unless it is open.

        Raises:
            ConfigurationError: there is no such file, it cannot be read, or a run of another
                ``Journal`` object or process has it.
        """
        self._check_exists()
        async with opened(self) as writer:
            return await all_rows(writer)

    async def to_csv(self, path: str | os.PathLike[str]) -> int:
        """Write these rows to a file, in UTF-8 and with a heading, and return how many there are.

        A text that a spreadsheet would take for a formula begins with an apostrophe there. Memory
        is bounded, however many rows there are.

        Raises:
            InvalidArgumentError: ``path`` is not a path.
            ConfigurationError: as for :meth:`rows`.
            OSError: the file cannot be written.
        """
        if not isinstance(path, str | os.PathLike):
            raise InvalidArgumentError(f"path must be the path of a file, not {path!r:.80}")
        self._check_exists()
        async with opened(self) as writer:
            return await write_csv(writer, Path(path))

    async def planned(self) -> int | None:
        """How many items its plan has; None if no plan was written.

        Raises:
            ConfigurationError: it cannot be read, or a run of another ``Journal`` object or process
                has it.
        """
        if not self.is_open and not self.path.exists():
            return None
        async with opened(self) as writer:
            return await writer.submit(lambda store: planned_count(store.database))

    def _check_exists(self) -> None:
        # Opening would make the file, and an empty report of a wrong path looks like a right one.
        if not self.is_open and not self.path.exists():
            raise ConfigurationError(f"there is no journal {self.path}: no run has made it yet")

    @overload
    def plan(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        key: Callable[[T], str] | None = None,
    ) -> Plan[T]: ...
    @overload
    def plan(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        key: Callable[[T], str] | None = None,
        handle: Callable[[str], H],
    ) -> Plan[H]: ...
    def plan(
        self,
        items: Iterable[T] | AsyncIterable[T],
        *,
        key: Callable[[T], str] | None = None,
        handle: Callable[[str], Any] | None = None,
    ) -> Plan[Any]:
        """The items of this job, fixed by the first run; later runs work off the same ones.

        ::

            plan = Journal("stop.journal").plan(cloud.computers.machines.list(status="ready"))
            print(await plan.write(), "machines will be stopped")  # a dry run: nothing is done
            print(await cloud.bulk(plan, lambda machine: machine.stop()).run())

        The first :meth:`Plan.write <vcloud.bulk.Plan.write>`, iteration or run lists the items and
        writes all of them down before it starts one. Later ones read the plan, and do not list. The
        run yields, and calls its action with, what is made of the keys: a handle of a machine has
        its id and its verbs, and ``refresh()`` fetches its fields.

        Args:
            items: what the first run lists: as for a run.
            key: returns the name of an item, as for a run.
            handle: makes an item of its key. By default strings, numbers, instances and handles are
                made again, those of the SDK through the client of the run.

        Raises:
            InvalidArgumentError: ``items`` cannot be iterated, or the others are no functions.
        """
        return Plan(self, items, key=key, handle=handle)
