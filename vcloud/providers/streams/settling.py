"""What becomes of machines that ``stream.connect`` started or assigned for a visitor who gets none.

A machine is stopped when it is certain that no visitor has it. Where that is not certain, or where
stopping it fails, the error that the caller gets says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import define, field

from vcloud._core.cleanup import end, run_to_the_end
from vcloud._core.outcome import AttemptCount
from vcloud.errors import DecodeError, VCloudError
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
        starting: the start of a machine, if one was asked for.
        assigning: the last assignment that was asked for.
        sent: counts what that one has sent.
        exchanged: what is assigned stands for a machine that was started and went to somebody else.
    """

    stream: StreamRef
    starting: asyncio.Task[StreamMachine] | None
    assigning: asyncio.Task[Assignment] | None
    sent: AttemptCount
    exchanged: bool
    #: The ids of machines that are still to be stopped or looked at.
    _open: list[str] = field(factory=list, init=False)
    #: What may be left, for the notes of the error.
    _left: list[str] = field(factory=list, init=False)

    async def undo(self, error: BaseException, *, within: float) -> None:
        """Stop what was started in vain, whatever happens meanwhile.

        What may be left is noted on the error that the caller gets, which then has
        ``outcome_unknown``: on this one, or on the cancellation that comes meanwhile.
        """
        if self.starting is None and self.assigning is None:
            return
        raised = error
        try:
            await run_to_the_end(self._settle(error), within=within)
        except TimeoutError as late:
            # Noted by what was cut short, unless it had not even begun.
            if not self._left:
                self._leave("a machine that was started or assigned in vain", late)
        except asyncio.CancelledError as interruption:
            raised = interruption
            raise
        finally:
            for note in self._left:
                raised.add_note(note)
            if self._left and isinstance(raised, VCloudError):
                raised.outcome_unknown = True

    async def _settle(self, error: BaseException) -> None:
        try:
            await self._stop_in_vain(error)
        except VCloudError as failure:
            if failure is not error:
                self._leave("a machine that was started in vain", failure)
        except asyncio.CancelledError:
            which = "a machine that was started or assigned in vain"
            late = TimeoutError("there was no time to find out, or to stop it")
            for what in [f"machine {id_}" for id_ in self._open] or [which]:
                self._leave(what, late)
            raise

    async def _stop_in_vain(self, error: BaseException) -> None:
        """Stop the machine that was started, and the one that the visitor was given in its place."""
        started = await self._started()
        if started is not None:
            self._open.append(started.id)
        assigned, lost = await self._assigned()
        if assigned is not None:
            if assigned.id not in self._open:
                self._open.append(assigned.id)
            await self._stop_assigned(assigned, ours=started is not None or self.exchanged)
        if started is not None and started.id in self._open:
            await self._stop_unless_taken(started, lost)
        if lost is not None and lost is not error:
            self._left.append(
                f"the visitor may have been given a machine of stream {self.stream.id}, "
                f"which may still run: {lost!r}"
            )

    async def _started(self) -> StreamMachine | None:
        """The machine that was started; None when there is none."""
        if self.starting is None:
            return None
        try:
            return await self.starting
        except VCloudError as failure:
            if failure.outcome_unknown:
                raise
            return None

    async def _assigned(self) -> tuple[StreamMachine | None, VCloudError | None]:
        """The machine that the visitor was given, or the error that leaves open whether there is one."""
        if self.assigning is None:
            return None, None
        if not self.assigning.done() and not self.sent.attempts:
            # It waits for its turn, and need not be sent any more.
            await end([self.assigning])
            return None, None
        try:
            return (await self.assigning).machine, None
        except VCloudError as failure:
            return None, failure if failure.outcome_unknown else None

    async def _stop_assigned(self, assigned: StreamMachine, *, ours: bool) -> None:
        if ours:
            await self._stop(assigned)
            return
        # It ran before, kept ready by others, who say when it is stopped.
        self._open.remove(assigned.id)
        self._leave(f"machine {assigned.id} was assigned in vain, and it")

    async def _stop_unless_taken(self, started: StreamMachine, lost: VCloudError | None) -> None:
        which = f"machine {started.id} was started in vain, and"
        try:
            machine = await self._look_twice(started)
        except VCloudError as failure:
            # The service may have given it to anybody who asked, so it is not stopped unseen.
            self._open.remove(started.id)
            self._leave(f"{which} it could not be seen whose it is: it", failure)
            return
        status = None if machine is None else machine.connection_status
        if status in UNASSIGNED or (machine is None and lost is None):
            await self._stop(started)
            return
        self._open.remove(started.id)
        if status is None:
            self._leave(f"{which} its status is not known: it")
        elif lost is not None and status != ConnectionStatus.TERMINATED:
            # Nobody can tell whether it is the visitor's or somebody else's.
            self._left.append(
                f"machine {started.id} was started for this, and may be assigned and running: "
                "look before you go on"
            )

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
            self._leave(f"machine {machine.id} was started or assigned in vain, and it", failure)
        self._open.remove(machine.id)

    def _leave(self, what: str, why: Exception | None = None) -> None:
        reason = "" if why is None else f": {why!r}"
        self._left.append(f"{what} may still run in stream {self.stream.id}{reason}")
