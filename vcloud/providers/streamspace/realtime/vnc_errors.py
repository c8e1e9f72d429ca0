"""The errors of a published installation's tunnels that no answer of the service is."""

from __future__ import annotations

from vcloud.errors import TransportError, UnsupportedError
from vcloud.providers.streamspace.models import SessionState

__all__ = ["SessionStoppedError", "StreamingProtocolError"]


class StreamingProtocolError(UnsupportedError):
    """A session shows its desktop in another way than the one that was asked for.

    Attributes:
        session_id: the session's id.
        protocol: how it shows its desktop, such as ``vnc`` or ``selkies``.
    """

    session_id: str
    protocol: str

    def __init__(self, message: str, *, session_id: str = "", protocol: str = "") -> None:
        super().__init__(message)
        self.session_id = session_id
        self.protocol = protocol


class SessionStoppedError(TransportError):
    """The session of an open tunnel no longer runs, which the published server does not say.

    Attributes:
        session_id: the session's id.
        state: its state; None: there is no such session any more.
    """

    session_id: str
    state: SessionState | None

    def __init__(
        self, message: str, *, session_id: str = "", state: SessionState | None = None
    ) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.state = state
