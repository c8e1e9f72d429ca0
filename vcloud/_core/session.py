"""The one request loop: admit, credential, sign, send, note limits, decide."""

from __future__ import annotations

import asyncio
import copy
import functools
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import quote, urlsplit

from vcloud._core.admission import Gate, Lane
from vcloud._core.codec import Codec, Shape
from vcloud._core.endpoint import Endpoint
from vcloud._core.ratelimit import RateLimit
from vcloud._core.request import Request, Response, seconds
from vcloud._core.retry import RetryAfter, RetryPolicy, Verdict
from vcloud._core.tally import TALLY
from vcloud._core.transport import RefusedError, Socket, Transport, Wire
from vcloud.errors import (
    APIError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    NotFoundError,
    RateLimitError,
    RequestTimeout,
    TransportError,
)

R = TypeVar("R")

#: How one attempt crosses the wire: :meth:`Transport.exchange`, or an upgrade to a WebSocket.
Exchange = Callable[[str, str, Mapping[str, str], bytes | None, Wire], Awaitable[Response]]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Dialect(Protocol):
    """What differs between providers below the endpoints: who they are, and how they say no."""

    @property
    def provider(self) -> str:
        """Its name in the facade and in errors."""
        ...

    @property
    def rate_limits(self) -> Sequence[RateLimit]:
        """The limits that its documents promise."""
        ...

    def error(self, request: Request, response: Response, url: str, *, now: float) -> APIError | None:
        """The refusal that this answer is, or None when it is none. ``now`` is Unix seconds.

        Raises:
            DecodeError: an answer that is neither.
        """
        ...


class Session:
    """Sends one provider's requests. All its handles and collections share it.

    Args:
        dialect: how the provider refuses.
        endpoint: where it is and how to reach it.
        base_url: the endpoint's address, or the provider's default.
        transport: the socket work, shared by all providers of one facade.
        codec: decodes answers; a strict one in contract tests.
        clock: monotonic seconds.
        wall: Unix seconds.
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
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        entropy: Callable[[], float] = random.random,
        nonce: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self.dialect = dialect
        self.base_url = base_url
        self.transport = transport
        self.codec = codec or Codec()
        self.auth = endpoint.auth
        self.clock = clock
        self._wall = wall
        self._entropy = entropy
        self._nonce = nonce
        address = urlsplit(base_url)
        self._base_path = address.path
        #: The host, without the API's path.
        self.root_url = f"{address.scheme}://{address.netloc}"
        self._retry: RetryPolicy = endpoint.retry
        self._deadline = None if endpoint.deadline is None else seconds(endpoint.deadline)
        self._timeout = endpoint.timeout
        self._wire = Wire.of(
            base_url=base_url,
            timeout=endpoint.timeout,
            connect_timeout=endpoint.connect_timeout,
            ssl=endpoint.ssl or endpoint.verify,
            proxy=endpoint.proxy,
        )
        self._budget = endpoint.shared_budget
        self._gate = Gate(
            endpoint.concurrency,
            clock,
            rules=endpoint.rate_limits,
            expected=dialect.rate_limits,
            acquire=None if self._budget is None else functools.partial(self._budget.acquire, dialect.provider),
        )

    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """The same session (connections, slots, limits, credentials) with other patience."""
        other = copy.copy(self)
        if timeout is not None:
            other._timeout = seconds(timeout)
            other._wire = self._wire.within(other._timeout)
        if deadline is not None:
            other._deadline = seconds(deadline)
        if retry is not None:
            other._retry = retry
        return other

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
        """The wall's time, in Unix seconds."""
        return self._wall()

    async def authenticate(self, request: Request) -> Mapping[str, str]:
        """The headers that authenticate this request now, for what is not sent from here (a link, say)."""
        self.transport.check()
        if self.auth.ready(self._wall()):
            return self._sign(request)
        return await self._credential(request, None, self.base_url + request.path, root=False)

    # These two hand out the loop's own coroutine: one of their own would be one more for each of thousands that wait.

    def fetch(self, request: Request, shape: Shape[Any, R]) -> Coroutine[Any, Any, R]:
        """Send, decode the answer, and make of it what the caller gets.

        Raises:
            DecodeError: it is not of that shape.
            VCloudError: as for :meth:`send`.
        """
        return self._send(request, shape, self.transport.exchange, root=False)

    def send(self, request: Request, *, exchange: Exchange | None = None, root: bool = False) -> Coroutine[Any, Any, Response]:
        """Send, and hand out the answer as it is.

        Args:
            request: what to send.
            exchange: how each attempt crosses the wire; None: as a plain request.
            root: its path is the host's, not the API's.

        Raises:
            ConfigurationError: the client is not open, closed, or another event loop's.
            APIError: the service refused.
            TransportError: no answer; ``outcome_unknown`` says whether it may have acted.
            DecodeError: an answer that is neither success nor refusal.
        """
        return self._send(request, None, exchange or self.transport.exchange, root=root)

    async def connect(self, request: Request, *, root: bool = False, token_query: str | None = None) -> Socket:
        """Open a WebSocket, with the patience, credentials and limits of any other request; none of them is held meanwhile.

        Args:
            request: the upgrade.
            root: its path is the host's, not the API's.
            token_query: send the bearer token as this parameter, which enters no text, instead of in a header.

        Raises:
            ConfigurationError: as for :meth:`send`; or the token is to be sent as a parameter and there is none.
            APIError: the service refused the upgrade.
            TransportError: no connection.
        """
        opened: list[Socket] = []

        async def upgrade(method: str, url: str, headers: Mapping[str, str], body: bytes | None, wire: Wire) -> Response:  # noqa: ARG001 - as any exchange
            if token_query is not None:
                url, headers = _with_token(url, headers, token_query)
            try:
                opened.append(await self.transport.websocket(url, headers, wire))
            except RefusedError as refused:
                return refused.response
            return _UPGRADED

        await self.send(request, exchange=upgrade, root=root)
        return opened[0]

    async def _send(  # noqa: C901 - the one loop, in one piece
        self, request: Request, shape: Shape[Any, Any] | None, exchange: Exchange, *, root: bool
    ) -> Any:
        """Send until there is an answer, a refusal that stands, or no sense in going on."""
        self.transport.check()
        where = (self.root_url if root else self.base_url) + request.path
        url = f"{where}?{request.query}" if request.query else where
        deadline = None if self._deadline is None else self.clock() + self._deadline
        attempt, renewed, lost = 1, False, False
        headers: Mapping[str, str] = {}
        lane = self._gate.lane(request.bucket)
        while True:
            error: TransportError | APIError | None
            response = None
            sent = False
            if not (request.authenticated and self._gate.enter_now(lane)):
                await self._queue(request, lane, deadline, where)
            try:
                headers = (
                    self._sign(request, root)
                    if self.auth.ready(self._wall())
                    else await self._credential(request, deadline, where, root=root)
                )
                wire = self._wire if deadline is None else self._wire_until(request, deadline, where)
                if request.authenticated and (tally := TALLY.get()) is not None:
                    tally.attempts += 1
                # Only what fails from here on says anything about this request; a login that fails is its own failure.
                sent = True
                try:
                    response = await exchange(request.method, url, headers, request.body, wire)
                except TransportError as failure:
                    error = failure
                    sent = not isinstance(failure, ConnectError)
                    lost = lost or sent
                else:
                    error = self._judge(request, response, lane, where)
                    if error is None:
                        return response if shape is None else self._open(request, response, shape)
            finally:
                self._gate.leave(lane, counted=sent, slot=request.authenticated)

            decision = self._retry.decide(
                error, idempotent=request.idempotent, attempt=attempt, random=self._entropy(), renewed=renewed
            )
            if decision is Verdict.REAUTHENTICATE and response is not None:
                if not (request.authenticated and self.auth.refused(response, headers, now=self._wall())):
                    raise error
                renewed = True
            elif isinstance(decision, RetryAfter):
                if deadline is not None and self.clock() + decision.seconds >= deadline:
                    raise self._final(request, error, where, lost=lost, why="; the deadline leaves no time to try again")
                await asyncio.sleep(decision.seconds)
            else:
                raise self._final(request, error, where, lost=lost, why=f" (tried {attempt} times)" if attempt > 1 else "")
            attempt += 1

    def _open(self, request: Request, response: Response, shape: Shape[Any, R]) -> R:
        try:
            wire = self.codec.decode(response.body, shape.wire, sensitive=request.sensitive)
        except DecodeError as error:
            raise DecodeError(f"{self._label(request, self.base_url + request.path)}: {error}") from None
        return shape.open(wire, self, response.body)

    async def _queue(self, request: Request, lane: Lane, deadline: float | None, where: str) -> None:
        """Wait in line. A request for a credential waits only for its limit: those who hold the slots may wait for it."""
        wait = lane.allowance.delay(self.clock())
        if math.inf > wait > self._retry.max_retry_after:
            raise self._exhausted(request, wait, where)
        try:
            await self._gate.enter(lane, deadline, slot=request.authenticated)
        except TimeoutError:
            raise self._too_late(request, where) from None

    async def _credential(self, request: Request, deadline: float | None, where: str, *, root: bool) -> Mapping[str, str]:
        """Obtain a credential first, unless it is this request that obtains it."""
        if request.authenticated:
            limit = asyncio.timeout(None if deadline is None else deadline - self.clock())
            try:
                async with limit:
                    await self.auth.acquire(self.send, now=self._wall())
            except TimeoutError:
                if not limit.expired():
                    raise  # a strategy's own clock, which says nothing about the deadline
                raise self._too_late(request, where) from None
        return self._sign(request, root)

    def _sign(self, request: Request, root: bool = False) -> Mapping[str, str]:  # noqa: FBT001, FBT002 - a keyword costs on every call
        headers: Mapping[str, str] = {}
        if request.authenticated:
            path = request.path if root else self._base_path + request.path
            headers = self.auth.headers(request, path, now=self._wall(), nonce=self._nonce())
        return headers if request.body is None else {"Content-Type": "application/json", **headers}

    def _wire_until(self, request: Request, deadline: float, where: str) -> Wire:
        left = deadline - self.clock()
        if left <= 0:
            raise self._too_late(request, where)
        return self._wire if left >= self._timeout else self._wire.within(left)

    def _judge(self, request: Request, response: Response, lane: Lane, where: str) -> APIError | None:
        """Note the limits, and say whether this is a refusal."""
        now = self._wall()
        if response is _UPGRADED:
            return None
        if 300 <= response.status < 400:
            elsewhere = response.headers.get("Location", "nowhere").partition("?")[0]
            return APIError(
                f"the service redirects to {elsewhere}, and redirects are not followed: is the base_url right?",
                status=response.status,
                provider=self.dialect.provider,
                method=request.method,
                url=where,
            )
        error = self.dialect.error(request, response, where, now=now)
        if isinstance(error, RateLimitError):
            pause = error.retry_after if error.retry_after is not None else self._retry.backoff(1, self._entropy())
            lane.allowance.pause(pause, response.headers, self.clock(), now)
        else:
            lane.allowance.note(response.headers, self.clock(), now)
        return error

    def _exhausted(self, request: Request, wait: float, where: str) -> RateLimitError:
        error = RateLimitError(
            f"the limit is used up for another {wait:.0f} s, longer than max_retry_after allows to wait; nothing was sent",
            status=429,
            provider=self.dialect.provider,
            method=request.method,
            url=where,
        )
        error.retry_after = wait
        return error

    def _too_late(self, request: Request, where: str) -> RequestTimeout:
        return RequestTimeout(
            f"{self._label(request, where)}: the deadline of {self._deadline:g} s passed before it could be sent; nothing was sent"
        )

    def _label(self, request: Request, where: str) -> str:
        return f"{self.dialect.provider}: {request.method} {where}"

    def _final(
        self, request: Request, error: TransportError | APIError, where: str, *, lost: bool, why: str
    ) -> TransportError | APIError:
        """The error as the caller gets it: with where it happened, and what it leaves unknown."""
        if isinstance(error, APIError):
            if lost and isinstance(error, NotFoundError):
                error.add_note("the answer to an earlier attempt was lost: it may be what removed it")
            elif why:
                error.add_note(why.strip(" ;()"))
            return error
        unknown = lost and request.method not in _SAFE
        hint = "; whether the service carried it out is unknown, so look before you repeat it" if unknown else ""
        final = type(error)(f"{self._label(request, where)}: {error}{why}{hint}", outcome_unknown=unknown)
        final.__cause__ = error.__cause__
        return final


#: Stands for a WebSocket that was opened: no dialect has to know of upgrades.
_UPGRADED = Response(101, {}, b"")


def _with_token(url: str, headers: Mapping[str, str], name: str) -> tuple[str, Mapping[str, str]]:
    """The bearer token moved from its header into the query."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    rest = {key: value for key, value in headers.items() if key != "Authorization"}
    return f"{url}{'&' if '?' in url else '?'}{name}={quote(token, safe='')}", rest
