"""One connection of a client: what HTTP requires beyond aiohttp's low-level server.

Sources: RFC 9110 (HTTP semantics), RFC 9112 (HTTP/1.1), RFC 6455 (WebSocket).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import HttpVersion, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import ERROR, RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from vcloud.emulator.net.frames import UNMASKED, MaskedFrames, Reader

MAX_BODY: Final = 256 * 1024**2
#: What aiohttp's parsers say about transfer codings of which the last is not `chunked`.
_UNKNOWN_CODING: Final = "Request has invalid `Transfer-Encoding`"
#: aiohttp's are a plain dict.
_NO_HEADERS: Final = CIMultiDictProxy[str](CIMultiDict())
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(web.BaseRequest):
    """A request with its target in origin form. It asks for its body if the client waits."""

    asked_version: HttpVersion = HttpVersion11
    """The version that the client uses; answers are always HTTP/1.0 or HTTP/1.1."""
    target_authority: str | None = None
    """Host and port of a target in absolute form, None where it was in another."""

    async def read(self) -> bytes:
        """The body, whatever its size."""
        await self.ask_for_body()
        return await super().read()

    async def ask_for_body(self) -> None:
        """Tell a client that expects it to send its body now (RFC 9110, 10.1.1)."""
        if self.waits_to_send():
            await self.writer.write(_CONTINUE)
            # As in aiohttp's own handler: nothing of the answer has been sent.
            self.writer.output_size = 0

    def waits_to_send(self) -> bool:
        """Whether the client waits for 100: a body is to come, and none of it has arrived."""
        return (
            self.version == HttpVersion11
            and "100-continue" in expectations(self)
            and not self.content.is_eof()
            and not self.content.total_bytes
        )


def expectations(request: web.BaseRequest) -> list[str]:
    """The expectations of a request, in lower case; none before HTTP/1.1 (RFC 9110, 10.1.1)."""
    if request.version < HttpVersion11:
        return []
    named = ",".join(request.headers.getall("Expect", [])).split(",")
    return [one.strip().lower() for one in named if one.strip()]


def new_request(*parts: Any) -> Request:
    """Make a request from what aiohttp has parsed."""
    message, payload, protocol, writer, task = parts
    version = message.version
    authority: str | None = None
    if message is ERROR:
        message = message._replace(version=HttpVersion11, headers=_NO_HEADERS)
    elif version.major != 1 or version > HttpVersion11:
        message = message._replace(version=HttpVersion11)
    if "://" in message.path and not message.path.startswith("/") and message.method != "CONNECT":
        authority, target = absolute_form(message.path)
        path, _, query = target.partition("?")
        # As aiohttp does for a target in origin form.
        url = URL.build(path=path.partition("#")[0], query_string=query, encoded=True)
        message = message._replace(path=target, url=url)
    request = Request(
        message,
        payload,
        protocol,
        writer,
        task,
        asyncio.get_running_loop(),
        client_max_size=MAX_BODY,
    )
    request.asked_version = version
    request.target_authority = authority
    if isinstance(protocol, Connection):
        protocol.begin(request)
    return request


def absolute_form(target: str) -> tuple[str, str]:
    """The authority, and the path with query, of a target in absolute form, byte for byte.

    The path of `http://host?q=1` is empty, and an empty one is `/` (RFC 9110, 4.2.3; the form is
    that of RFC 9112, 3.2.2).
    """
    rest = target.partition("://")[2]
    start = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    path = rest[start:] if rest.startswith("/", start) else f"/{rest[start:]}"
    return rest[:start], path


class Connection(RequestHandler):
    """A client's connection.

    - Invalid HTTP is answered with 400 and one line at DEBUG. It is the client's mistake, which a
      traceback of the emulator would not explain.
    - A client that has closed its sending side receives the answers that it waits for.
    - A body that ends early, or becomes malformed, ends its request.
    - Unmasked frames end a WebSocket.
    """

    def __init__(self, manager: web.Server, *, on_eof: Callable[[Connection], None]) -> None:
        """Belong to `manager`; `on_eof` is called when the client has closed its sending side."""
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # aiohttp accepts None for no log
            auto_decompress=False,
        )
        self.half_closed: bool = False
        """Whether the client has closed its sending side, and may still read."""
        self._on_eof = on_eof
        self._serving: Request | None = None
        self._frames: MaskedFrames | None = None

    @property
    def violation(self) -> str:
        """What is wrong with the client's frames; "" if nothing is."""
        return UNMASKED if self._frames is not None and self._frames.broken else ""

    def begin(self, request: Request) -> None:
        """Serve a request."""
        self._serving = request
        if self.half_closed:
            self._cut("the body is incomplete")

    def data_received(self, data: bytes) -> None:
        """Take bytes. If they break a body, its request does not wait for the rest."""
        super().data_received(data)
        if self._messages and isinstance(
            getattr(self._messages[-1][0], "exc", None), HttpProcessingError
        ):
            self._cut("the body is malformed")

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp's always closes
        """Handle the client's half close; whether answers are still due."""
        answering = self._serving is not None or bool(self._messages)
        # asyncio has no half close over TLS, and a WebSocket has a closing handshake instead.
        if self.ssl_context is not None or self._frames is not None or not answering:
            return None
        self.half_closed = True
        self._cut("the body is incomplete")
        self._on_eof(self)
        return True

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; the last one for a half-closed client ends the connection.

        So does an answer to a client that still waits for 100. It may send its body or not, so the
        start of its next request is unknown (RFC 9110, 10.1.1).
        """
        if isinstance(request, Request) and request.waits_to_send():
            resp.force_close()
        try:
            resp, gone = await super().finish_response(request, resp, start_time)
        finally:
            self._serving = None
        if self.half_closed and not self._messages:
            resp.force_close()
        return resp, gone

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer invalid HTTP with 400, and an unknown transfer coding with 501.

        Source: RFC 9112, 6.1.
        """
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        text = message or exc.message
        status = 501 if _UNKNOWN_CODING in text else 400
        # Without the text, which quotes what was sent and may contain credentials.
        self.logger.debug("%s sent no valid HTTP: answered with %d", request.remote, status)
        return plain(status, text)

    def set_parser(
        self, parser: Reader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Become a WebSocket."""
        self._frames = MaskedFrames(parser)
        # It has the two methods that aiohttp uses.
        super().set_parser(self._frames, data_received_cb)  # type: ignore[arg-type]
        if self.half_closed:
            self._frames.feed_eof()

    def _cut(self, why: str) -> None:
        """End the body that is being read."""
        if self._serving is not None and not self._serving.content.is_eof():
            self._serving.content.set_exception(web.RequestPayloadError(why))
            # Otherwise aiohttp would wait for the rest once the request is answered.
            self._serving.content.feed_eof()


def plain(status: int, text: str, **headers: str) -> web.Response:
    """A refusal by the HTTP server itself, in plain text, which ends the connection."""
    body = text.encode("utf-8", "backslashreplace")
    response = web.Response(
        status=status, body=body, headers=headers, content_type="text/plain", charset="utf-8"
    )
    response.force_close()
    return response
