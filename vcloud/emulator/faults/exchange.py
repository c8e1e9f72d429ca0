"""One request to which a fault is done: what the faults are made of."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from email.utils import formatdate

from aiohttp import web
from attrs import define

from vcloud.emulator.calls import Call, Ledger
from vcloud.emulator.clock import Clock, monotonic
from vcloud.emulator.faults.redirect_host import Elsewhere
from vcloud.emulator.net.listener import Listener, reset

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Head(web.StreamResponse):
    """The answer to a HEAD: whatever is written as its body is not sent (RFC 9110, 9.3.2)."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send nothing."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - as aiohttp's
        """End the answer."""
        await super().write_eof()


class UnspoiledError(Exception):
    """The answer is one that the fault can do nothing to."""

    def __init__(self, response: web.StreamResponse) -> None:
        """Carry the answer."""
        super().__init__(response)
        self.response = response


@define(kw_only=True)
class Stage:
    """What faults need of the emulator."""

    clock: Clock
    ledger: Ledger
    listener: Listener
    elsewhere: Elsewhere
    url: str = ""
    """Where the emulator listens, without any API's path."""


class Exchange:
    """One request to which a fault is done."""

    def __init__(self, request: web.BaseRequest, fault: str, handle: Handle, stage: Stage) -> None:
        """Begin with nothing processed and nothing sent."""
        self.request = request
        self.stage = stage
        self.path = request.raw_path.partition("?")[0]
        self.processed = False
        self.felt = False
        """Whether the fault has been done already, whatever the answer is like."""
        self._fault = fault
        self._handle = handle
        self._at = monotonic()
        self._call: Call | None = None

    async def process(self, request: web.BaseRequest | None = None) -> web.StreamResponse:
        """Let the service do what is asked, and return its answer."""
        response = await self._handle(self.request if request is None else request)
        self.processed = True
        if response.prepared:
            # A WebSocket that has come and gone: nothing of it is left to spoil.
            raise UnspoiledError(response)
        return response

    async def processed_body(self) -> tuple[web.Response, bytes]:
        """Let the service do what is asked, and return its answer with the body, which is not empty."""
        response = await self.process()
        body = response.body if isinstance(response, web.Response) else None
        if (
            not isinstance(response, web.Response)
            or not isinstance(body, bytes | bytearray)
            or not body
        ):
            raise UnspoiledError(response)
        return response, bytes(body)

    def note(self, status: int | None, *, spoiled: bool = True) -> None:
        """Write the call down; before anything is sent, so that whoever has the answer finds it there."""
        fault = self._fault if spoiled else None
        self._call = Call.of(self.request, self._at, status, processed=self.processed, fault=fault)
        self.stage.ledger.note(self._call)

    def send(self, response: web.StreamResponse, *, spoiled: bool = True) -> web.StreamResponse:
        """Answer with this."""
        self.note(response.status, spoiled=spoiled)
        if not response.prepared:
            response.headers.setdefault("Date", self.date())
        return response

    def send_late(self, response: web.StreamResponse) -> web.StreamResponse:
        """Answer with this after all: so far the call was written down as one without an answer."""
        assert self._call is not None, "it was written down before the silence"
        self.stage.ledger.answered(self._call, response.status)
        return response

    def abort(self) -> web.StreamResponse:
        """Reset the connection."""
        if self._call is None:
            self.note(None)
        reset(self.request.transport)
        # aiohttp wants an answer from every handler; this one finds the connection gone and is dropped.
        return web.Response()

    def hang_up(self) -> web.StreamResponse:
        """Close the connection, but not with a reset: that may discard bytes the peer has received but not yet read."""
        if self.request.transport is not None:
            self.request.transport.close()
        return web.Response()

    async def begin(
        self, whole: web.StreamResponse, length: int | None, **headers: str
    ) -> web.StreamResponse:
        """Send status and headers of an answer, and announce so many bytes; None announces chunks."""
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
        """Send an answer with this body, as fast as the client takes it."""
        response = await self.begin(whole, length, **headers)
        for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    async def stays(self, seconds: float | None) -> bool:
        """Wait, and return whether the client is still there."""
        return await self.stage.listener.stays(self.request, seconds)

    def date(self, *, ahead: float = 0.0) -> str:
        """Return the service's time of day, so many seconds from now, as headers have it."""
        return formatdate(
            math.ceil(self.stage.clock.wall() + ahead) if ahead else self.stage.clock.wall(),
            usegmt=True,
        )
