"""A session's VNC stream, as the published server has it."""

from __future__ import annotations

from urllib.parse import quote

from vcloud._core.request import path_segment
from vcloud._core.session import Session
from vcloud.errors.text import word
from vcloud.providers.streamspace.dialects.published.sessions import fetch
from vcloud.providers.streamspace.installation import installation
from vcloud.providers.streamspace.models import SessionState, StreamingProtocol
from vcloud.providers.streamspace.realtime.vnc_errors import StreamingProtocolError
from vcloud.providers.streamspace.realtime.vnc_published_opening import VNCOpening
from vcloud.providers.streamspace.realtime.vnc_published_socket import PublishedVNCSocket
from vcloud.providers.streamspace.tokens import query_bearer


def url(session: Session, id: str, named: str | None) -> str:  # noqa: ARG001 - what it names leads nowhere
    """Below the API."""
    return f"{session.base_url.replace('http', 'ws', 1)}/vnc/{path_segment(id)}"


async def connect(
    session: Session,
    id: str,
    named: str | None,
    first_bytes: float,
) -> PublishedVNCSocket:
    """``GET /vnc/{name}``, with the token in the header: the server logs queries."""
    del named  # leads nowhere, and may be a secret that a traceback would show

    async def ask_state() -> SessionState | None:
        return (await fetch(session, id)).state

    newest = installation(session).viewers
    opening = VNCOpening(session, id, first_bytes, ask_state=ask_state, newest=newest)
    return await opening.open()


async def connect_url(session: Session, id: str, named: str | None) -> str:  # noqa: ARG001 - what it names leads nowhere
    """The address of the page of a session that is not VNC, with the token."""
    protocol = (await fetch(session, id)).streaming_protocol or StreamingProtocol.VNC
    if protocol == StreamingProtocol.VNC:
        raise StreamingProtocolError(
            f"session {word(id)} shows its desktop by VNC, for which this installation has no "
            "address with a token in it: use `async with session.forward_vnc()`, or open_vnc()",
            session_id=id,
            protocol=protocol,
        )
    token = quote(await query_bearer(session), safe="")
    return f"{session.base_url}/http/{path_segment(id)}/?token={token}"
