"""What every integrator of streams does: give a visitor a machine, and leave no machine behind when that fails.

Two kinds of deployment are known. The document's example of an assigned machine is still ``pending`` and
``turning_on``, and two public applications assign right after starting: there, assign accepts a machine that is turning
on. The document's text says that assign gives an *available* machine: there, one that is turning on has to be waited for.
Older deployments answer 404 instead of 440 when no machine is free (from a public client of the older API).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from vcloud._core.arguments import positive_seconds
from vcloud._core.cleanup import run_to_the_end
from vcloud._core.resource import stated
from vcloud.errors import (
    CapacityError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    VCloudError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.providers.streams.machines import (
    Assignment,
    StreamMachine,
    assign_request,
    start_request,
)
from vcloud.providers.streams.models import ConnectionStatus, Region
from vcloud.providers.vagon import VagonCode

if TYPE_CHECKING:
    from vcloud.providers.streams.streams import StreamRef

#: Machines per page when looking for one that is available: past ones are listed too.
LOOK: Final = 100

#: Seconds that stopping a machine in vain may take.
UNDO: Final = 10.0

_UNASSIGNED: Final = (ConnectionStatus.WAITING, ConnectionStatus.AVAILABLE)
_BY_HAND_REFUSED: Final = (VagonCode.NOT_COST_OPTIMIZED, VagonCode.NOT_COST_OPTIMIZED_OLD)


async def connect(
    stream: StreamRef,
    region: Region | str,
    user_id: str | int | None,
    *,
    timeout: timedelta | float,
    poll: timedelta | float,
) -> Assignment:
    """Carry out :meth:`StreamRef.connect`."""
    # Here and not when their turn comes: by then a machine may have been started.
    start_request(stream.id, region)
    assign_request(stream.id, region, user_id)
    patience = positive_seconds(timeout, "timeout")
    connection = _Connection(stream, region, user_id, positive_seconds(poll, "poll"))
    limit = asyncio.timeout(patience)
    try:
        async with limit:
            return await connection.make()
    except (Exception, asyncio.CancelledError) as error:
        late = isinstance(error, TimeoutError) and limit.expired()
        failure = connection.late(patience) if late else error
        await connection.undo(failure)
        if failure is error:
            raise
        raise failure from None


class _Connection:
    """One visitor's way onto a machine."""

    def __init__(
        self, stream: StreamRef, region: Region | str, user_id: str | int | None, poll: float
    ) -> None:
        self._stream = stream
        self._region = region
        self._user_id = user_id
        self._poll = poll
        #: The last status seen of the machine that was started.
        self._last: str | None = None
        #: False once the service said that machines of this stream are not started by hand.
        self._startable = True
        #: Why the last attempt to start one was refused, where that was for want of room.
        self._full: CapacityError | None = None
        #: Whether the last look showed a machine that is available.
        self._available = False
        #: The machine that was started went to somebody else, so one that was not started here may stand for it.
        self._exchanged = False
        # Tasks, because cancelling a request does not cancel what the service does with it: a machine
        # that it started or assigned meanwhile has to be known to be stopped.
        self._starting: asyncio.Task[StreamMachine] | None = None
        self._assigning: asyncio.Task[Assignment] | None = None

    async def make(self) -> Assignment:
        """Look, start, assign and wait until that succeeds."""
        while True:
            if await self._may_assign() and (assignment := await self._try_to_assign()):
                return assignment
            await asyncio.sleep(self._poll)

    def late(self, timeout: float) -> WaitTimeout:
        """The error for time being up."""
        seen = "none was available"
        if self._last:
            seen = f"the machine that was started was still {self._last}"
        elif self._full is not None:
            seen = f"none was available, and there was no room for another: {self._full.message}"
        return WaitTimeout(
            f"stream {self._stream.id} had no machine in {self._region} within {timeout:g} s: {seen}",
            last=self._last,
        )

    async def undo(self, error: BaseException) -> None:
        """Stop what was started in vain, whatever happens meanwhile; note on the error what could not be stopped."""
        if self._starting is None and self._assigning is None:
            return
        try:
            await run_to_the_end(self._stop_in_vain(), within=UNDO)
        except (VCloudError, TimeoutError) as failure:
            if failure is not error:
                error.add_note(
                    f"a machine that was started in vain may still run in stream {self._stream.id}: {failure!r}"
                )

    async def _may_assign(self) -> bool:
        """Whether to ask for a machine now. Where none is available, one is started.

        Once one was started, that one is waited for, not any. Others may have started theirs and be waiting, too. The
        service gives any of those that it can, so whoever takes one when its own can be had leaves as many as it found.
        """
        if self._starting is None:
            self._available = await self._any_is_available()
            if self._available:
                return True
            return self._startable and await self._start()
        machine = await self._starting.result().refresh()
        self._last = stated(machine.connection_status, "connection_status")
        self._available = machine.connection_status == ConnectionStatus.AVAILABLE
        if machine.connection_status == ConnectionStatus.TERMINATED:
            self._starting = None
            raise WaitFailed(
                f"machine {machine.id} was terminated before it became available", last=self._last
            )
        if machine.connection_status not in _UNASSIGNED:
            # It is somebody else's now: leave it alone, and ask for theirs before another is started.
            self._starting = self._last = None
            self._exchanged = True
            return True
        return self._available

    async def _try_to_assign(self) -> Assignment | None:
        """Assign; None when that was refused because no machine can be had now."""
        while True:
            try:
                return await self._assign()
            except CapacityError:
                return None
            except NotFoundError:
                # An unknown visitor is a 404 too: refused although a machine is available, before and after.
                before, self._available = self._available, await self._any_is_available()
                if before and self._available:
                    raise
                if not self._available:
                    return None
            except (ConflictError, InvalidRequestError):
                # How a deployment words it that a machine is still turning on is not known.
                if self._last != ConnectionStatus.WAITING:
                    raise
                return None

    async def _any_is_available(self) -> bool:
        async for machine in self._stream.machines(per_page=LOOK):
            if (
                machine.region == self._region
                and machine.connection_status == ConnectionStatus.AVAILABLE
            ):
                return True
        return False

    async def _start(self) -> bool:
        """Start a machine; whether there is one to ask for now, if the service gives those that are turning on."""
        self._starting = asyncio.create_task(self._stream.start_machine(self._region))
        try:
            machine = await asyncio.shield(self._starting)
        except CapacityError as error:
            # Those that are turning on are others', who started them.
            self._starting, self._full = None, error
            return False
        except ConflictError as error:
            if error.code not in _BY_HAND_REFUSED:
                raise
            # Those that are turning on are the service's own, for anybody.
            self._starting, self._startable = None, False
            return True
        self._last, self._full = machine.connection_status, None
        return True

    async def _assign(self) -> Assignment:
        assigning = self._stream.assign_machine(self._region, self._user_id)
        if self._starting is None and not self._exchanged:
            return await assigning
        self._assigning = asyncio.create_task(assigning)
        return await asyncio.shield(self._assigning)

    async def _stop_in_vain(self) -> None:
        """Stop the machine that was started, and the one that the visitor was given in its place."""
        started = await self._started()
        assigned, lost = await self._assigned()
        try:
            if assigned is not None:
                await assigned.stop()
        finally:
            if started is not None and (assigned is None or assigned.id != started.id):
                await self._stop_unless_taken(started, lost)

    async def _stop_unless_taken(self, started: StreamMachine, lost: VCloudError | None) -> None:
        if (await started.refresh()).connection_status in _UNASSIGNED:
            await started.stop()
        elif lost is not None:
            # Nobody can tell whether it is the visitor's or somebody else's.
            lost.add_note(
                f"machine {started.id} was started for this, and may be assigned and running: look before you go on"
            )

    async def _started(self) -> StreamMachine | None:
        """The machine that was started; None when there is none."""
        if self._starting is None:
            return None
        try:
            return await self._starting
        except VCloudError as failure:
            if failure.outcome_unknown:
                raise
            return None

    async def _assigned(self) -> tuple[StreamMachine | None, VCloudError | None]:
        """The machine that the visitor was given, or the error that leaves open whether there is one."""
        if self._assigning is None:
            return None, None
        try:
            return (await self._assigning).machine, None
        except VCloudError as failure:
            return None, failure if failure.outcome_unknown else None
