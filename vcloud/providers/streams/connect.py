"""Getting a machine for a visitor, and leaving no machine behind when that fails.

Two kinds of deployment are known. In the document's example, the assigned machine is still
``pending`` and ``turning_on``, and two public applications assign right after starting: there,
assign accepts a machine that is turning on. By the document's text, assign gives an *available*
machine: there, the call waits until the machine is available. Older deployments answer 404 instead
of 440 if no machine is available (from a public client of the older API).
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
from vcloud._core.states import required_state
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
from vcloud.providers.streams.connect_undo import UNASSIGNED, ConnectUndo, fetch_machine, find
from vcloud.providers.streams.machines import (
    ASSIGNMENT,
    MACHINE,
    Assignment,
    StreamMachine,
    assign_request,
    start_request,
)
from vcloud.providers.streams.models import ConnectionStatus, Region
from vcloud.providers.streams.users import UserRef
from vcloud.providers.vagon import VagonCode

if TYPE_CHECKING:
    from vcloud._core.session import Session

R = TypeVar("R")

_NOT_STARTED_BY_HAND: Final = (VagonCode.NOT_COST_OPTIMIZED, VagonCode.NOT_COST_OPTIMIZED_OLD)


async def connect(
    session: Session,
    stream_id: str,
    region: Region | str,
    user: UserRef | str | int | None,
    *,
    timeout: timedelta | float,
    poll: timedelta | float,
) -> Assignment:
    """Carry out :meth:`StreamRef.connect`."""
    # The arguments are checked before anything is sent.
    start_request(stream_id, region)
    assign_request(stream_id, region, user)
    seconds = positive_seconds(timeout, "timeout")
    interval = positive_seconds(poll, "poll")
    connection = _Connection(session, stream_id, region, user)
    with connection.known_to_the_client():
        try:
            return await connection.make(seconds, interval)
        except GeneratorExit:
            connection.abandon()
            raise
        except BaseException as error:
            timed_out = isinstance(error, PollTimeoutError)
            failure = connection.timed_out(seconds) if timed_out else error
            await connection.undo(failure)
            if failure is error:
                raise
            raise failure from error.__cause__


class _Connection:
    """One call of ``connect``.

    The client ends it when it closes; see :class:`~vcloud._core.cleanup.Opened`.
    """

    def __init__(
        self,
        session: Session,
        stream_id: str,
        region: Region | str,
        user: UserRef | str | int | None,
    ) -> None:
        self._session = session
        self._stream_id = stream_id
        self._region = region
        self._user = user
        #: A machine can be assigned, but time was up before the request.
        self._may_be_assigned = False
        #: When time is up, in monotonic seconds.
        self._ends = inf
        #: The last status of the machine that was started.
        self._last: str | None = None
        #: False after the service said that machines of this stream are not started by hand.
        self._startable = True
        #: The refusal of the last start, if there was no capacity.
        self._full: CapacityError | None = None
        #: Whether the last poll showed an available machine; None before the first poll.
        self._available: bool | None = None
        #: The id of a machine that was started here and taken by another visitor.
        self._taken_by_another: str | None = None
        #: The request that had no answer when this was interrupted.
        self._unanswered: str | None = None
        # The service carries out a request although its caller is cancelled. The machine that it
        # starts or assigns must be known, to be stopped.
        self._cleanup = Cleanup(session.cleanup_timeout)
        self._undo = ConnectUndo(session=session, stream_id=stream_id, cleanup=self._cleanup)
        self._failure: CleanupError | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @contextmanager
    def known_to_the_client(self) -> Generator[None]:
        """Register this with the client, which ends it when it closes."""
        opened = self._session.opened
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
        """Stop the machines of this call. The error names those that may be left running.

        Raises:
            CleanupError: in place of a cancellation.
            CancelledError: the caller was cancelled during the cleanup.
        """
        if isinstance(error, WaitTimeout):
            # Time is up for requests in flight too, and the error says so.
            self._cleanup.make_urgent()
            self._cleanup.forget_interruption()
        self._failure = await self._undo.run(error)
        if isinstance(error, VCloudError) and self._failure is not None:
            error.outcome_unknown = True
        if self._cleanup.urgent and isinstance(error, VCloudError):
            # Another task closed the client.
            for id in [] if isinstance(error, WaitTimeout) else self._undo.stopped:
                error.add_note(printable(f"machine {word(id)} was stopped"))
        self._cleanup.conclude(self._failure, error)

    def abandon(self) -> None:
        """The event loop was closed: log what may be left running."""
        self._failure = self._undo.abandon()

    async def make(self, timeout: float, poll: float) -> Assignment:
        """Poll, start and assign until a machine is assigned.

        Raises:
            TimeIsUpError: time is up.
        """
        session = self._session
        self._ends = session.clock() + timeout
        assignment = await poll_until(
            self._poll,
            timeout=timeout,
            poll=poll,
            attempt=session.attempt_timeout,
            clock=session.clock,
            sleep=lambda seconds: self._until_closed(asyncio.sleep(seconds)),
            final_check=self._last_poll,
        )
        self._exchange(assignment.machine)
        return assignment

    async def _poll(self) -> Assignment | None:
        may_assign = await self._may_assign()
        if may_assign and self._in_time():
            return await self._try_to_assign()
        self._may_be_assigned = may_assign
        return None

    async def _last_poll(self) -> Assignment | None:
        """Poll once more after time is up: assign a machine if possible, but start none."""
        if self._cleanup.interruption is not None:
            # A start or an assignment was interrupted, and has to be undone.
            return None
        if self._may_be_assigned and (assignment := await self._try_to_assign()):
            return assignment
        return await self._try_to_assign() if await self._may_assign() else None

    def _in_time(self) -> bool:
        """Whether a machine may still be started or assigned: until time is up."""
        return self._session.clock() < self._ends

    async def _until_closed(self, waiting: Coroutine[Any, Any, R]) -> R | None:
        """Wait for work that changes nothing at the service.

        Raises:
            ConfigurationError: the client was closed during the wait.
        """
        result = await self._cleanup.unless_urgent(waiting)
        if self._cleanup.urgent:
            raise ConfigurationError("the client was closed while a machine was waited for")
        return result

    def _exchange(self, assigned: StreamMachine) -> None:
        """If another connection's machine was assigned here, give it the machine started here.

        The service assigns any machine. Another connection of this client may have started that
        one, and then uses or stops this one instead. Connections of other clients are not known.
        """
        mine = self._undo.started
        if mine is None or mine.id == assigned.id:
            return
        for other in list(self._session.opened):
            if isinstance(other, _Connection) and other is not self and other.takes(assigned, mine):
                return

    def takes(self, lost: StreamMachine, instead: StreamMachine) -> bool:
        """Whether this connection started the lost machine, and takes the other one instead."""
        started = self._undo.started
        if lost.id not in (self._taken_by_another, None if started is None else started.id):
            return False
        self._taken_by_another, self._undo.started = None, instead
        return True

    def timed_out(self, timeout: float) -> WaitTimeout:
        """The error for a timeout."""
        return WaitTimeout(
            f"stream {word(self._stream_id)} gave no machine in {word(self._region)} "
            f"within {timeout:g} s: "
            f"{self._seen()}{self._awaited()}",
            last=self._last,
        )

    def _seen(self) -> str:
        """What the last poll showed."""
        if self._last:
            still = "" if self._last == ConnectionStatus.AVAILABLE else "still "
            return f"the machine that was started was {still}{word(self._last)}"
        if self._undo.started is not None:
            return "a machine was started, and its status is not known"
        if self._available is None:
            return "the service had not yet listed its machines"
        if self._available:
            return "one was available at the last poll"
        seen = "none was available"
        if self._undo.exchanged:
            seen = f"the machine that was started was taken by another visitor, and {seen}"
        if self._full is not None:
            seen = f"{seen}, and there was no capacity for another: {self._full.message}"
        return seen

    def _awaited(self) -> str:
        """Which answer was missing, or arrived as time was up."""
        if self._unanswered == "assign" and self._undo.assigned is not None:
            return "; one was assigned as time was up"
        if self._unanswered is not None:
            return f"; the service had not answered the request to {self._unanswered} one"
        return ""

    async def _may_assign(self) -> bool:
        """Whether to ask for a machine now. If none is available, one is started.

        After a start, this waits for the started machine, not for any. Other callers may wait for
        theirs. The service assigns any machine, so a caller that asks only when its own machine can
        be assigned leaves as many machines as it found.
        """
        if (started := self._undo.started) is None:
            self._available = await self._any_is_available()
            if self._available:
                return True
            return self._startable and self._in_time() and await self._start()
        machine = await self._until_closed(fetch_machine(self._session, self._stream_id, started))
        if self._undo.started is not started:
            return False  # another connection exchanged it meanwhile
        if machine is None:
            self._available = False
            return False
        status = required_state(machine.connection_status, "connection_status")
        self._last = self._session.hide(status)
        self._available = machine.connection_status == ConnectionStatus.AVAILABLE
        if machine.connection_status == ConnectionStatus.TERMINATED:
            self._undo.started = None
            raise WaitFailed(
                f"machine {word(machine.id)} was terminated before it became available",
                last=self._last,
            )
        if machine.connection_status not in UNASSIGNED:
            # Another visitor has it. Ask for a machine of others before starting another one.
            self._taken_by_another = machine.id
            self._undo.started = self._last = None
            self._undo.exchanged = True
            return True
        return self._available

    async def _try_to_assign(self) -> Assignment | None:
        """Assign a machine; None if the service has none to assign now."""
        while True:
            try:
                return await self._assign()
            except CapacityError:
                return None
            except NotFoundError as error:
                if error.outcome_unknown:
                    raise
                # A 404 although a machine is available before and after: the visitor is not known.
                before, self._available = self._available, await self._any_is_available()
                if before and self._available:
                    raise
                if not self._available:
                    return None
            except (ConflictError, InvalidRequestError) as error:
                # It is not known how a deployment refuses a machine that is still turning on.
                if error.outcome_unknown or self._last != ConnectionStatus.WAITING:
                    raise
                return None

    async def _any_is_available(self) -> bool:
        looking = find(
            self._session,
            self._stream_id,
            lambda machine: (
                machine.region == self._region
                and machine.connection_status == ConnectionStatus.AVAILABLE
            ),
        )
        found = await self._until_closed(looking)
        return found is not None and found[0] is not None

    async def _start(self) -> bool:
        """Start a machine; whether to ask for one now, even if it is still turning on."""
        try:
            machine = await self._fetch(
                "start", start_request(self._stream_id, self._region), MACHINE
            )
        except CapacityError as error:
            # Other callers started the machines that are turning on.
            self._full = error
            return False
        except ConflictError as error:
            if error.code not in _NOT_STARTED_BY_HAND:
                raise
            # The service started the machines that are turning on, for any visitor.
            self._startable = False
            return True
        status = machine.connection_status
        self._last = status and self._session.hide(status)
        self._full = None
        return True

    async def _assign(self) -> Assignment:
        request = assign_request(self._stream_id, self._region, self._user)
        return await self._fetch("assign", request, ASSIGNMENT)

    async def _fetch(
        self, what: Literal["start", "assign"], request: Request, shape: Shape[Any, R]
    ) -> R:
        """Send the request, and record its outcome, even if this call is interrupted."""
        try:
            result = await self._session.fetch(request, shape, cleanup=self._cleanup)
        except VCloudError as error:
            self._undo.note_error(what, error)
            if not self._cleanup.urgent:
                raise
        else:
            self._undo.note(result)
            if not self._cleanup.urgent:
                return result
        self._unanswered = what
        if self._cleanup.interruption is not None:
            raise self._cleanup.interruption
        raise ConfigurationError(f"the client was closed during the request to {what} a machine")
