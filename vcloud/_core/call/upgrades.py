"""Opening a WebSocket: the upgrade, as an exchange that a call sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from vcloud._core.call.context import CallContext
from vcloud._core.connections.options import TransportOptions
from vcloud._core.connections.refused import RefusedError
from vcloud._core.redaction.secretive import concealing
from vcloud._core.request import Request, Response
from vcloud._core.websocket import Socket
from vcloud.errors import ConfigurationError

#: Stands for a WebSocket that was opened. So providers need not handle upgrades.
UPGRADED: Final = Response(101, {}, b"")


class Upgrade:
    """Opens a WebSocket: an exchange.

    Args:
        context: of the call.
        request: the upgrade.
        token_query: send the bearer token as this parameter, which enters no text, instead of in a
            header; None: as it is.
    """

    __slots__ = ("_context", "_request", "_token_query", "socket")

    def __init__(self, context: CallContext, request: Request, token_query: str | None) -> None:
        self._context = context
        self._request = request
        self._token_query = token_query
        #: What was opened.
        self.socket: Socket | None = None

    async def __call__(
        self,
        method: str,  # noqa: ARG002 - as any exchange
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,  # noqa: ARG002 - as any exchange
        options: TransportOptions,
    ) -> Response:
        """Send the upgrade; its refusal, or :data:`UPGRADED`."""
        redactor = self._context.redactor(self._request, headers)
        if self._token_query is not None:
            url, headers = _with_token(url, headers, self._token_query)
        try:
            socket = await self._context.transport.websocket(url, headers, options)
        except RefusedError as refused:
            return refused.response
        socket.redact(redactor.text)
        self.socket = socket
        return UPGRADED


@concealing
def _with_token(url: str, headers: Mapping[str, str], name: str) -> tuple[str, Mapping[str, str]]:
    """The bearer token moved from its header into the query."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        raise ConfigurationError("this needs a token: make the client with BearerAuth")
    rest = {key: value for key, value in headers.items() if key != "Authorization"}
    return f"{url}{'&' if '?' in url else '?'}{name}={quote(token, safe='')}", rest
