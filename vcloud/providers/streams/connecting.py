"""What every integrator of streams does: get a visitor onto a machine, and leave no machine behind when that fails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from vcloud._core.cleanup import run_to_the_end
from vcloud._core.request import lasting
from vcloud.errors import (
    CapacityError,
    ConflictError,
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
    user_id: str | None,
    *,
    timeout: timedelta | float,
    poll: timedelta | float,
) -> Assignment:
    """Carry out :meth:`StreamRef.connect`."""
    # Here and not when their turn comes: by then a machine may have been started.
    start_request(stream.id, region)
    assign_request(stream.id, region, user_id)
    patience = lasting(timeout, "timeout")
    connection = _Connection(stream, region, user_id, lasting(poll, "the poll interval"))
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
        self, stream: StreamRef, region: Region | str, user_id: str | None, poll: float
    ) -> None:
        self._stream = stream
        self._region = region
        self._user_id = user_id
        self._poll = poll
        self._last: str | None = None
        self._startable = True
        # Tasks, because cancelling a request does not cancel what the service does with it: a machine
        # that it started meanwhile has to be known to be stopped.
        self._starting: asyncio.Task[StreamMachine] | None = None
        self._assigning: asyncio.Task[Assignment] | None = None

    async def make(self) -> Assignment:
        """Look, start, wait and assign until that succeeds."""
        while True:
            if await self._is_available():
                try:
                    return await self._assign()
                except CapacityError:
                    # Somebody else was faster.
                    self._assigning = None
            elif self._starting is None and self._startable:
                await self._start()
            await asyncio.sleep(self._poll)

    def late(self, timeout: float) -> WaitTimeout:
        """The error for time being up."""
        seen = (
            f"the machine that was started was still {self._last}"
            if self._last
            else "none was available"
        )
        return WaitTimeout(
            f"stream {self._stream.id} had no machine in {self._region} within {timeout:g} s: {seen}",
            last=self._last,
        )

    async def undo(self, error: BaseException) -> None:
        """Stop the machine that was started, whatever happens meanwhile; what cannot be done is noted on the error."""
        if self._starting is None:
            return
        try:
            await run_to_the_end(self._stop_in_vain(), within=UNDO)
        except (VCloudError, TimeoutError) as failure:
            if failure is not error:
                error.add_note(
                    f"a machine that was started in vain may still run in stream {self._stream.id}: {failure!r}"
                )

    async def _is_available(self) -> bool:
        """Whether there is a machine to assign. Once one was started, that one is waited for, not any.

        Others may have started theirs and be waiting, too. The service gives any of those that are available, so whoever
        takes one when its own is available leaves as many as it found.
        """
        if self._starting is None:
            async for machine in self._stream.machines(per_page=LOOK):
                if (
                    machine.region == self._region
                    and machine.connection_status == ConnectionStatus.AVAILABLE
                ):
                    return True
            return False
        machine = await self._starting.result().refresh()
        self._last = machine.connection_status
        if machine.connection_status == ConnectionStatus.TERMINATED:
            self._starting = None
            raise WaitFailed(
                f"machine {machine.id} was terminated before it became available", last=self._last
            )
        if machine.connection_status not in _UNASSIGNED:
            # It is somebody else's now: begin again, and leave it alone.
            self._starting = self._last = None
            return await self._is_available()
        return machine.connection_status == ConnectionStatus.AVAILABLE

    async def _start(self) -> None:
        self._starting = asyncio.create_task(self._stream.start_machine(self._region))
        try:
            machine = await asyncio.shield(self._starting)
        except ConflictError as error:
            if error.code not in _BY_HAND_REFUSED:
                raise
            self._starting, self._startable = None, False
        else:
            self._last = machine.connection_status

    async def _assign(self) -> Assignment:
        assigning = self._stream.assign_machine(self._region, self._user_id)
        if self._starting is None:
            return await assigning
        self._assigning = asyncio.create_task(assigning)
        return await asyncio.shield(self._assigning)

    async def _stop_in_vain(self) -> None:
        assert self._starting is not None
        try:
            started = await self._starting
        except VCloudError as failure:
            if failure.outcome_unknown:
                raise
            return  # there is nothing to stop
        lost: VCloudError | None = None
        ours = False
        if self._assigning is not None:
            try:
                ours = (await self._assigning).machine.id == started.id
            except VCloudError as failure:
                lost = failure if failure.outcome_unknown else None
        if ours or (await started.refresh()).connection_status in _UNASSIGNED:
            await started.stop()
        elif lost is not None:
            # Nobody can tell whether it is the visitor's or somebody else's.
            lost.add_note(
                f"machine {started.id} was started for this, and may be assigned and running: look before you go on"
            )
