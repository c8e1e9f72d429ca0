"""A session's VNC stream, as the API document says."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud._core.websocket import Socket
from vcloud.providers.streamspace.realtime.vnc_url import checked_url, documented_path, stream_url
from vcloud.providers.streamspace.realtime.vnc_url import websocket_root as root_of
from vcloud.providers.streamspace.tokens import bearer

#: The query parameter of the token.
_PARAMETER: Final = "token"


def url(session: Session, id: str, named: str | None) -> str:
    """Beside the API, not below it."""
    return stream_url(session, id, named)


async def connect(session: Session, id: str, named: str | None, first_bytes: float) -> Socket:  # noqa: ARG001 - this server tells a viewer what happens
    """``GET /vnc-viewer/{session_id}``"""
    request = _request(session, id, named)
    del named  # it may be a secret, and an error's traceback has the variables
    return await session.connect(request, root=True, token_query=_PARAMETER)


def _request(session: Session, id: str, named: str | None) -> Request:
    path, _, parameters = (
        checked_url(session, id, named).removeprefix(root_of(session)).partition("?")
    )
    # A path that the service named may be a secret, so errors and logs show this instead.
    label = "" if path == documented_path(id) else "/vnc-viewer/{session_id}"
    return Request("GET", path, parameters, sensitive=True, label=label)


async def connect_url(session: Session, id: str, named: str | None) -> str:
    """:func:`url` with the token."""
    address = checked_url(session, id, named)
    token = quote(await bearer(session), safe="")
    return f"{address}{'&' if urlsplit(address).query else '?'}{_PARAMETER}={token}"
