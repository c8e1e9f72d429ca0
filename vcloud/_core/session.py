"""One provider's session, through which its handles and collections send requests."""

from __future__ import annotations

import copy
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from logging import Logger
from typing import Any, Final, Self, TypeVar, cast
from weakref import WeakSet

import msgspec

from vcloud._core.arguments import positive_seconds
from vcloud._core.auth import Auth
from vcloud._core.call.answers import NO_SUCCESS, read, unreadable
from vcloud._core.call.building import build_context
from vcloud._core.call.call import Call
from vcloud._core.call.context import CallContext, Exchange
from vcloud._core.call.credentials import obtain_credential
from vcloud._core.call.errors import about_answer, closed
from vcloud._core.call.loop import run
from vcloud._core.call.sources import SYSTEM, Sources
from vcloud._core.call.unread_answer import unread_answer
from vcloud._core.call.upgrades import Upgrade
from vcloud._core.cleanup import Cleanup, Opened
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.decoding.shape import BrokenItems, Shape
from vcloud._core.endpoint import Endpoint
from vcloud._core.installation import Installation
from vcloud._core.limits.admission import Admission
from vcloud._core.limits.shared_budget.budget import SharedBudget
from vcloud._core.observed_call import Observers
from vcloud._core.redaction.sent_secrets import SEARCHED, Redactor
from vcloud._core.request import UPGRADES, UPGRADES_WITHOUT_SLOT, Request, Response
from vcloud._core.retry import RetryPolicy
from vcloud._core.service import Service
from vcloud._core.stats import Stats
from vcloud._core.transport import Transport
from vcloud._core.waiting import Waits
from vcloud._core.websocket import Socket
from vcloud.errors import DecodeError, InvalidArgumentError
from vcloud.errors.text import shortened

R = TypeVar("R")

_ITERATE_ON: Final = ", and the iteration can continue after them"


class Session:
    """Sends one provider's requests. All its handles and collections share it.

    Args:
        service: how the provider refuses.
        endpoint: where it is and how to reach it.
        base_url: the endpoint's address, or the provider's default.
        transport: the socket work, shared by all providers of one facade.
        codec: decodes answers; a strict one in contract tests.
        sources: where time and chance come from; None: :data:`SYSTEM`.
    """

    #: What a provider's client knows of its installation, for its handles; None: nothing.
    installation: Installation | None = None

    def __init__(
        self,
        service: Service,
        endpoint: Endpoint,
        base_url: str,
        transport: Transport,
        *,
        codec: Codec | None = None,
        sources: Sources | None = None,
    ) -> None:
        codec, sources = codec or Codec(), sources or SYSTEM
        context = build_context(
            service, endpoint, base_url, transport, codec=codec, sources=sources
        )
        #: What its calls share. The attributes that follow are for handles and collections.
        self.context: CallContext = context
        self.service: Service = service
        self.transport: Transport = transport
        self.codec: Codec = context.codec
        self.auth: Auth = context.signer.auth
        self.clock: Callable[[], float] = context.clock
        #: A number in 0..1, for jitter.
        self.entropy: Callable[[], float] = context.entropy
        #: The address of the API.
        self.base_url: str = base_url
        #: Where the installation begins, without the API's own path: the host, or a path on it.
        self.root_url: str = context.root_url
        #: Seconds for what must be finished after a cancellation, or when the client closes.
        self.cleanup_timeout: float = endpoint.cleanup_timeout
        #: Seconds for one attempt, as the endpoint says.
        self.attempt_timeout: float = endpoint.timeout
        #: How many requests may be in flight.
        self.concurrency: int = endpoint.concurrency
        #: Whether links that the service hands out may be plain http.
        self.allow_http: bool = endpoint.allow_http
        #: How many pages one iteration of a list may read.
        self.max_pages: int = endpoint.max_pages
        #: Slots and rate limits.
        self.admission: Admission = context.admission
        #: The budget that several processes share, if there is one.
        self.shared_budget: SharedBudget | None = endpoint.shared_budget
        #: The calls that wait, and for what.
        self.waits: Waits = context.waits
        #: Who observes the calls.
        self.observers: Observers = context.observers
        #: The provider's log.
        self.log: Logger = context.observers.log
        #: What was opened through this, and ends with the client. Its owner keeps it alive.
        self.opened: WeakSet[Opened] = WeakSet()
        #: The WebSockets, which are closed after what uses them.
        self.sockets: WeakSet[Socket] = WeakSet()
        #: Called with the id of what was ended for good, for a client that keeps a list of it.
        self.forget: Callable[[str], None] | None = None

    def stats(self) -> Stats:
        """How many requests are in flight and wait, and until when the service wants a pause."""
        admission = self.admission
        waiting = {reason: queue.number for reason, queue in admission.waiting().items()}
        paused = admission.paused_for()
        return Stats(
            in_flight=admission.in_flight,
            waiting=sum(waiting.values()),
            waiting_for=waiting,
            free=admission.free,
            paused_until=self.waits.at(self.clock() + paused) if paused else None,
        )

    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """The same session (connections, slots, limits, credentials) with other time limits.

        Raises:
            InvalidArgumentError: a time that is not above 0, or no policy.
        """
        changes: dict[str, Any] = {}
        if not isinstance(retry, RetryPolicy | None):
            raise InvalidArgumentError(f"retry must be a RetryPolicy(...), not {retry!r}")
        if timeout is not None:
            seconds = positive_seconds(timeout, "timeout")
            options = self.context.options.within(seconds)
            changes |= {"timeout": seconds, "timeout_chosen": True, "options": options}
        if deadline is not None:
            changes["deadline"] = positive_seconds(deadline, "deadline")
        if retry is not None:
            changes["retry"] = retry
        other = copy.copy(self)
        other.context = msgspec.structs.replace(self.context, **changes)
        return other

    def with_auth(self, auth: Auth) -> Self:
        """The same session (connections, slots, limits) with other credentials."""
        other = copy.copy(self)
        signer = self.context.signer.with_auth(auth)
        other.context = msgspec.structs.replace(self.context, signer=signer)
        other.auth = auth
        return other

    def with_max_message(self, size: int) -> Self:
        """The same session, for WebSockets with messages of so many bytes, or as many as before."""
        options = self.context.options
        options = msgspec.structs.replace(options, max_message=max(size, options.max_message))
        other = copy.copy(self)
        other.context = msgspec.structs.replace(self.context, options=options)
        return other

    def with_default_timeout(self, seconds: float) -> Self:
        """The same session, with this timeout for an attempt if the user chose none."""
        if self.context.timeout_chosen:
            return self
        other = self.with_options(timeout=seconds)
        other.context = msgspec.structs.replace(other.context, timeout_chosen=False)
        return other

    @property
    def timeout(self) -> float:
        """Seconds for one attempt."""
        return self.context.timeout

    @property
    def deadline(self) -> float | None:
        """Seconds for one call, with all its attempts and waits; None: as long as they last."""
        return self.context.deadline

    @property
    def transport_options(self) -> TransportOptions:
        """How the provider is reached."""
        return self.context.options

    @property
    def retry(self) -> RetryPolicy:
        """When to try again, for what goes on after a connection was made."""
        return self.context.retry

    def refuse(self) -> None:
        """The client closes: fail all waiting calls except those of cleanups."""
        self.context.admission.refuse(closed)

    async def aclose(self) -> None:
        """Close what is not the transport's."""
        if self.shared_budget is not None:
            await self.shared_budget.aclose()

    def now(self) -> float:
        """The time of day that no jump of the machine's clock changes, in Unix seconds."""
        return self.context.signer.now()

    async def authenticate(self, request: Request) -> Mapping[str, str]:
        """The headers that authenticate this request now, for what others send (a link)."""
        self.transport.check()
        signer = self.context.signer
        if signer.auth.ready(now := signer.now()):
            return signer.sign(request, now)
        call = self._call(request, self.transport.exchange)
        await obtain_credential(call)
        return call.headers

    def credentials_changed(self) -> None:
        """Forget a remembered refusal: the strategy has other credentials now."""
        self.context.signer.refused.forget()

    def _call(
        self,
        request: Request,
        exchange: Exchange,
        shape: Shape[Any, Any] | None = None,
        root: bool = False,  # noqa: FBT001, FBT002 - a keyword costs on every call
        cleanup: Cleanup | None = None,
    ) -> Call:
        # Calls that wait for a credential may fill every other bucket.
        authenticated = request.authenticated
        bucket = request.bucket if authenticated else request.bucket or "login"
        return Call(
            self.context,
            request,
            exchange,
            self,
            self.context.admission.bucket(bucket),
            authenticated and request.slot,
            shape,
            root,
            cleanup,
        )

    # These two return the request loop's coroutine. As coroutine functions they would add another
    # coroutine for each of thousands of waiting calls.

    def fetch(
        self, request: Request, shape: Shape[Any, R], *, cleanup: Cleanup | None = None
    ) -> Coroutine[Any, Any, R]:
        """Send, decode the answer, and make of it what the caller gets.

        Args:
            request: what to send.
            shape: what the answer is decoded to.
            cleanup: the answer is waited for although the caller is cancelled meanwhile, so that
                what was started becomes known. Then the attempt is the last one. The caller looks
                at :attr:`Cleanup.interruption`, whether this returns or raises.

        Raises:
            DecodeError: it is not of that shape.
            VCloudError: as for :meth:`send`.
        """
        return run(self._call(request, self.transport.exchange, shape, False, cleanup))

    def send(
        self, request: Request, *, exchange: Exchange | None = None, root: bool = False
    ) -> Coroutine[Any, Any, Response]:
        """Send, and hand out the answer as it is.

        Args:
            request: what to send.
            exchange: how each attempt is sent; None: as a plain request.
            root: its path is below :attr:`root_url`, not below the API's.

        Raises:
            ConfigurationError: the client is not open, closed, or another event loop's.
            APIError: the service refused.
            TransportError: no answer.
            DecodeError: an answer that is neither success nor refusal.
            LimitExceededError: a success that is larger than ``max_response``.
        """
        return run(self._call(request, exchange or self.transport.exchange, None, root))

    async def connect(
        self, request: Request, *, root: bool = False, token_query: str | None = None
    ) -> Socket:
        """Open a WebSocket, with the time limits and credentials of any other request.

        While it opens it takes one of the ``concurrency`` slots, unless ``request.slot`` is False;
        no rate limit counts it.

        Args:
            request: the upgrade.
            root: its path is below :attr:`root_url`, not below the API's.
            token_query: send the bearer token as this parameter, which enters no text, instead of
                in a header.

        Raises:
            ConfigurationError: as for :meth:`send`; or the token is to be sent as a parameter and
                there is none.
            APIError: the service refused the upgrade.
            DecodeError: it answered with a plain success.
            TransportError: no connection.
        """
        upgraded = await self.upgrade(request, root=root, token_query=token_query)
        if isinstance(upgraded, Response):
            raise DecodeError(
                f"{self.context.label(request, root=root)}: a WebSocket was requested, and the "
                f"answer is a plain one ({upgraded.status})"
            )
        return upgraded

    async def upgrade(
        self, request: Request, *, root: bool = False, token_query: str | None = None
    ) -> Socket | Response:
        """As :meth:`connect`, but a plain success is returned."""
        upgrade = Upgrade(self.context, request, token_query)
        bucket = UPGRADES if request.slot else UPGRADES_WITHOUT_SLOT
        request = msgspec.structs.replace(request, bucket=bucket)
        answer = await self.send(request, exchange=upgrade, root=root)
        if upgrade.socket is None:
            return answer
        self.sockets.add(upgrade.socket)
        return upgrade.socket

    def read(self, request: Request, response: Response, shape: Shape[Any, R]) -> R:
        """Decode an answer that :meth:`send` handed out.

        Raises:
            DecodeError: it is not of that shape.
        """
        found: Any = read(self.context, request, response, shape, self)
        if found is not NO_SUCCESS:
            return cast("R", found)
        # Once more, without what the answer repeats of the request, because the error quotes it.
        redactor = self._redactor_now(request)
        error = unreadable(self.context, request, redactor.response(response), shape, self)
        redactor.error(error, cut=len(response.body) > SEARCHED)
        unread = unread_answer(request, response, redactor, self.service.id_fields)
        raise about_answer(self.context, request, error, unread=unread)

    def hide(self, text: str) -> str:
        """What an error may quote of a success: its beginning, without the credentials.

        Args:
            text: from an answer that was decoded already.
        """
        kept = shortened(text)
        return self._redactor_now(Request("GET", "/")).text(kept, cut=kept is not text)

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
        return about_answer(self.context, request, error, unread=broken.unread)

    def _redactor_now(self, request: Request) -> Redactor:
        # Without a valid credential there is none to remove.
        signer = self.context.signer
        now = signer.now()
        headers = signer.sign(request, now) if signer.auth.ready(now) else {}
        return self.context.redactor(request, headers)
