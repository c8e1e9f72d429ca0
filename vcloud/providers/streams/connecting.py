"""What every integrator of streams does: give a visitor a machine, and leave no machine behind when that fails.

Two kinds of deployment are known. The document's example of an assigned machine is still ``pending`` and
``turning_on``, and two public applications assign right after starting: there, assign accepts a machine that is turning
on. The document's text says that assign gives an *available* machine: there, one that is turning on has to be waited for.
Older deployments answer 404 instead of 440 when no machine is free (from a public client of the older API).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from vcloud._core.arguments import positive_seconds
from vcloud._core.cleanup import Cleanup
from vcloud._core.decoding.shape import Shape
from vcloud._core.request import Request
from vcloud._core.resource import stated
from vcloud._core.timing.polling import PollTimeoutError, poll_until
from vcloud.errors import (
    CapacityError,
    CleanupError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    VCloudError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.errors.text import printable, word
from vcloud.providers.streams.machines import (
    ASSIGNMENT,
    MACHINE,
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

R = TypeVar("R")

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
    pause = positive_seconds(poll, "poll")
    connection = _Connection(stream, region, user_id)
    with connection.known_to_the_client():
        try:
            return await connection.make(patience, pause)
        except GeneratorExit:
            connection.abandon()
            raise
        except BaseException as error:
            late = isinstance(error, PollTimeoutError)
            failure = connection.late(patience) if late else error
            await connection.undo(failure)
            if failure is error:
                raise
            raise failure from error.__cause__


class _Connection:
    """One visitor's way onto a machine.

    The client knows it while it is under way; see :class:`~vcloud._core.cleanup.Opened`.
    """

    def __init__(self, stream: StreamRef, region: Region | str, user_id: str | int | None) -> None:
        self._stream = stream
        self._region = region
        self._user_id = user_id
        #: Whether a machine can be asked for, and was not, because time was up.
        self._may_take = False
        #: When time is up, in monotonic seconds.
        self._ends = inf
        #: The last status seen of the machine that was started.
        self._last: str | None = None
        #: False once the service said that machines of this stream are not started by hand.
        self._startable = True
        #: Why the last attempt to start one was refused, where that was for want of room.
        self._full: CapacityError | None = None
        #: Whether the last look showed a machine that is available; None before the first.
        self._available: bool | None = None
        #: The machine that was started here and went to somebody else.
        self._given_away: str | None = None
        #: Which request had no answer yet when this was interrupted.
        self._unanswered: str | None = None
        # Cancelling a request does not cancel what the service does with it: a machine that it
        # started or assigned meanwhile has to be known to be stopped.
        self._cleanup = Cleanup(stream._session.cleanup_timeout)
        self._settlement = Settlement(stream=stream, cleanup=self._cleanup)
        self._failure: CleanupError | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @contextmanager
    def known_to_the_client(self) -> Generator[None]:
        """The client ends this when it closes."""
        opened = self._stream._session.opened
        opened.add(self)
        try:
            yield
        finally:
            opened.discard(self)
            if not self._over.get_loop().is_closed():
                self._over.set_result(None)

    def make_urgent(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        self._cleanup.make_urgent()

    async def end_with_client(self) -> None:
        """See :class:`~vcloud._core.cleanup.Opened`."""
        await asyncio.wait({self._over})
        if self._failure is not None:
            raise self._failure

    async def undo(self, error: BaseException) -> None:
        """Stop what was started in vain; what may be left is in the error that the caller gets.

        Raises:
            CleanupError: in place of a cancellation.
            CancelledError: it came meanwhile.
        """
        if isinstance(error, WaitTimeout):
            # Time is up for this as well, and that is what the error says.
            self._cleanup.make_urgent()
            self._cleanup.forget_interruption()
        self._failure = await self._settlement.undo(error)
        if isinstance(error, VCloudError) and self._failure is not None:
            error.outcome_unknown = True
        if self._cleanup.urgent and isinstance(error, VCloudError):
            # The client was closed, which the caller did not ask for.
            for id in [] if isinstance(error, WaitTimeout) else self._settlement.stopped:
                error.add_note(printable(f"machine {word(id)} was stopped"))
        self._cleanup.conclude(self._failure, error)

    def abandon(self) -> None:
        """The event loop was closed: say what may be left."""
        self._failure = self._settlement.abandon()

    async def make(self, timeout: float, poll: float) -> Assignment:
        """Look, start, assign and wait until that succeeds.

        Raises:
            TimeIsUpError: time is up.
        """
        session = self._stream._session
        self._ends = session.clock() + timeout
        assignment = await poll_until(
            self._look,
            timeout=timeout,
            poll=poll,
            attempt=session.attempt_timeout,
            clock=session.clock,
            sleep=lambda seconds: self._until_closed(asyncio.sleep(seconds)),
            final_check=self._look_late,
        )
        self._exchange(assignment.machine)
        return assignment

    async def _look(self) -> Assignment | None:
        may_take = await self._may_assign()
        if may_take and self._in_time():
            return await self._try_to_assign()
        self._may_take = may_take
        return None

    async def _look_late(self) -> Assignment | None:
        """Take what can be had, now that time is up; start nothing."""
        if self._cleanup.interruption is not None:
            # It was cut short as it started or assigned a machine, and has to undo that.
            return None
        if self._may_take and (assignment := await self._try_to_assign()):
            return assignment
        return await self._try_to_assign() if await self._may_assign() else None

    def _in_time(self) -> bool:
        """Whether anything new may begin: after the end, only what has arrived is still read."""
        return self._stream._session.clock() < self._ends

    async def _until_closed(self, waiting: Coroutine[Any, Any, R]) -> R | None:
        """Wait for what changes nothing at the service.

        Raises:
            ConfigurationError: the client was closed meanwhile.
        """
        result = await self._cleanup.unless_urgent(waiting)
        if self._cleanup.urgent:
            raise ConfigurationError("the client was closed while a machine was waited for")
        return result

    def _exchange(self, assigned: StreamMachine) -> None:
        """Leave the machine that was started here to the connection whose machine was assigned.

        The service gives any machine that it has. Another connection of this client may have started
        that one, and then has this one to use or to stop. One of another client's cannot be told.
        """
        mine = self._settlement.started
        if mine is None or mine.id == assigned.id:
            return
        for other in list(self._stream._session.opened):
            if (
                isinstance(other, _Connection)
                and other is not self
                and other._takes(assigned, mine)
            ):
                return

    def _takes(self, lost: StreamMachine, instead: StreamMachine) -> bool:
        """Whether the lost machine was started here: then the other one stands for it."""
        started = self._settlement.started
        if lost.id not in (self._given_away, None if started is None else started.id):
            return False
        self._given_away, self._settlement.started = None, instead
        return True

    def late(self, timeout: float) -> WaitTimeout:
        """The error for time being up."""
        return WaitTimeout(
            f"stream {word(self._stream.id)} gave no machine in {word(self._region)} within {timeout:g} s: "
            f"{self._seen()}{self._awaited()}",
            last=self._last,
        )

    def _seen(self) -> str:
        """What the last look showed."""
        if self._last:
            still = "" if self._last == ConnectionStatus.AVAILABLE else "still "
            return f"the machine that was started was {still}{word(self._last)}"
        if self._settlement.started is not None:
            return "a machine was started, and its status is not known"
        if self._available is None:
            return "the service had not yet listed its machines"
        if self._available:
            return "one was available at the last look"
        seen = "none was available"
        if self._settlement.exchanged:
            seen = f"the machine that was started went to somebody else, and {seen}"
        if self._full is not None:
            seen = f"{seen}, and there was no room for another: {self._full.message}"
        return seen

    def _awaited(self) -> str:
        """Which answer was still to come, or came as time was up."""
        if self._unanswered == "assign" and self._settlement.assigned is not None:
            return "; one was assigned as time was up"
        if self._unanswered is not None:
            return f"; the service had not answered the request to {self._unanswered} one"
        return ""

    async def _may_assign(self) -> bool:
        """Whether to ask for a machine now. Where none is available, one is started.

        Once one was started, that one is waited for, not any. Others may have started theirs and be waiting, too. The
        service gives any of those that it can, so whoever takes one when its own can be had leaves as many as it found.
        """
        if (started := self._settlement.started) is None:
            self._available = await self._any_is_available()
            if self._available:
                return True
            return self._startable and self._in_time() and await self._start()
        machine = await self._until_closed(look_at(self._stream, started))
        if self._settlement.started is not started:
            return False  # another one stands for it since
        if machine is None:
            self._available = False
            return False
        status = stated(machine.connection_status, "connection_status")
        self._last = self._stream._session.hide(status)
        self._available = machine.connection_status == ConnectionStatus.AVAILABLE
        if machine.connection_status == ConnectionStatus.TERMINATED:
            self._settlement.started = None
            raise WaitFailed(
                f"machine {word(machine.id)} was terminated before it became available",
                last=self._last,
            )
        if machine.connection_status not in UNASSIGNED:
            # It is somebody else's now: leave it alone, and ask for theirs before another is started.
            self._given_away = machine.id
            self._settlement.started = self._last = None
            self._settlement.exchanged = True
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
        looking = find(
            self._stream,
            lambda machine: (
                machine.region == self._region
                and machine.connection_status == ConnectionStatus.AVAILABLE
            ),
        )
        found = await self._until_closed(looking)
        return found is not None and found[0] is not None

    async def _start(self) -> bool:
        """Start a machine; whether there is one to ask for now, if the service gives those that are turning on."""
        try:
            machine = await self._fetch(
                "start", start_request(self._stream.id, self._region), MACHINE
            )
        except CapacityError as error:
            # Those that are turning on are others', who started them.
            self._full = error
            return False
        except ConflictError as error:
            if error.code not in _BY_HAND_REFUSED:
                raise
            # Those that are turning on are the service's own, for anybody.
            self._startable = False
            return True
        status = machine.connection_status
        self._last = status and self._stream._session.hide(status)
        self._full = None
        return True

    async def _assign(self) -> Assignment:
        request = assign_request(self._stream.id, self._region, self._user_id)
        return await self._fetch("assign", request, ASSIGNMENT)

    async def _fetch(
        self, what: Literal["start", "assign"], request: Request, shape: Shape[Any, R]
    ) -> R:
        """Send this, and remember what came of it, even if this is interrupted meanwhile."""
        try:
            result = await self._stream._session.fetch(request, shape, cleanup=self._cleanup)
        except VCloudError as error:
            self._settlement.note_error(what, error)
            if not self._cleanup.urgent:
                raise
        else:
            self._settlement.note(result)
            if not self._cleanup.urgent:
                return result
        self._unanswered = what
        if self._cleanup.interruption is not None:
            raise self._cleanup.interruption
        raise ConfigurationError(f"the client was closed while it was to {what} a machine")
