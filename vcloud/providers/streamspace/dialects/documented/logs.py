"""A session's log, as the API document says."""

from __future__ import annotations

from vcloud._core.request import Request, path_segment, query
from vcloud._core.session import Session


def request(
    session: Session,  # noqa: ARG001 - the signature of both dialects
    id: str,
    *,
    tail: int,
    follow: bool,
    timestamps: bool,
) -> Request:
    """``GET /sessions/{session_id}/logs``"""
    # With follow=true the service answers with a WebSocket, so follow is always sent.
    parameters = query({"tail": tail, "follow": follow, "timestamps": timestamps})
    return Request("GET", f"/sessions/{path_segment(id)}/logs", parameters)
