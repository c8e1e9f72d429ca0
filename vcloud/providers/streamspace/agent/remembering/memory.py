"""What an agent knows of the commands that it carried out, and of its sessions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Final

from vcloud._core.timing.running_time import wait_running
from vcloud.errors import VCloudError
from vcloud.providers.streamspace.agent.messages import Command, SessionReport, StartSession
from vcloud.providers.streamspace.agent.remembering.store import (
    Began,
    Change,
    CommandStore,
    Ended,
    Remembered,
    Reported,
    storable,
)
from vcloud.providers.streamspace.models import SessionState

__all__ = ["STOPPED", "CommandMemory"]

#: Why a command failed that was in flight when its agent ended.
STOPPED: Final = "the agent stopped before it was done"
#: How many commands are known. The oldest are forgotten.
MAX_COMMANDS: Final = 262_144
#: How many changes wait for a disk that is full.
MAX_UNWRITTEN: Final = 65_536
#: Seconds for the last changes, and the file, when the agent ends.
CLOSE_TIMEOUT: Final = 5.0


class CommandMemory:
    """Knows which commands were carried out. With a file, also those of earlier processes.

    A command is written before it is carried out. If the file cannot be written meanwhile (a full
    disk), commands continue, this process still repeats none, and the changes are written later.

    Args:
        path: the file; None: this process only.
        agent_id: the agent's name; the file of another agent is refused.
        on_error: is called when the file cannot be written, once until it can.
    """

    def __init__(
        self, path: Path | None, agent_id: str, on_error: Callable[[Exception], None]
    ) -> None:
        self._path = path
        self._agent_id = agent_id
        self._on_error = on_error
        #: Whether each command was completed, by a digest of its id: a fifth of the memory.
        self._completed: dict[int, bool] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._store: CommandStore | None = None
        self._unwritten: list[Change] = []
        self._writing = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
        self._failed = False

    async def open(self) -> list[SessionReport]:
        """Read the file.

        Returns:
            the last report of each session. A start that was in flight when the process was killed
            has failed.

        Raises:
            ConfigurationError: the file is in use, damaged, another agent's, or not this user's
                alone; or it cannot be made.
        """
        if self._path is None:
            return []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vcloud-agent")
        opening = self._thread.submit(CommandStore, self._path, self._agent_id, MAX_COMMANDS)
        try:
            store = await asyncio.wrap_future(opening)
        except BaseException:
            # After a cancellation the thread opens the file all the same.
            self._thread.submit(_close_if_opened, opening)
            self._thread.shutdown(wait=False)
            self._thread = None
            raise
        self._store = store
        return self._load(store.remembered)

    def outcome(self, command: Command) -> bool | None:
        """Whether a command was completed; None: it is new."""
        return self._completed.get(_digest(command))

    async def begin(self, command: Command) -> None:
        """Write that a command is carried out from now on."""
        self._note(command, completed=False)
        if self._store is not None:
            self._add(Began(command.command_id, command.command_type or "", command.session_id))
            await self._write()

    def end(self, command: Command, report: SessionReport | None, *, completed: bool) -> None:
        """Write how a command ended, in the background.

        Args:
            command: the command.
            report: the state of its session, where states are reported.
            completed: whether it was.
        """
        self._note(command, completed=completed)
        if self._store is None:
            return
        self._add(
            Ended(command.command_id, command.command_type or "", command.session_id, completed)
        )
        if report is not None:
            self.keep(report)
        self._write_soon()

    def keep(self, report: SessionReport) -> None:
        """Write the state of a session, in the background."""
        if self._store is not None:
            state, pod = str(report.state), report.pod_name
            self._add(Reported(report.session_id, state, pod, report.vnc_port))
            self._write_soon()

    async def aclose(self) -> None:
        """Write what is left, and close the file."""
        store, self._store = self._store, None
        thread, self._thread = self._thread, None
        if store is None or thread is None:
            return
        batch, self._unwritten = self._unwritten, []
        closing = asyncio.wrap_future(thread.submit(store.close, batch))
        thread.shutdown(wait=False)
        await wait_running({asyncio.ensure_future(_finished(closing))}, CLOSE_TIMEOUT)
        if closing.done() and not closing.cancelled() and (error := closing.exception()):
            self._report(error)

    # -- writing ---------------------------------------------------------------------------------

    def _load(self, found: Remembered) -> list[SessionReport]:
        reports = {
            one.session_id: SessionReport(
                agent_id=self._agent_id,
                session_id=one.session_id,
                state=SessionState(one.state),
                pod_name=one.pod_name,
                vnc_port=one.vnc_port,
            )
            for one in found.sessions
        }
        for one in found.commands:
            self._completed[_digest_of(one.id, one.kind, one.session_id)] = one.completed
        for began in found.unfinished:
            self._completed[_digest_of(began.id, began.kind, began.session_id)] = False
            if began.kind == StartSession.command_type:
                reports[began.session_id] = SessionReport(
                    agent_id=self._agent_id,
                    session_id=began.session_id,
                    state=SessionState.FAILED,
                    message=STOPPED,
                )
        return list(reports.values())

    def _note(self, command: Command, *, completed: bool) -> None:
        self._completed[_digest(command)] = completed
        if len(self._completed) > MAX_COMMANDS:
            del self._completed[next(iter(self._completed))]

    def _add(self, change: Change) -> None:
        self._unwritten.append(change)
        if len(self._unwritten) > MAX_UNWRITTEN:
            del self._unwritten[0]

    def _write_soon(self) -> None:
        if not self._writes:
            task = asyncio.create_task(self._write())
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def _write(self) -> None:
        """Write what is unwritten, in one transaction. Commands that begin meanwhile share one."""
        async with self._writing:
            store, thread, batch = self._store, self._thread, self._unwritten
            if store is None or thread is None or not batch:
                return
            self._unwritten = []
            try:
                # Shielded: a cancelled command's changes are written all the same.
                await asyncio.shield(asyncio.wrap_future(thread.submit(store.write, batch)))
            except (sqlite3.Error, OSError) as error:
                self._unwritten = batch + self._unwritten
                self._report(error)
            else:
                self._failed = False

    def _report(self, error: BaseException) -> None:
        if not self._failed:
            self._failed = True
            self._on_error(
                VCloudError(
                    f"the commands of agent {self._agent_id} cannot be written to {self._path} "
                    f"({error}): they continue, but a restarted agent may repeat some"
                )
            )


def _close_if_opened(opening: Future[CommandStore]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _finished(future: asyncio.Future[None]) -> None:
    await asyncio.wait({future})


def _digest(command: Command) -> int:
    return _digest_of(command.command_id, command.command_type or "", command.session_id)


def _digest_of(*parts: str) -> int:
    # With all three: the published server's ids have eight hexadecimal digits.
    text = "\n".join(map(storable, parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
