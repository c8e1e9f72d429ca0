"""What becomes of machines that ``stream.connect`` started or assigned for a visitor who gets none.

A machine is stopped when it is certain that no visitor has it. Where that is not certain, or where
stopping it fails, the error that the caller gets says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field

from vcloud._core.cleanup import Cleanup, left_behind
from vcloud.errors import CleanupError, ConflictError, DecodeError, TransportError, VCloudError
from vcloud.errors.text import word
from vcloud.providers.streams.machines import Assignment, StreamMachine
from vcloud.providers.streams.models import ConnectionStatus

if TYPE_CHECKING:
    from vcloud.providers.streams.streams import StreamRef

#: Machines per page when looking for one: past ones are listed too.
LOOK: Final = 100

#: Where a machine is no visitor's.
UNASSIGNED: Final = (ConnectionStatus.WAITING, ConnectionStatus.AVAILABLE)


async def find(
    stream: StreamRef, fits: Callable[[StreamMachine], bool]
) -> tuple[StreamMachine | None, DecodeError | None]:
    """The first machine on the stream's list that fits, and why others could not be read."""
    pages = stream.machines(per_page=LOOK).pages()
    unreadable: DecodeError | None = None
    while True:
        try:
            page = await anext(pages, None)
        except DecodeError as error:
            # Another one is about the whole page, which would be asked for again.
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


async def look_at(stream: StreamRef, started: StreamMachine) -> StreamMachine | None:
    """The machine as it is now; None when it has no uid, and the stream does not list it."""
    return await (started.refresh() if started.uid else _listed(stream, started))


async def _listed(stream: StreamRef, started: StreamMachine) -> StreamMachine | None:
    """The machine as the stream lists it, None when it does not.

    Raises:
        DecodeError: some of the machines cannot be read, and it may be one of those.
    """
    found, unreadable = await find(stream, lambda machine: machine.id == started.id)
    if found is None and unreadable is not None:
        raise unreadable
    return found


@define(kw_only=True)
class Settlement:
    """Settles what a connection leaves behind.

    Attributes:
        stream: whose machines these are.
        cleanup: what bounds it.
        started: the machine that was started for this.
        start_lost: the error that leaves open whether one was started.
        assigned: what the visitor was given.
        assignment_lost: the error that leaves open whether there is such a thing.
        exchanged: what is assigned stands for a machine that was started and went to somebody else.
        stopped: the ids of the machines that were stopped.
    """

    stream: StreamRef
    cleanup: Cleanup
    started: StreamMachine | None = None
    start_lost: VCloudError | None = None
    assigned: Assignment | None = None
    assignment_lost: VCloudError | None = None
    exchanged: bool = False
    stopped: list[str] = field(factory=list, init=False)
    #: The ids of machines that are still to be stopped or looked at.
    _open: list[str] = field(factory=list, init=False)
    #: What may be left, in words, with the id of the machine where it is known.
    _left: list[tuple[str, str | None]] = field(factory=list, init=False)

    def note(self, answer: object) -> None:
        """Remember what an answer says was started or assigned."""
        if isinstance(answer, StreamMachine):
            self.started = answer
        elif isinstance(answer, Assignment):
            self.assigned = answer

    def note_error(self, what: Literal["start", "assign"], error: VCloudError) -> None:
        """Remember an error that leaves open whether a machine was started or assigned."""
        if error.outcome_unknown:
            if what == "start":
                self.start_lost = error
            else:
                self.assignment_lost = error

    @property
    def needed(self) -> bool:
        """Whether anything may be left."""
        made = (self.started, self.start_lost, self.assigned, self.assignment_lost)
        return any(one is not None for one in made)

    async def undo(self, error: BaseException) -> CleanupError | None:
        """Stop what was started in vain, whatever happens meanwhile; what may be left, if anything.

        Args:
            error: what the caller is to be ended with.
        """
        if not self.needed:
            return None
        if not isinstance(error, Exception):
            self.cleanup.make_urgent()
        try:
            await self.cleanup.finish(self._settle(error))
        except (TimeoutError, TransportError) as late:
            # Told by what was cut short, unless it had not even begun.
            if not self._left:
                self._cut_short(late)
        except GeneratorExit:
            self.abandon()
            raise
        return self.failure(error)

    def failure(self, error: BaseException | None) -> CleanupError | None:
        """The error for what may be left, which is logged with this; None when nothing is."""
        if not self._left:
            return None
        failure = left_behind(
            self.stream._session.log,
            "streams",
            "; ".join(what for what, _ in self._left),
            ids=dict.fromkeys(id for _, id in self._left if id is not None),
            outcome_unknown=True,
        )
        failure.__cause__ = error
        return failure

    def abandon(self) -> CleanupError | None:
        """The event loop was closed, and nothing can be sent any more."""
        if self.needed:
            self._cut_short(RuntimeError("the event loop was closed"))
        return self.failure(None)

    async def _settle(self, error: BaseException) -> None:
        try:
            await self._stop_in_vain(error)
        except VCloudError as failure:
            if failure is not error:
                self._leave("a machine that was started in vain", failure)
        except asyncio.CancelledError:
            self._cut_short(TimeoutError("there was no time to find out, or to stop it"))
            raise

    def _cut_short(self, why: Exception) -> None:
        if not self._open and not self.stopped:
            self._open = [one.id for one in self._known()]
        for id_ in self._open:
            self._leave(f"machine {word(id_)}", why, id=id_)
        if not self._open:
            self._leave("a machine that was started or assigned in vain", why)

    def _known(self) -> list[StreamMachine]:
        assigned = None if self.assigned is None else self.assigned.machine
        return [machine for machine in (self.started, assigned) if machine is not None]

    async def _stop_in_vain(self, error: BaseException) -> None:
        """Stop the machine that was started, and the one that the visitor was given in its place."""
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
            words = f"the visitor may have been given a machine of stream {word(self.stream.id)}"
            self._left.append((f"{words}, which may still run: {lost!r}", None))

    async def _stop_assigned(self, assigned: StreamMachine, *, ours: bool) -> None:
        if ours:
            await self._stop(assigned)
            return
        # It ran before, kept ready by others, who say when it is stopped.
        self._open.remove(assigned.id)
        self._leave(f"machine {word(assigned.id)} was assigned in vain, and it", id=assigned.id)

    async def _stop_unless_taken(self, started: StreamMachine, lost: VCloudError | None) -> None:
        which = f"machine {word(started.id)} was started in vain, and"
        try:
            machine = await self._look_twice(started)
        except VCloudError as failure:
            # The service may have given it to anybody who asked, so it is not stopped unseen.
            self._open.remove(started.id)
            words = f"{which} it could not be seen whose it is: it"
            self._leave(words, failure, id=started.id)
            return
        status = None if machine is None else machine.connection_status
        if status in UNASSIGNED or (machine is None and lost is None):
            await self._stop(started)
            return
        self._open.remove(started.id)
        if self.started is not None and self.started.id != started.id:
            # It went to another connection of this client, which left its own for it.
            self._open.append(self.started.id)
            await self._stop_unless_taken(self.started, lost)
            return
        if status is None:
            self._leave(f"{which} its status is not known: it", id=started.id)
        elif lost is not None and status != ConnectionStatus.TERMINATED:
            # Nobody can tell whether it is the visitor's or somebody else's.
            words = (
                f"machine {word(started.id)} was started for this, and may be assigned and running"
            )
            self._left.append((f"{words}: look before you go on", started.id))

    async def _look_twice(self, started: StreamMachine) -> StreamMachine | None:
        """The machine as it is now: as the list has it, where it cannot be fetched."""
        try:
            return await look_at(self.stream, started)
        except VCloudError:
            if not started.uid:
                raise
        return await _listed(self.stream, started)

    async def _stop(self, machine: StreamMachine) -> None:
        try:
            await machine.stop()
        except VCloudError as failure:
            if not (isinstance(failure, ConflictError) and await self._is_over(machine)):
                words = f"machine {word(machine.id)} was started or assigned in vain, and it"
                self._leave(words, failure, id=machine.id)
        else:
            self.stopped.append(machine.id)
        self._open.remove(machine.id)

    async def _is_over(self, machine: StreamMachine) -> bool:
        """Whether it was not to be stopped because it had ended."""
        try:
            seen = await self._look_twice(machine)
        except VCloudError:
            return False
        return seen is not None and seen.connection_status == ConnectionStatus.TERMINATED

    def _leave(self, what: str, why: Exception | None = None, *, id: str | None = None) -> None:
        reason = "" if why is None else f": {why!r}"
        self._left.append((f"{what} may still run in stream {word(self.stream.id)}{reason}", id))
