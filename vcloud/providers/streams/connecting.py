"""What every integrator of streams does: give a visitor a machine, and leave no machine behind when that fails.

Two kinds of deployment are known. The document's example of an assigned machine is still ``pending`` and
``turning_on``, and two public applications assign right after starting: there, assign accepts a machine that is turning
on. The document's text says that assign gives an *available* machine: there, one that is turning on has to be waited for.
Older deployments answer 404 instead of 440 when no machine is free (from a public client of the older API).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vcloud._core.arguments import positive_seconds
from vcloud._core.outcome import ATTEMPT_COUNT, AttemptCount
from vcloud._core.resource import stated
from vcloud.errors import (
    CapacityError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
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
from vcloud.providers.streams.settling import UNASSIGNED, Settlement, find, look_at
from vcloud.providers.vagon import VagonCode

if TYPE_CHECKING:
    from vcloud.providers.streams.streams import StreamRef

T = TypeVar("T")

#: Seconds that stopping a machine in vain may take.
UNDO: Final = 10.0

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
        await connection.settlement().undo(failure, within=UNDO)
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
        #: Whether the last look showed a machine that is available; None before the first.
        self._available: bool | None = None
        #: The machine that was started went to somebody else, so one that was not started here may stand for it.
        self._exchanged = False
        # Tasks, because cancelling a request does not cancel what the service does with it: a machine
        # that it started or assigned meanwhile has to be known to be stopped.
        self._starting: asyncio.Task[StreamMachine] | None = None
        self._assigning: asyncio.Task[Assignment] | None = None
        #: What the assignment sent.
        self._sent = AttemptCount()

    async def make(self) -> Assignment:
        """Look, start, assign and wait until that succeeds."""
        while True:
            if await self._may_assign() and (assignment := await self._try_to_assign()):
                return assignment
            await asyncio.sleep(self._poll)

    def late(self, timeout: float) -> WaitTimeout:
        """The error for time being up."""
        return WaitTimeout(
            f"stream {self._stream.id} gave no machine in {self._region} within {timeout:g} s: "
            f"{self._seen()}{self._awaited()}",
            last=self._last,
        )

    def _seen(self) -> str:
        """What the last look showed."""
        if self._last:
            still = "" if self._last == ConnectionStatus.AVAILABLE else "still "
            return f"the machine that was started was {still}{self._last}"
        if _succeeded(self._starting):
            return "a machine was started, and its status is not known"
        if self._available is None:
            return "the service had not yet listed its machines"
        if self._available:
            return "one was available at the last look"
        seen = "none was available"
        if self._exchanged:
            seen = f"the machine that was started went to somebody else, and {seen}"
        if self._full is not None:
            seen = f"{seen}, and there was no room for another: {self._full.message}"
        return seen

    def _awaited(self) -> str:
        """Which answer was still to come, or came as time was up."""
        if self._starting is not None and not self._starting.done():
            return "; the service had not answered the request to start one"
        if self._assigning is not None and not self._assigning.done():
            return "; the service had not answered the request to assign one"
        return "; one was assigned as time was up" if _succeeded(self._assigning) else ""

    def settlement(self) -> Settlement:
        """What is to be done where the visitor gets nothing."""
        return Settlement(
            stream=self._stream,
            starting=self._starting,
            assigning=self._assigning,
            sent=self._sent,
            exchanged=self._exchanged,
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
        machine = await look_at(self._stream, self._starting.result())
        if machine is None:
            self._available = False
            return False
        self._last = stated(machine.connection_status, "connection_status")
        self._available = machine.connection_status == ConnectionStatus.AVAILABLE
        if machine.connection_status == ConnectionStatus.TERMINATED:
            self._starting = None
            raise WaitFailed(
                f"machine {machine.id} was terminated before it became available", last=self._last
            )
        if machine.connection_status not in UNASSIGNED:
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
            except NotFoundError as error:
                if error.outcome_unknown:
                    raise
                # An unknown visitor is a 404 too: refused although a machine is available, before and after.
                before, self._available = self._available, await self._any_is_available()
                if before and self._available:
                    raise
                if not self._available:
                    return None
            except (ConflictError, InvalidRequestError) as error:
                # How a deployment words it that a machine is still turning on is not known.
                if error.outcome_unknown or self._last != ConnectionStatus.WAITING:
                    raise
                return None

    async def _any_is_available(self) -> bool:
        found, _ = await find(
            self._stream,
            lambda machine: (
                machine.region == self._region
                and machine.connection_status == ConnectionStatus.AVAILABLE
            ),
        )
        return found is not None

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
        self._sent = AttemptCount()
        self._assigning = asyncio.create_task(
            _counted(lambda: self._stream.assign_machine(self._region, self._user_id), self._sent)
        )
        return await asyncio.shield(self._assigning)


def _succeeded(task: asyncio.Task[Any] | None) -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is None


async def _counted(send: Callable[[], Awaitable[T]], count: AttemptCount) -> T:
    """Count what is sent, for whoever counts it outside as well. It needs a task of its own."""
    outer = ATTEMPT_COUNT.get()
    ATTEMPT_COUNT.set(count)
    try:
        return await send()
    finally:
        if outer is not None:
            outer.attempts += count.attempts
