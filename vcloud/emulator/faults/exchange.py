"""One request to which a fault applies, and the operations from which faults are built."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate

from aiohttp import web
from attrs import define

from vcloud.emulator.calls import Call, CallLog
from vcloud.emulator.clock import Clock, monotonic
from vcloud.emulator.faults.redirect_host import RedirectHost
from vcloud.emulator.net.listener import Listener, reset
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace
from vcloud.emulator.streamspace.service import StreamSpace

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Head(web.StreamResponse):
    """The answer to a HEAD request, whose body is not sent (RFC 9110, 9.3.2)."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - aiohttp's signature
        """End the answer."""
        await super().write_eof()


class NotApplicableError(Exception):
    """The answer contains nothing that the fault can change."""

    def __init__(self, response: web.StreamResponse) -> None:
        """Carry the answer."""
        super().__init__(response)
        self.response: web.StreamResponse = response


@define(kw_only=True)
class FaultContext:
    """What faults use of the emulator."""

    clock: Clock
    calls: CallLog
    listener: Listener
    elsewhere: RedirectHost
    streamspace: StreamSpace | PublishedStreamSpace | None = None
    """The StreamSpace that is served."""
    url: str = ""
    """Where the emulator listens, without any API's path."""

    @property
    def published(self) -> bool:
        """Whether StreamSpace is the published one."""
        return isinstance(self.streamspace, PublishedStreamSpace)


class Exchange:
    """One request to which a fault applies."""

    def __init__(
        self, request: web.BaseRequest, fault: str, handle: Handle, context: FaultContext
    ) -> None:
        """Begin with nothing processed and nothing sent."""
        self.request: web.BaseRequest = request
        self.context: FaultContext = context
        self.path: str = request.raw_path.partition("?")[0]
        self.processed: bool = False
        """Whether the service has handled the request."""
        self.applied: bool = False
        """Whether the fault has been applied, even if the answer cannot be changed."""
        self._fault = fault
        self._handle = handle
        self._at = monotonic()
        self._call: Call | None = None

    async def process(self, request: web.BaseRequest | None = None) -> web.StreamResponse:
        """Have the service handle the request; its answer.

        Raises:
            NotApplicableError: the answer was a WebSocket, which is closed by now.
        """
        response = await self._handle(self.request if request is None else request)
        self.processed = True
        if response.prepared:
            raise NotApplicableError(response)
        return response

    async def processed_body(self) -> tuple[web.Response, bytes]:
        """Have the service handle the request; its answer, and its body.

        Raises:
            NotApplicableError: the answer has no body.
        """
        response = await self.process()
        body = response.body if isinstance(response, web.Response) else None
        if (
            not isinstance(response, web.Response)
            or not isinstance(body, bytes | bytearray)
            or not body
        ):
            raise NotApplicableError(response)
        return response, bytes(body)

    def note(self, status: int | None, *, applied: bool = True) -> None:
        """Record the call before anything is sent, so that clients find it recorded."""
        fault = self._fault if applied else None
        self._call = Call.of(self.request, self._at, status, processed=self.processed, fault=fault)
        self.context.calls.note(self._call)

    def send(self, response: web.StreamResponse, *, applied: bool = True) -> web.StreamResponse:
        """Record the call and answer with this."""
        self.note(response.status, applied=applied)
        if not response.prepared:
            response.headers.setdefault("Date", self.date())
        return response

    def send_late(self, response: web.StreamResponse) -> web.StreamResponse:
        """Answer with this after a stall, for which the call was recorded without a status."""
        assert self._call is not None, "it was recorded before the stall"
        self.context.calls.answered(self._call, response.status)
        return response

    def abort(self) -> web.StreamResponse:
        """Reset the connection."""
        if self._call is None:
            self.note(None)
        reset(self.request.transport)
        # aiohttp needs an answer from every handler, and drops this one with the connection.
        return web.Response()

    def hang_up(self) -> web.StreamResponse:
        """Close the connection without a reset, which may discard bytes that the peer received."""
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()

    async def begin(
        self, whole: web.StreamResponse, length: int | None, **headers: str
    ) -> web.StreamResponse:
        """Send the status and headers of an answer, with this length; None is chunked."""
        kind = _Head if self.request.method == "HEAD" else web.StreamResponse
        response = kind(status=whole.status, headers={**whole.headers, **headers})
        response.headers.popall("Content-Length", None)
        if length is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = length
        self.note(whole.status)
        await response.prepare(self.request)
        return response

    async def stream(
        self, whole: web.StreamResponse, length: int | None, parts: Iterable[bytes], **headers: str
    ) -> web.StreamResponse:
        """Send an answer with this body, as fast as the client reads it."""
        response = await self.begin(whole, length, **headers)
        for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    async def stays(self, seconds: float | None) -> bool:
        """Wait so many seconds; whether the client is still there."""
        return await self.context.listener.stays(self.request, seconds)

    def date(self, *, ahead: float = 0.0) -> str:
        """The service's time of day, so many seconds ahead, in the form of headers."""
        return formatdate(
            math.ceil(self.context.clock.wall() + ahead) if ahead else self.context.clock.wall(),
            usegmt=True,
        )
