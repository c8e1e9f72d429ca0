"""The one request loop: admit, credential, sign, send, note limits, decide."""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import random
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from logging import DEBUG, Logger
from math import inf
from typing import Any, Final, Self, TypeVar, cast
from urllib.parse import quote, urlsplit
from weakref import ReferenceType, WeakSet

import msgspec

from vcloud._core.arguments import positive_seconds
from vcloud._core.auth import bound_auth
from vcloud._core.bulk_run import RUN
from vcloud._core.cleanup import CALLER, CLEANUP, Cleanup, Opened
from vcloud._core.connections.unsent import unsent
from vcloud._core.decoding.codec import Codec
from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.shape import BrokenItems, Shape
from vcloud._core.dialect import Dialect
from vcloud._core.endpoint import TIMEOUT, Endpoint
from vcloud._core.limits.admission import Admission
from vcloud._core.limits.fair_queueing import WaitTooLongError
from vcloud._core.limits.headers import REMAINING, retry_after
from vcloud._core.limits.waiting_queue import Bucket
from vcloud._core.observe import WaitReason
from vcloud._core.observed_call import ObservedCall, Observers
from vcloud._core.outcome import (
    ATTEMPT_COUNT,
    Form,
    Proof,
    is_unknown,
    may_repeat,
    proof_of_answer,
    proof_of_silence,
)
from vcloud._core.process_limits import LIMITS, MAX_WAIT, OwnLimitError, Place, describe_limit
from vcloud._core.redaction.secretive import Credentials, concealing
from vcloud._core.redaction.sent_secrets import SEARCHED, Redactor, redactor_for
from vcloud._core.refused_credentials import (
    RefusedCredentials,
    accepts_credentials,
    is_held_back,
    refuses_credentials,
)
from vcloud._core.request import (
    MAX_REFUSAL,
    UPGRADES,
    UPGRADES_WITHOUT_SLOT,
    Request,
    Response,
    path_before_api,
)
from vcloud._core.retry import RetryAfter, RetryPolicy, Verdict
from vcloud._core.stats import Stats
from vcloud._core.timing.clock import TimeOfDay, boottime, monotonic, system_wall, wall
from vcloud._core.timing.timeouts import timeout
from vcloud._core.transport import CLOSED, Transport, TransportOptions
from vcloud._core.waiting import Waits
from vcloud._core.websocket import RefusedError, Socket
from vcloud.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    DecodeError,
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
    RateLimitError,
    RequestTimeout,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import shortened
from vcloud.errors.wording import UNKNOWN

R = TypeVar("R")

#: How one attempt crosses the wire: :meth:`Transport.exchange`, or an upgrade to a WebSocket.
Exchange = Callable[
    [str, str, Mapping[str, str], bytes | None, TransportOptions], Awaitable[Response]
]

E = TypeVar("E", bound=VCloudError)


class Session:
    """Sends one provider's requests. All its handles and collections share it.

    Args:
        dialect: how the provider refuses.
        endpoint: where it is and how to reach it.
        base_url: the endpoint's address, or the provider's default.
        transport: the socket work, shared by all providers of one facade.
        codec: decodes answers; a strict one in contract tests.
        clock: monotonic seconds.
        wall: the machine's time of day, in Unix seconds. It is read when the session is made, and
            where a service contradicts it.
        boottime: monotonic seconds that go on while the machine sleeps; None: the system's, or
            ``clock`` if another ``wall`` is given.
        entropy: a number in 0..1, for jitter.
        nonce: a fresh text for each signature.
    """

    def __init__(
        self,
        dialect: Dialect,
        endpoint: Endpoint,
        base_url: str,
        transport: Transport,
        *,
        codec: Codec | None = None,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], float] = wall,
        boottime: Callable[[], float] | None = None,
        entropy: Callable[[], float] = random.random,
        nonce: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self.dialect = dialect
        self.base_url = base_url
        self.transport = transport
        self.codec = codec or Codec()
        self.auth = bound_auth(endpoint.auth, base_url)
        #: Shared by all that share the credentials: those with other options, too.
        self._refused = RefusedCredentials(clock)
        # Of strategies whose credentials work once.
        self._may_be_a_copy: Callable[..., bool] | None = getattr(self.auth, "may_be_a_copy", None)
        # Of strategies whose credentials depend on the time.
        self._clock_difference: Callable[..., timedelta | None] | None = getattr(
            self.auth, "clock_difference", None
        )
        # As above, after this machine's clock was put back or forward.
        self._learn_jump: Callable[..., bool] | None = getattr(
            self.auth, "refused_after_jump", None
        )
        self.clock = clock
        self._boottime = boottime or _boottime_of(clock, wall)
        self._day = _time_of_day(self.auth, wall, self._boottime)
        self._entropy = entropy
        self._nonce = nonce
        address = urlsplit(base_url)
        self._base_path = address.path
        self._root_path = path_before_api(address.path)
        #: Where the installation begins, without the API's own path: the host, or a path on it.
        self.root_url = f"{address.scheme}://{address.netloc}{self._root_path}"
        self._retry: RetryPolicy = endpoint.retry
        self._deadline = endpoint.deadline
        #: Seconds for what must be finished after a cancellation, or when the client closes.
        self.cleanup_timeout = endpoint.cleanup_timeout
        #: Seconds for one attempt.
        self.attempt_timeout = endpoint.timeout
        #: How many requests may be in flight.
        self.concurrency = endpoint.concurrency
        #: Whether links that the service hands out may be plain http.
        self.allow_http = endpoint.allow_http
        #: How many pages one iteration of a list may read.
        self.max_pages = endpoint.max_pages
        self._timeout = endpoint.timeout
        self._timeout_chosen = endpoint.timeout is not TIMEOUT
        self._wire = TransportOptions.of(
            base_url=base_url,
            timeout=endpoint.timeout,
            connect_timeout=endpoint.connect_timeout,
            ssl=endpoint.ssl or endpoint.verify,
            proxy=endpoint.proxy,
            max_response=endpoint.max_response,
            max_message=endpoint.max_message,
            heartbeat=endpoint.heartbeat,
        )
        #: What was opened through this, and ends with the client. Whoever holds it keeps it alive.
        self.opened: WeakSet[Opened] = WeakSet()
        #: The WebSockets, which end after what uses them.
        self.sockets: WeakSet[Socket] = WeakSet()
        #: Is told the id of what was ended here for good, by a client that remembers what it made.
        self.forget: Callable[[str], None] | None = None
        self._audience = Observers(dialect.provider, endpoint.observers, dialect.fixed_paths)
        #: Who waits, and for what.
        self.waits = Waits(dialect.provider, self._audience.log, clock, wall)
        self._budget = endpoint.shared_budget
        buckets = {"", "login", *[limit.bucket for limit in dialect.rate_limits]}
        if unknown := {limit.bucket for limit in endpoint.rate_limits} - buckets:
            known = ", ".join(map(repr, sorted(buckets)))
            raise ConfigurationError(
                f"{dialect.provider} has no bucket {', '.join(map(repr, unknown))}, but {known}"
            )
        self._admission = Admission(
            endpoint.concurrency,
            clock,
            rules=endpoint.rate_limits,
            expected=dialect.rate_limits,
            acquire=None
            if self._budget is None
            else functools.partial(self._budget.acquire, dialect.provider),
        )

    def stats(self) -> Stats:
        """How many requests are in flight and wait, and until when the service wants a pause."""
        waiting = {reason: queue.number for reason, queue in self._admission.waiting().items()}
        paused = self._admission.paused_for()
        return Stats(
            in_flight=self._admission.in_flight,
            waiting=sum(waiting.values()),
            waiting_for=waiting,
            free=self._admission.free,
            paused_until=self.waits.at(self.clock() + paused) if paused else None,
        )

    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """The same session (connections, slots, limits, credentials) with other patience.

        Raises:
            InvalidArgumentError: a time that is not above 0, or no policy.
        """
        other = copy.copy(self)
        if not isinstance(retry, RetryPolicy | None):
            raise InvalidArgumentError(f"retry must be a RetryPolicy(...), not {retry!r}")
        if timeout is not None:
            other._timeout = positive_seconds(timeout, "timeout")
            other._timeout_chosen = True
            other._wire = self._wire.within(other._timeout)
        if deadline is not None:
            other._deadline = positive_seconds(deadline, "deadline")
        if retry is not None:
            other._retry = retry
        return other

    def with_default_timeout(self, seconds: float) -> Self:
        """The same session, with this timeout for an attempt where the user chose none."""
        if self._timeout_chosen:
            return self
        other = self.with_options(timeout=seconds)
        other._timeout_chosen = False
        return other

    @property
    def timeout(self) -> float:
        """Seconds for one attempt."""
        return self._timeout

    @property
    def deadline(self) -> float | None:
        """Seconds for one call, with all its attempts and waits; None: as long as they last."""
        return self._deadline

    @property
    def log(self) -> Logger:
        """The provider's log."""
        return self._audience.log

    def refuse(self) -> None:
        """End all calls that wait in line, but for those of cleanups: the client closes."""
        self._admission.refuse(lambda: ConfigurationError(f"{CLOSED}; nothing was sent"))

    async def aclose(self) -> None:
        """Close what is not the transport's."""
        if self._budget is not None:
            await self._budget.aclose()

    @property
    def retry(self) -> RetryPolicy:
        """When to try again, for what goes on after a connection was made."""
        return self._retry

    def entropy(self) -> float:
        """A number in 0..1, for jitter."""
        return self._entropy()

    def now(self) -> float:
        """The time of day that no jump of the machine's clock changes, in Unix seconds."""
        return self._day()

    async def authenticate(self, request: Request) -> Mapping[str, str]:
        """The headers that authenticate this request now, for what is not sent from here (a link, say)."""
        self.transport.check()
        if self.auth.ready(now := self._day()):
            return self._sign(request, now)
        return await self._credential(request, None, self._where(request), root=False)

    # These two hand out the loop's own coroutine: one of their own would be one more for each of thousands that wait.

    def fetch(
        self, request: Request, shape: Shape[Any, R], *, cleanup: Cleanup | None = None
    ) -> Coroutine[Any, Any, R]:
        """Send, decode the answer, and make of it what the caller gets.

        Args:
            request: what to send.
            shape: what the answer is decoded to.
            cleanup: the answer is waited for although the caller is cancelled meanwhile, so that what
                was started becomes known. Then the attempt is the last one. The caller looks at
                :attr:`Cleanup.interruption`, whether this returns or raises.

        Raises:
            DecodeError: it is not of that shape.
            VCloudError: as for :meth:`send`.
        """
        return self._send(request, shape, self.transport.exchange, root=False, cleanup=cleanup)

    def send(
        self, request: Request, *, exchange: Exchange | None = None, root: bool = False
    ) -> Coroutine[Any, Any, Response]:
        """Send, and hand out the answer as it is.

        Args:
            request: what to send.
            exchange: how each attempt crosses the wire; None: as a plain request.
            root: its path is below :attr:`root_url`, not below the API's.

        Raises:
            ConfigurationError: the client is not open, closed, or another event loop's.
            APIError: the service refused.
            TransportError: no answer.
            DecodeError: an answer that is neither success nor refusal.
            LimitExceededError: a success that is larger than ``max_response``.
        """
        return self._send(request, None, exchange or self.transport.exchange, root=root)

    async def connect(
        self, request: Request, *, root: bool = False, token_query: str | None = None
    ) -> Socket:
        """Open a WebSocket, with the patience and credentials of any other request.

        While it opens it takes one of the ``concurrency`` slots, unless ``request.slot`` is False; no
        rate limit counts it.

        Args:
            request: the upgrade.
            root: its path is below :attr:`root_url`, not below the API's.
            token_query: send the bearer token as this parameter, which enters no text, instead of in a header.

        Raises:
            ConfigurationError: as for :meth:`send`; or the token is to be sent as a parameter and there is none.
            APIError: the service refused the upgrade.
            DecodeError: it answered with a success that is none.
            TransportError: no connection.
        """
        opened: list[Socket] = []

        async def upgrade(
            method: str,  # noqa: ARG001 - as any exchange
            url: str,
            headers: Mapping[str, str],
            body: bytes | None,  # noqa: ARG001 - as any exchange
            wire: TransportOptions,
        ) -> Response:
            redactor = self._redactor(request, headers)
            if token_query is not None:
                url, headers = _with_token(url, headers, token_query)
            try:
                socket = await self.transport.websocket(url, headers, wire)
                socket.redact(redactor.text)
                opened.append(socket)
            except RefusedError as refused:
                return refused.response
            return _UPGRADED

        bucket = UPGRADES if request.slot else UPGRADES_WITHOUT_SLOT
        request = msgspec.structs.replace(request, bucket=bucket)
        answer = await self.send(request, exchange=upgrade, root=root)
        if not opened:
            where = self._label(request, self._where(request, root=root))
            raise DecodeError(
                f"{where}: a WebSocket was asked for, and the answer is a plain one ({answer.status})"
            )
        self.sockets.add(opened[0])
        return opened[0]

    async def _send(  # noqa: C901, PLR0912, PLR0915 - the one loop, in one piece
        self,
        request: Request,
        shape: Shape[Any, Any] | None,
        exchange: Exchange,
        *,
        root: bool,
        watch: ObservedCall | None = None,
        cleanup: Cleanup | None = None,
    ) -> Any:
        """Send until there is an answer, a refusal that stands, or no sense in going on."""
        if watch is None and (self._audience.observed or self._audience.log.isEnabledFor(DEBUG)):
            return await self._watched(request, shape, exchange, root=root, cleanup=cleanup)
        if cleanup is not None:
            exchange = _to_the_end(exchange, cleanup)
        self.transport.check()
        where = self._where(request, root=root)
        deadline = None if self._deadline is None else self.clock() + self._deadline
        attempt, forgiven, renewed, lost = 1, 0, False, False
        place: Place | None = None
        slot = request.authenticated and request.slot
        headers: Mapping[str, str] = {}
        # Those who wait for a credential may fill every other bucket.
        bucket = self._admission.bucket(
            request.bucket if request.authenticated else request.bucket or "login"
        )
        while True:
            error: TransportError | APIError
            response = None
            sent = tries = False
            if self._refused.error is not None:
                self._check_refused(request, lost=lost)
            number = self._admission.try_enter(bucket) if slot else 0
            if not number:
                number = await self._queue(
                    request, bucket, deadline, where, watch, lost=lost, cleanup=cleanup
                )
            try:
                if self._refused.error is not None:
                    trying = self._turn_to_try(request, deadline, where, watch, lost=lost)
                    tries = await _until_urgent(trying, cleanup, self._end_trial) or False
                now = self._day()
                if self.auth.ready(now):
                    headers = self._sign(request, now, root)
                else:
                    login = self._credential(
                        request, deadline, where, root=root, watch=watch, lost=lost
                    )
                    headers = await _until_urgent(login, cleanup) or {}
                if cleanup is not None and cleanup.urgent:
                    raise ConfigurationError(f"{CLOSED}; nothing was sent")
                wire = (
                    self._wire
                    if deadline is None
                    else self._wire_until(request, deadline, where, place, lost=lost)
                )
                if request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
                    count.add(starts=request.starts, safe=request.safe)
                # Only what fails from here on says anything about this request; a login that fails is its own failure.
                sent = True
                began = None if self._may_be_a_copy is None or request.safe else self._boottime()
                try:
                    if place is None and self.transport.shortage.waiting:
                        self.transport.shortage.refuse()
                    response = await exchange(
                        request.method,
                        # In no variable of this frame: a path or a query may hold a secret.
                        self._address(request, root=root),
                        headers,
                        request.body,
                        wire,
                    )
                except TransportError as failure:
                    error = failure
                    if isinstance(failure, ConnectError):
                        sent = False
                        if isinstance(failure, OwnLimitError):
                            _forget_attempt(request)
                    proof = proof_of_silence(failure)
                except LimitExceededError as failure:
                    raise self._about(request, where, failure) from None
                except Exception as failure:
                    if not request.sensitive:
                        raise
                    # A frame below holds a password, or an address with a token.
                    raise failure.with_traceback(None)  # noqa: B904 - as below
                except (asyncio.CancelledError, GeneratorExit) as stopped:
                    if unsent(stopped) is not None:
                        _take_back(request)
                    if request.starts and (lost or unsent(stopped) is None):
                        self._report_lost(request, where)
                    # The frames below hold the credentials, and reporters of errors print the variables of a frame.
                    raise stopped.with_traceback(None)  # noqa: B904 - it is the same one
                else:
                    result = self._success(request, response, shape, headers, bucket, number)
                    if result is not _NO_SUCCESS:
                        refused = self._refused
                        if renewed or refused.untried or refused.error is not None:
                            self._let_in(request, response, headers, renewed=renewed)
                        return result
                    try:
                        error, proof = self._refusal(
                            request, response, shape, headers, bucket, number, where
                        )
                    except DecodeError as unreadable:
                        # An error that is kept keeps its frames, and they would keep the answer.
                        response = None
                        raise unreadable.with_traceback(None)  # noqa: B904 - it is the same one
                    response = _without_rest(response)
                    if began is not None and isinstance(error, AuthenticationError):
                        proof = self._judged_as_copy(began, response, headers, error, proof)
            finally:
                self._admission.leave(bucket, number, counted=sent, slot=slot)
                self._end_trial(tries)

            if isinstance(error, OwnLimitError):
                if watch is not None:
                    watch.end(error, retry_in=0.0)
                place = await self._wait_for_room(
                    request, error, place, deadline, where, watch=watch, lost=lost, cleanup=cleanup
                )
                continue
            before, lost = lost, lost or proof is Proof.NONE
            forgiven += self._note_proof(request, error, proof)
            if cleanup is not None and cleanup.urgent:
                raise self._final(request, error, where, lost=lost, before=before, why="")
            decision = self._retry.decide(
                error,
                repeatable=may_repeat(request, proof) and not self._refused_for_good(bucket, error),
                attempt=attempt,
                random=self._entropy(),
                renewed=renewed,
                forgiven=forgiven,
                patience=self._patience_with(bucket, error),
            )
            if decision is Verdict.REAUTHENTICATE and response is not None:
                if not self._sign_again(request, response, headers, error, proof):
                    raise self._final(request, error, where, lost=lost, before=before, why="")
                renewed, pause = True, 0.0
            elif isinstance(decision, RetryAfter):
                if deadline is not None and self.clock() + decision.seconds >= deadline:
                    self._note_limit(bucket, error)
                    why = "; the deadline leaves no time to try again"
                    raise self._final(request, error, where, lost=lost, before=before, why=why)
                pause = decision.seconds
            else:
                self._note_refusal(request, headers, error, proof)
                self._note_limit(bucket, error)
                why = self._why_final(bucket, error, attempt)
                raise self._final(request, error, where, lost=lost, before=before, why=why)
            if watch is not None:
                watch.end(error, retry_in=pause)
            asked = isinstance(error, APIError) and error.retry_after
            with self.waits.for_reason(
                WaitReason.PAUSE if asked else WaitReason.RETRY, watch, pause
            ):
                rested = await self._rest(pause, cleanup)
            if not rested:
                why = f"; the pause of {pause:.0f} s outlasts what is left of cleanup_timeout"
                if cleanup is not None:
                    why = "; the client was closed before it was sent again"
                raise self._final(request, error, where, lost=lost, before=before, why=why)
            attempt += 1

    async def _wait_for_room(
        self,
        request: Request,
        error: OwnLimitError,
        place: Place | None,
        deadline: float | None,
        where: str,
        *,
        watch: ObservedCall | None,
        lost: bool,
        cleanup: Cleanup | None,
    ) -> Place:
        """Wait until this process may open a connection again; the one place where that is done.

        Meanwhile the call holds neither a slot nor a place in a rate limit.
        """
        stopping, shortage = CLEANUP.get(), self.transport.shortage
        if place is None:
            place = shortage.join(error, self.log, first=stopping is not None)
        now = asyncio.get_running_loop().time()
        left = place.since + MAX_WAIT - now
        if deadline is not None:
            left = min(left, deadline - self.clock())
        if stopping is not None and stopping.urgent:
            left = min(left, stopping.left)
        since = self.clock() - (now - place.since)
        with self.waits.again(WaitReason.DESCRIPTORS, watch, since):
            came = await _until_urgent(shortage.wait(place, left), cleanup)
        if came:
            return place
        if came is None:
            raise ConfigurationError(f"{CLOSED}; nothing was sent")
        raise self._without_room(request, error.number, place, where, lost=lost)

    def _without_room(
        self, request: Request, number: int, place: Place, where: str, *, lost: bool
    ) -> VCloudError:
        """The error of a call that waited in vain for a limit of this process."""
        waited = asyncio.get_running_loop().time() - place.since
        final = ConnectError(
            f"cannot reach it: {describe_limit(number)}, and none came free within {waited:.2g} s: "
            f"{LIMITS[number][1]}; nothing was sent"
        )
        return self._final(request, final, where, lost=lost, before=lost, why="")

    async def _rest(self, pause: float, cleanup: Cleanup | None) -> bool:
        """Wait before a repeat; whether there is time for one.

        Args:
            pause: seconds.
            cleanup: if it becomes urgent, there is none: the client closes.
        """
        if cleanup is not None:
            return await cleanup.unless_urgent(_slept(pause)) is not None
        if (stopping := CLEANUP.get()) is None:
            await asyncio.sleep(pause)
            return True
        ends = self.clock() + pause
        if await stopping.unless_urgent(_slept(pause)):
            return True
        # A pause that the service asked for is not undercut, even if it is urgent.
        left = ends - self.clock()
        if left >= stopping.left:
            return False
        await asyncio.sleep(left)
        return True

    def _report_lost(self, request: Request, where: str) -> None:
        """Log a request that was given up under way and may have started what costs money."""
        self.log.error(
            "%s: it was given up before the answer came, and %s",
            self._label(request, where),
            UNKNOWN,
        )

    async def _watched(
        self,
        request: Request,
        shape: Shape[Any, Any] | None,
        exchange: Exchange,
        *,
        root: bool,
        cleanup: Cleanup | None,
    ) -> Any:
        with self._audience.watch(
            request, self.root_url if root else self.base_url, self.clock
        ) as watch:
            return await self._send(
                request, shape, watch.over(exchange), root=root, watch=watch, cleanup=cleanup
            )

    def read(self, request: Request, response: Response, shape: Shape[Any, R]) -> R:
        """Decode an answer that :meth:`send` handed out.

        Raises:
            DecodeError: it is not of that shape.
        """
        found: Any = self._read(request, response, shape)
        if found is not _NO_SUCCESS:
            return cast("R", found)
        # Once more, without what the answer repeats of the request, because the error quotes it.
        redactor = self._redactor_now(request)
        unreadable = self._unreadable(request, redactor.response(response), shape)
        redactor.error(unreadable, cut=len(response.body) > SEARCHED)
        raise self._about(request, self._where(request), unreadable)

    def hide(self, text: str) -> str:
        """What an error may quote of a success: its beginning, without what it repeats of the credentials.

        Args:
            text: from an answer that was decoded already.
        """
        kept = shortened(text)
        return self._redactor_now(Request("GET", "/")).text(kept, cut=kept is not text)

    # A function of its own, so that what was answered is in no variable of a frame that raises.
    def _read(self, request: Request, response: Response, shape: Shape[Any, Any]) -> Any:
        try:
            answer = self.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
            if self.dialect.succeeded(answer):
                return shape.open(answer, self, response.body)
        except DecodeError:
            pass
        return _NO_SUCCESS

    def _unreadable(
        self, request: Request, response: Response, shape: Shape[Any, Any] | None
    ) -> DecodeError:
        """Why an answer is no success, with its first bytes.

        The error is returned and not raised, because what led to it quotes the answer at length.
        """
        try:
            if shape is not None:
                wire = self.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
                shape.open(wire, self, response.body)
        except DecodeError as error:
            return copy.copy(error)
        quoted = excerpt(response.body, sensitive=request.sensitive)
        return DecodeError(f"this is no answer of the service: {quoted}")

    def broken_items(
        self, request: Request, broken: BrokenItems | None, *, page: int | None = None
    ) -> DecodeError | None:
        """The error for a list some items of which could not be decoded; None when all were."""
        if broken is None:
            return None
        what, then = ("the answer", "") if page is None else (f"page {page}", _ITERATE_ON)
        error = DecodeError(
            f"{what} is not what the contract says: {broken.reason}; "
            f"error.items holds those that were read{then}"
        )
        return self._about(request, self._where(request), error)

    def _about(self, request: Request, where: str, error: E) -> E:
        """An error about an answer, with where it happened and whether the outcome is unknown."""
        made = type(error)(f"{self._label(request, where)}: {error}")
        made.__dict__.update(error.__dict__)
        made.outcome_unknown = is_unknown(request, lost=True)
        return made

    async def _queue(
        self,
        request: Request,
        bucket: Bucket,
        deadline: float | None,
        where: str,
        watch: ObservedCall | None,
        *,
        lost: bool,
        cleanup: Cleanup | None = None,
    ) -> int:
        """Wait in line. A request for a credential waits only for its limit: those who hold the slots may wait for it."""
        stopping = CLEANUP.get()
        urgent = False
        ends, until = inf, deadline
        if stopping is not None and stopping.urgent:
            urgent = True
            ends = self.clock() + stopping.left
            until = ends if deadline is None else min(ends, deadline)
        slot = request.authenticated and request.slot
        entering = self._enter(bucket, until, watch, slot=slot, lost=lost, urgent=urgent)
        waits_for = cleanup or stopping
        try:
            if urgent or waits_for is None:
                return await entering
            leave = functools.partial(self._admission.leave, bucket, counted=False, slot=slot)
            if number := await waits_for.unless_urgent(entering, drop=leave):
                return number
        except TimeoutError:
            if not urgent:
                raise self._gave_up_in_line(request, bucket, deadline, where, lost=lost) from None
            # A cleanup has time left when the process stood still. Before its end, nothing does:
            # the pause of a limit outlasts it.
            if until != ends or self.clock() < ends or stopping is None or stopping.left <= 0:
                raise self._too_late(request, where, lost=lost, urgent=True) from None
        except WaitTooLongError as error:
            raise self._exhausted(request, bucket, error.seconds, where, lost=lost) from None
        except ConnectError as error:  # of the store that counts for several processes
            raise self._final(request, error, where, lost=lost, before=lost, why="") from None
        if cleanup is not None:
            raise ConfigurationError(f"{CLOSED}; nothing was sent")
        return await self._queue(request, bucket, deadline, where, watch, lost=lost)

    async def _enter(
        self,
        bucket: Bucket,
        deadline: float | None,
        watch: ObservedCall | None,
        *,
        slot: bool,
        lost: bool,
        urgent: bool,
    ) -> int:
        """Enter the gate; a shared budget's store that is away is asked again as the policy says.

        Raises:
            ConnectError: it stays away.
        """
        tries, in_run, patience = 0, RUN.get() is not None, self._limit_patience(bucket)
        while True:
            try:
                with self.waits.behind(bucket, self._admission.reason, watch):
                    return await self._admission.enter(
                        bucket,
                        self._end_of_line(deadline) if in_run else deadline,
                        slot=slot,
                        max_wait=patience,
                        urgent=urgent,
                    )
            except ConnectError as error:
                tries += 1
                decision = self._retry.decide(
                    error, repeatable=True, attempt=tries, random=self._entropy(), renewed=False
                )
                why = f" (tried {tries} times)" if tries > 1 else ""
                pause = decision.seconds if isinstance(decision, RetryAfter) else None
                if pause is not None and deadline is not None and self.clock() + pause >= deadline:
                    pause, why = None, "; the deadline leaves no time to try again"
                if pause is None and CLEANUP.get() is not None:
                    # A stop goes on without the store, urgent or not.
                    urgent, pause = True, 0.0
                if pause is None:
                    # Of a request that was sent before, the error says what it leaves unknown.
                    sent = "" if lost else "; nothing was sent"
                    raise ConnectError(f"{error}{why}{sent}") from None
            with self.waits.for_reason(WaitReason.SHARED_BUDGET, watch, pause):
                await asyncio.sleep(pause)

    def _limit_patience(self, bucket: Bucket) -> Callable[[], float]:
        """For how many seconds a rate limit may be used up, or a refusal may ask to wait.

        For a run's calls that changes while they wait.
        """
        usual, run, allowance = self._retry.max_retry_after, RUN.get(), bucket.allowance
        # What was started is stopped, although the run's time is up.
        if run is None or CLEANUP.get() is not None:
            return lambda: usual
        return lambda: run.patience(usual, allowance.refused_since, self.clock())

    def _refused_for_good(self, bucket: Bucket, error: VCloudError | None = None) -> bool:
        """Whether a run waits no longer, because the service has refused everything for too long.

        Args:
            bucket: of the call.
            error: with which an attempt ended; one that is about no rate limit is judged by itself.
        """
        run = RUN.get()
        if run is None or CLEANUP.get() is not None:
            return False
        if error is not None and not isinstance(error, RateLimitError):
            return False
        since, usual = bucket.allowance.refused_since, self._retry.max_retry_after
        return run.has_waited_in_vain(usual, since, self.clock())

    def _note_proof(self, request: Request, error: TransportError | APIError, proof: Proof) -> bool:
        """Note for a bulk run what an attempt proves; whether it does not count as an attempt."""
        if proof is not Proof.NOT_DONE:
            return False
        _take_back(request)
        run = RUN.get()
        if not isinstance(error, RateLimitError) or run is None or run.ended:
            return False
        return self._retry.attempts > 1

    def _patience_with(self, bucket: Bucket, error: VCloudError) -> float:
        """Seconds that a refusal may ask to wait."""
        limited = isinstance(error, RateLimitError)
        return self._limit_patience(bucket)() if limited else self._retry.max_retry_after

    def _why_final(self, bucket: Bucket, error: TransportError | APIError, attempt: int) -> str:
        """Why there is no further attempt, for the error's text."""
        if self._refused_for_good(bucket, error):
            return f"; {_REFUSED_FOR_GOOD}"
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is not None and asked > self._patience_with(bucket, error):
            longest = _longest_wait("max_retry_after of the RetryPolicy")
            return f"; it asks to wait {asked:g} s, longer than {longest} allows"
        return f" (tried {attempt} times)" if attempt > 1 else ""

    def _end_of_line(self, deadline: float | None) -> float | None:
        """When it makes no sense any more to wait in line, in monotonic seconds.

        Args:
            deadline: of the call.
        """
        run = RUN.get()
        if run is None or run.left is None or CLEANUP.get() is not None:
            return deadline
        # The run itself ends what waits for a slot, and says so.
        ends = self.clock() + run.left() + _AFTER_THE_RUN
        return ends if deadline is None else min(ends, deadline)

    def _gave_up_in_line(
        self, request: Request, bucket: Bucket, deadline: float | None, where: str, *, lost: bool
    ) -> VCloudError:
        """The error of a call that cannot be admitted in time."""
        until, now = self._admission.reason(bucket).until, self.clock()
        if until is not None and (deadline is None or until < deadline):
            return self._exhausted(request, bucket, until - now, where, lost=lost)  # the run's end
        late = self._too_late(request, where, lost=lost)
        self._note_limit(bucket, late)
        return late

    def _note_limit(self, bucket: Bucket, error: VCloudError) -> None:
        """Note for a bulk run that a call gives up, if it is because of a rate limit."""
        count = ATTEMPT_COUNT.get()
        if count is None or not isinstance(error, RateLimitError | RequestTimeout):
            return
        reason, until = self._admission.reason(bucket)
        if reason is not WaitReason.SLOT:
            count.gave_up = error, None if until is None else max(0.0, until - self.clock())

    async def _credential(
        self,
        request: Request,
        deadline: float | None,
        where: str,
        *,
        root: bool,
        watch: ObservedCall | None = None,
        lost: bool = False,
    ) -> Mapping[str, str]:
        """Obtain a credential first, unless it is this request that obtains it."""
        if request.authenticated:
            limit = timeout(None if deadline is None else deadline - self.clock())
            try:
                with self.waits.for_reason(WaitReason.LOGIN, watch):
                    async with limit:
                        await self.auth.acquire(self.send, now=self._day())
            except VCloudError as failure:
                # Whatever became of the login: of this request, nothing was sent since.
                failure.outcome_unknown = is_unknown(request, lost=lost)
                raise
            except TimeoutError:
                if not limit.expired():
                    raise  # a strategy's own clock, which says nothing about the deadline
                raise self._too_late(request, where, lost=lost) from None
        return self._sign(request, self._day(), root)

    def _check_refused(self, request: Request, *, lost: bool) -> None:
        """Fail at once where refused credentials are remembered, rather than wait in line."""
        if not is_held_back(request):
            return
        try:
            self._refused.check()
        except AuthenticationError as error:
            error.outcome_unknown = is_unknown(request, lost=lost)
            raise

    async def _turn_to_try(
        self,
        request: Request,
        deadline: float | None,
        where: str,
        watch: ObservedCall | None,
        *,
        lost: bool,
    ) -> bool:
        """Whether this request tries refused credentials again; the others wait for it."""
        if not is_held_back(request):
            return False
        try:
            with self.waits.for_reason(WaitReason.LOGIN, watch):
                async with timeout(None if deadline is None else deadline - self.clock()):
                    return await self._refused.turn()
        except AuthenticationError as error:
            error.outcome_unknown = is_unknown(request, lost=lost)
            raise
        except TimeoutError:
            raise self._too_late(request, where, lost=lost) from None

    def _end_trial(self, tries: bool) -> None:  # noqa: FBT001 - what _turn_to_try gave
        if tries:
            self._refused.tried()

    def _sign_again(
        self,
        request: Request,
        response: Response,
        sent: Mapping[str, str],
        error: TransportError | APIError,
        proof: Proof,
    ) -> bool:
        """Whether a refused credential may be let in when the request is signed once more."""
        return request.authenticated and (
            self.auth.refused(response, sent, now=self._day())
            or self._is_after_jump(response, sent)
            or self._note_refusal(request, sent, error, proof)
        )

    def _is_after_jump(self, response: Response, sent: Mapping[str, str]) -> bool:
        """Whether this machine's clock was put forward or back, and the strategy learnt of it."""
        return self._learn_jump is not None and self._learn_jump(
            response, sent, now=self._day(), clocks=self._day.estimates()
        )

    def _difference_of_clocks(self, response: Response) -> timedelta | None:
        """By how much a ``Date`` contradicts all that is known of the time; None: not by much."""
        if self._clock_difference is None:
            return None
        found = [self._clock_difference(response, now=now) for now in self._day.estimates()]
        # The last one is to the machine's clock as it is: that one has to be set.
        return None if None in found else found[-1]

    def _judged_as_copy(
        self,
        began: float,
        response: Response,
        sent: Mapping[str, str],
        error: AuthenticationError,
        proof: Proof,
    ) -> Proof:
        """What a refusal of credentials that work once proves.

        The time in which this machine slept counts: a proxy did not.
        """
        took = self._boottime() - began
        if self._may_be_a_copy is None or not self._may_be_a_copy(response, sent, seconds=took):
            return proof
        error.add_note(
            f"the refusal came {took:.0f} s after the request was sent, and may be that of a second "
            "copy: a proxy between may have repeated the request after the first one was carried out"
        )
        return proof_of_answer(error.status, Form.COPY)

    def _note_refusal(
        self,
        request: Request,
        sent: Mapping[str, str],
        error: TransportError | APIError,
        proof: Proof,
    ) -> bool:
        """Remember what a final answer says of the credentials; whether the strategy doubts it."""
        if not isinstance(error, APIError):
            return False
        if refuses_credentials(error, request, proof):
            rejected = getattr(self.auth, "rejected", None)  # which no subclass of Auth may lack
            if rejected is not None and not rejected(sent, now=self._day()):
                return True
            self._refused.note(error)
        elif accepts_credentials(error, request, proof):
            self._refused.forget()
        return False

    def credentials_changed(self) -> None:
        """Forget what was remembered of the credentials: the strategy has others now."""
        self._refused.forget()

    def _let_in(
        self, request: Request, response: Response, sent: Mapping[str, str], *, renewed: bool
    ) -> None:
        """The service accepted the credentials of this request."""
        if not request.authenticated:
            return
        self._refused.forget()
        self._refused.untried = False
        if (note_success := getattr(self.auth, "note_success", None)) is not None:
            note_success(response, sent)
        if renewed and (accepted := getattr(self.auth, "accepted", None)) is not None:
            accepted(sent, now=self._day())

    def _redactor_now(self, request: Request) -> Redactor:
        # The credential may have been given up meanwhile: then there is none to look for.
        now = self._day()
        return self._redactor(request, self._sign(request, now) if self.auth.ready(now) else {})

    def _redactor(self, request: Request, headers: Mapping[str, str]) -> Redactor:
        """What takes the secrets of a request out of its answer: those of a proxy between too."""
        return redactor_for(request, [*headers.items(), *self._wire.proxy_headers.items()])

    def _sign(self, request: Request, now: float, root: bool = False) -> Mapping[str, str]:  # noqa: FBT001, FBT002 - a keyword costs on every call
        headers: Mapping[str, str] = {}
        if request.authenticated:
            path = (self._root_path if root else self._base_path) + request.path
            headers = self.auth.headers(request, path, now=now, nonce=self._nonce())
        if request.body is not None:
            return Credentials({"Content-Type": "application/json", **headers})
        # Those of a strategy of the user's own may be any mapping, and its repr shows them.
        return headers if type(headers) is Credentials else Credentials(headers)

    def _wire_until(
        self, request: Request, deadline: float, where: str, place: Place | None, *, lost: bool
    ) -> TransportOptions:
        left = deadline - self.clock()
        if left <= 0 and place is not None:
            # It was let go to try at its last moment.
            number = self.transport.shortage.number
            raise self._without_room(request, number, place, where, lost=lost)
        if left <= 0:
            raise self._too_late(request, where, lost=lost)
        return self._wire if left >= self._timeout else self._wire.within(left)

    def _success(  # noqa: PLR0917 - keywords cost on every call
        self,
        request: Request,
        response: Response,
        shape: Shape[Any, Any] | None,
        headers: Mapping[str, str],
        bucket: Bucket,
        number: int,
    ) -> Any:
        """What the caller gets for an answer that is a success, :data:`_NO_SUCCESS` for any other.

        A body is decoded once, into its endpoint's class, and that says whether it is a success.
        """
        if response is _UPGRADED:
            return response
        if not 200 <= response.status < 300:
            return _NO_SUCCESS
        try:
            if shape is None:
                # Only whether it is one: nobody reads a time from this error.
                if self.dialect.error(request, response, "", now=0.0) is not None:
                    return _NO_SUCCESS
                result: Any = response
            else:
                answer = self.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
                if not self.dialect.succeeded(answer):
                    return _NO_SUCCESS
                result = shape.open(answer, self, response.body)
        except DecodeError:
            result = self._list_in_part(request, response, shape, headers)
            if result is _NO_SUCCESS:
                return result
        # Nearly every answer: without a limit that is known, and saying nothing of one.
        if bucket.allowance.bounded or REMAINING in response.headers:
            bucket.allowance.note(response.headers, self.clock(), self._day(), number)
        return result

    def _list_in_part(
        self,
        request: Request,
        response: Response,
        shape: Shape[Any, Any] | None,
        headers: Mapping[str, str],
    ) -> Any:
        """A list without its broken items; :data:`_NO_SUCCESS` for any other answer."""
        if shape is None or shape.open_partly is None:
            return _NO_SUCCESS
        # Without what the answer repeats of the request, because the error quotes it.
        redactor = self._redactor(request, headers)
        clean, cut = redactor.response(response), len(response.body) > SEARCHED
        try:
            answer, broken = self.codec.decode_items(
                clean.body, shape.wire, sensitive=request.sensitive
            )
            if not self.dialect.succeeded(answer):
                return _NO_SUCCESS
            broken = {
                name: msgspec.structs.replace(one, reason=redactor.text(one.reason, cut=cut))
                for name, one in broken.items()
            }
            return shape.open_partly(answer, self, clean.body, broken)
        except DecodeError:
            return _NO_SUCCESS

    def _refusal(  # noqa: PLR0917 - as above
        self,
        request: Request,
        response: Response,
        shape: Shape[Any, Any] | None,
        headers: Mapping[str, str],
        bucket: Bucket,
        number: int,
        where: str,
    ) -> tuple[APIError, Proof]:
        """Note the limits; the refusal that an answer is which is no success, and what it proves.

        Raises:
            DecodeError: it is no refusal either.
        """
        now = self._day()
        # Without what the answer repeats of the request, because the error quotes it.
        redactor = self._redactor(request, headers)
        clean = redactor.response(response)
        error, unreadable = self._explained(request, clean, where, now)
        if error is not None and (response.cut or len(response.body) > MAX_REFUSAL):
            error.add_note(_CUT)
        if isinstance(error, RateLimitError):
            pause = max(error.retry_after or 0.0, self._retry.backoff(1, self._entropy()))
            bucket.allowance.pause(pause, response.headers, self.clock(), now)
        else:
            bucket.allowance.note(response.headers, self.clock(), now, number, good=False)
        failure = error or unreadable or self._unreadable(request, clean, shape)
        redactor.error(failure, cut=len(response.body) > SEARCHED)
        if error is None:
            raise self._about(request, where, failure)
        if isinstance(error, AuthenticationError):
            error.clock_difference = self._difference_of_clocks(response)
        if error.status == 503:
            error.retry_after = retry_after(response.headers, now=now)
        if 300 <= response.status < 400:
            return error, proof_of_answer(response.status, Form.FOREIGN)
        return error, self.dialect.proof(request, clean, error)

    def _explained(
        self, request: Request, response: Response, where: str, now: float
    ) -> tuple[APIError | None, DecodeError | None]:
        """The refusal that an answer is, if it is one; or why the dialect cannot read it."""
        if 300 <= response.status < 400:
            elsewhere = _without_secrets(response.headers.get("Location", "nowhere"))
            error = APIError(
                f"the service redirects to {elsewhere:.200}, and redirects are not followed: "
                "is the base_url right?",
                status=response.status,
                provider=self.dialect.provider,
                method=request.method,
                url=where,
            )
            return error, None
        try:
            return self.dialect.error(request, response, where, now=now), None
        except DecodeError as failure:
            return None, copy.copy(failure)

    def _exhausted(
        self, request: Request, bucket: Bucket, wait: float, where: str, *, lost: bool
    ) -> RateLimitError:
        sent = "the answer to an earlier attempt was lost" if lost else "nothing was sent"
        longest = _longest_wait("max_retry_after")
        why = f"the limit is used up for another {wait:.0f} s, longer than {longest} allows to wait"
        if self._refused_for_good(bucket):
            why = _REFUSED_FOR_GOOD
        error = RateLimitError(
            f"{why}; {sent}",
            status=429,
            provider=self.dialect.provider,
            method=request.method,
            url=where,
        )
        error.retry_after = wait
        error.outcome_unknown = is_unknown(request, lost=lost)
        return error

    def _too_late(
        self, request: Request, where: str, *, lost: bool, urgent: bool = False
    ) -> RequestTimeout:
        unknown = is_unknown(request, lost=lost)
        what = " again" if lost else "; nothing was sent"
        passed = f"the deadline of {self._deadline or 0:g} s passed before it could be sent"
        if urgent:
            passed = (
                "the limit is used up, or all slots are taken, for longer than is left of "
                f"cleanup_timeout ({self.cleanup_timeout:g} s), so it could not be sent"
            )
        return RequestTimeout(
            f"{self._label(request, where)}: {passed}{what}", outcome_unknown=unknown
        )

    def _address(self, request: Request, *, root: bool) -> str:
        """What is sent to: with the path and the query as they are."""
        address = (self.root_url if root else self.base_url) + request.path
        return f"{address}?{request.query}" if request.query else address

    def _where(self, request: Request, *, root: bool = False) -> str:
        """The address of a request for texts: without its query, and with its label for its path."""
        return (self.root_url if root else self.base_url) + request.shown_path

    def _label(self, request: Request, where: str) -> str:
        return f"{self.dialect.provider}: {request.method} {where}"

    def _final(
        self,
        request: Request,
        error: TransportError | APIError,
        where: str,
        *,
        lost: bool,
        before: bool,
        why: str,
    ) -> TransportError | APIError:
        """The error as the caller gets it: with where it happened, and what it leaves unknown.

        Args:
            request: what was sent.
            error: how the last attempt ended.
            where: its address.
            lost: whether any attempt left open what the service did.
            before: whether one before the last did.
            why: why there is no further attempt.
        """
        unknown = is_unknown(request, lost=lost)
        if isinstance(error, APIError):
            error.outcome_unknown = unknown
            if before and isinstance(error, NotFoundError):
                error.add_note(
                    "an earlier attempt had no answer of the service: it may be what removed it"
                )
            elif why:
                error.add_note(why.strip(" ;()"))
            return error
        # One attempt that never arrived proves nothing of those before it.
        kind, text = type(error), f"{error}"
        if unknown and isinstance(error, ConnectError):
            kind = RequestTimeout if isinstance(error, ConnectTimeout) else TransportError
            text = text.replace("; nothing was sent", "; this time nothing was sent")
        final = kind(f"{self._label(request, where)}: {text}{why}", outcome_unknown=unknown)
        if error.__cause__ is not None:  # or else what was being handled would be hidden
            final.__cause__ = error.__cause__
        return final


_ITERATE_ON = ", and iterating on continues after them"
#: Ends the calls of a bulk run that has no deadline.
_REFUSED_FOR_GOOD: Final = (
    "the service has refused everything for longer than max_retry_after allows a run to wait"
)


def _longest_wait(usual: str) -> str:
    """What says how long a rate limit may be waited for, in words."""
    run = RUN.get()
    if run is None or run.left is None or CLEANUP.get() is not None:
        return usual
    return "the deadline of the run"


#: Stands for a WebSocket that was opened: no dialect has to know of upgrades.
_UPGRADED = Response(101, {}, b"")
#: A note of a refusal that is long.
_CUT: Final = (
    f"the refusal was longer than {MAX_REFUSAL} bytes, and the service's words may be incomplete"
)


def _boottime_of(clock: Callable[[], float], day: Callable[[], float]) -> Callable[[], float]:
    return boottime if day is wall else clock


def _time_of_day(auth: Any, read: Callable[[], float], elapsed: Callable[[], float]) -> TimeOfDay:
    """The time that a strategy's requests are signed with, for all that share what it learns."""
    held: ReferenceType[TimeOfDay] | None = getattr(auth, "time_of_day", None)
    shared = None if held is None else held()
    if shared is not None and shared.read is read:
        return shared
    made = TimeOfDay(read, elapsed, system_wall if read is wall else None)
    if hasattr(auth, "time_of_day"):
        auth.time_of_day = ReferenceType(made)
    return made


def _without_rest(response: Response) -> Response:
    """A refusal without what follows its first 64 KiB. Frames of a kept error keep it."""
    if len(response.body) <= MAX_REFUSAL:
        return response
    return Response(response.status, response.headers, response.body[:MAX_REFUSAL], cut=True)


#: Seconds after the end of a bulk run at which a call would give up its place in line. The run has
#: ended it by then, unless a rate limit is known to outlast both.
_AFTER_THE_RUN: Final = 1.0
#: An answer that is no success.
_NO_SUCCESS: Final = object()


def _to_the_end(exchange: Exchange, cleanup: Cleanup) -> Exchange:
    """An exchange that is finished although its caller is cancelled meanwhile, if it is sent."""

    async def sent(*given: Any) -> Response:
        # Of the task that runs this alone.
        CALLER.set(cleanup)
        exchanging = exchange(*given)
        # They hold the credentials, and reporters of errors print the variables of a frame.
        del given
        return await exchanging

    async def finished(*given: Any) -> Response:
        try:
            return await cleanup.finish(sent(*given))
        except VCloudError:
            raise
        except TimeoutError as late:
            bound = f"within the {cleanup.timeout:g} s of cleanup_timeout"
            failure: VCloudError = RequestTimeout(f"there was no answer {bound}")
            if (awaited := unsent(late)) is not None:
                failure = ConnectTimeout(f"cannot reach it: {awaited} {bound}; nothing was sent")
        except Exception as error:  # noqa: BLE001 - of a signal's handler, raised while this ran
            cleanup.interrupt(error)
            failure = TransportError(f"it was interrupted by {type(error).__name__}")
        finally:
            del given
        raise failure

    return finished


async def _until_urgent(
    waiting: Coroutine[Any, Any, R],
    cleanup: Cleanup | None,
    drop: Callable[[R], object] | None = None,
) -> R | None:
    """Wait for this; None if the client closes meanwhile and somebody has to finish something."""
    if cleanup is None:
        return await waiting
    return await cleanup.unless_urgent(waiting, drop=drop)


def _take_back(request: Request) -> None:
    """Note for who counts attempts that the last one provably did nothing."""
    if request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
        count.take_back(safe=request.safe)


def _forget_attempt(request: Request) -> None:
    """Note for who counts attempts that the last one was none."""
    if request.authenticated and (count := ATTEMPT_COUNT.get()) is not None:
        count.forget(safe=request.safe)


async def _slept(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


def _without_secrets(address: str) -> str:
    """Where a redirect leads, without what may open it: the user's part, the query, the fragment."""
    path = re.split(r"[?#]", address, maxsplit=1)[0]
    return re.sub(r"//[^/]*@", "//", path, count=1)


@concealing
def _with_token(url: str, headers: Mapping[str, str], name: str) -> tuple[str, Mapping[str, str]]:
    """The bearer token moved from its header into the query."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    rest = {key: value for key, value in headers.items() if key != "Authorization"}
    return f"{url}{'&' if '?' in url else '?'}{name}={quote(token, safe='')}", rest
