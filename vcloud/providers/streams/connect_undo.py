"""Undoing a failed ``stream.connect``: stopping the machines that it started or got assigned.

A machine is stopped only if it is certain that no other visitor has it. If that is not certain, or
if stopping fails, the error that the caller gets names the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from attrs import define, field

from vcloud._core.cleanup import Cleanup, left_behind
from vcloud._core.session import Session
from vcloud.errors import CleanupError, ConflictError, DecodeError, TransportError, VCloudError
from vcloud.errors.text import word
from vcloud.providers.streams.machines import Assignment, StreamMachine, machines_of_stream
from vcloud.providers.streams.models import ConnectionStatus

#: Machines per page of the search for one. The list has past machines too.
PER_PAGE: Final = 100

#: The states of a machine that no visitor has.
UNASSIGNED: Final = (ConnectionStatus.WAITING, ConnectionStatus.AVAILABLE)


async def find(
    session: Session, stream_id: str, fits: Callable[[StreamMachine], bool]
) -> tuple[StreamMachine | None, DecodeError | None]:
    """The first machine of the stream that fits, and the error if others could not be read."""
    pages = machines_of_stream(session, stream_id, per_page=PER_PAGE).pages()
    unreadable: DecodeError | None = None
    while True:
        try:
            page = await anext(pages, None)
        except DecodeError as error:
            # Any other error is about the whole page.
            if not pages.passed(error):
                raise
            machines, unreadable = error.items, error
        else:
            if page is None:
                return None, unreadable
            machines = page.items
        for machine in machines:
            if fits(machine):
                return machine, unreadable


async def fetch_machine(
    session: Session, stream_id: str, started: StreamMachine
) -> StreamMachine | None:
    """The machine as it is now; None if it has no uid, and is not on the stream's list."""
    return await (started.refresh() if started.uid else _listed(session, stream_id, started))


async def _listed(session: Session, stream_id: str, started: StreamMachine) -> StreamMachine | None:
    """The machine as the stream's list has it, or None.

    Raises:
        DecodeError: some machines of the list cannot be read, and it may be one of them.
    """
    found, unreadable = await find(session, stream_id, lambda machine: machine.id == started.id)
    if found is None and unreadable is not None:
        raise unreadable
    return found


@define(kw_only=True)
class ConnectUndo:
    """What one call of ``connect`` started or got assigned, to be undone if it fails.

    Attributes:
        session: sends the requests.
        stream_id: the stream whose machines these are.
        cleanup: bounds the time that this may take.
        started: the machine that was started.
        start_lost: the error after which it is not known whether one was started.
        assigned: the assignment.
        assignment_lost: the error after which it is not known whether there is one.
        exchanged: the assigned machine replaces a started one that another visitor took.
        stopped: the ids of the machines that were stopped.
    """

    session: Session
    stream_id: str
    cleanup: Cleanup
    started: StreamMachine | None = None
    start_lost: VCloudError | None = None
    assigned: Assignment | None = None
    assignment_lost: VCloudError | None = None
    exchanged: bool = False
    stopped: list[str] = field(factory=list, init=False)
    #: The ids of machines that are still to be stopped or fetched.
    _open: list[str] = field(factory=list, init=False)
    #: What may be left running: a sentence, and the id of the machine if that is known.
    _left: list[tuple[str, str | None]] = field(factory=list, init=False)

    def note(self, answer: object) -> None:
        """Record what was started or assigned."""
        if isinstance(answer, StreamMachine):
            self.started = answer
        elif isinstance(answer, Assignment):
            self.assigned = answer

    def note_error(self, what: Literal["start", "assign"], error: VCloudError) -> None:
        """Record an error after which it is not known whether a machine was started or assigned."""
        if error.outcome_unknown:
            if what == "start":
                self.start_lost = error
            else:
                self.assignment_lost = error

    @property
    def needed(self) -> bool:
        """Whether any machine may be left."""
        made = (self.started, self.start_lost, self.assigned, self.assignment_lost)
        return any(one is not None for one in made)

    async def run(self, error: BaseException) -> CleanupError | None:
        """Stop the machines of this call, even if it is cancelled meanwhile.

        Args:
            error: the error of the call.

        Returns:
            The error for machines that may be left running; None if there are none.
        """
        if not self.needed:
            return None
        if not isinstance(error, Exception):
            self.cleanup.make_urgent()
        try:
            await self.cleanup.finish(self._stop_all(error))
        except (TimeoutError, TransportError) as late:
            # The interrupted cleanup has recorded it, unless it had not begun.
            if not self._left:
                self._interrupted(late)
        except GeneratorExit:
            self.abandon()
            raise
        return self.failure(error)

    def failure(self, error: BaseException | None) -> CleanupError | None:
        """The error for machines that may be left running, if there are any. It is logged too."""
        if not self._left:
            return None
        failure = left_behind(
            self.session.log,
            "streams",
            "; ".join(what for what, _ in self._left),
            ids=dict.fromkeys(id for _, id in self._left if id is not None),
            outcome_unknown=True,
        )
        failure.__cause__ = error
        return failure

    def abandon(self) -> CleanupError | None:
        """The event loop was closed, and nothing can be sent."""
        if self.needed:
            self._interrupted(RuntimeError("the event loop was closed"))
        return self.failure(None)

    async def _stop_all(self, error: BaseException) -> None:
        try:
            await self._stop_machines(error)
        except VCloudError as failure:
            if failure is not error:
                self._leave("a machine that was started for this call", failure)
        except asyncio.CancelledError:
            self._interrupted(TimeoutError("there was no time to find out, or to stop it"))
            raise

    def _interrupted(self, why: Exception) -> None:
        if not self._open and not self.stopped:
            self._open = [one.id for one in self._known()]
        for id_ in self._open:
            self._leave(f"machine {word(id_)}", why, id=id_)
        if not self._open:
            self._leave("a machine that was started or assigned for this call", why)

    def _known(self) -> list[StreamMachine]:
        assigned = None if self.assigned is None else self.assigned.machine
        return [machine for machine in (self.started, assigned) if machine is not None]

    async def _stop_machines(self, error: BaseException) -> None:
        """Stop the machine that was started, and the one that was assigned in its place."""
        if self.start_lost is not None:
            raise self.start_lost
        started, lost = self.started, self.assignment_lost
        if started is not None:
            self._open.append(started.id)
        if self.assigned is not None:
            assigned = self.assigned.machine
            if assigned.id not in self._open:
                self._open.append(assigned.id)
            await self._stop_assigned(assigned, ours=started is not None or self.exchanged)
        if started is not None and started.id in self._open:
            await self._stop_unless_taken(started, lost)
        if lost is not None and lost is not error:
            words = f"the visitor may have been given a machine of stream {word(self.stream_id)}"
            self._left.append((f"{words}, which may still run: {lost!r}", None))

    async def _stop_assigned(self, assigned: StreamMachine, *, ours: bool) -> None:
        if ours:
            await self._stop(assigned)
            return
        # It ran before this call, so this call does not stop it.
        self._open.remove(assigned.id)
        self._leave(
            f"machine {word(assigned.id)} was assigned for this call, and it", id=assigned.id
        )

    async def _stop_unless_taken(self, started: StreamMachine, lost: VCloudError | None) -> None:
        which = f"machine {word(started.id)} was started for this call, and"
        try:
            machine = await self._fetch_or_find(started)
        except VCloudError as failure:
            # Another visitor may have it, so it is not stopped.
            self._open.remove(started.id)
            words = f"{which} it is not known who has it: it"
            self._leave(words, failure, id=started.id)
            return
        status = None if machine is None else machine.connection_status
        if status in UNASSIGNED or (machine is None and lost is None):
            await self._stop(started)
            return
        self._open.remove(started.id)
        if self.started is not None and self.started.id != started.id:
            # Another connection of this client has it, and left its own machine for this one.
            self._open.append(self.started.id)
            await self._stop_unless_taken(self.started, lost)
            return
        if status is None:
            self._leave(f"{which} its status is not known: it", id=started.id)
        elif lost is not None and status != ConnectionStatus.TERMINATED:
            # It is not known whether this visitor has it, or another one.
            words = "may be assigned and running: check it before you continue"
            self._left.append((f"{which} {words}", started.id))

    async def _fetch_or_find(self, started: StreamMachine) -> StreamMachine | None:
        """The machine as it is now; as the list has it if it cannot be fetched."""
        try:
            return await fetch_machine(self.session, self.stream_id, started)
        except VCloudError:
            if not started.uid:
                raise
        return await _listed(self.session, self.stream_id, started)

    async def _stop(self, machine: StreamMachine) -> None:
        try:
            await machine.stop()
        except VCloudError as failure:
            if not (isinstance(failure, ConflictError) and await self._is_over(machine)):
                words = f"machine {word(machine.id)} was started or assigned for this call, and it"
                self._leave(words, failure, id=machine.id)
        else:
            self.stopped.append(machine.id)
        self._open.remove(machine.id)

    async def _is_over(self, machine: StreamMachine) -> bool:
        """Whether it could not be stopped because it had already ended."""
        try:
            seen = await self._fetch_or_find(machine)
        except VCloudError:
            return False
        return seen is not None and seen.connection_status == ConnectionStatus.TERMINATED

    def _leave(self, what: str, why: Exception | None = None, *, id: str | None = None) -> None:
        reason = "" if why is None else f": {why!r}"
        self._left.append((f"{what} may still run in stream {word(self.stream_id)}{reason}", id))
