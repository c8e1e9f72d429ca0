"""VNC on the published server: the bytes go over the agent's own socket.

The server also names ``vnc_ready``, which changes nothing, and ``vnc_error``, which ends its whole
process while a viewer is there. The agent sends neither.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from vcloud._core.scalars import Id
from vcloud.providers.streamspace.agent.messages import Message

__all__ = ["VNCClose", "VNCData"]


@frozen(kw_only=True)
class VNCData(Message):
    """Bytes of a session's VNC stream, both ways.

    Attributes:
        session_id: the session.
        data: the bytes as Base64; empty: a viewer makes itself known.
    """

    type: ClassVar[str] = "vnc_data"

    session_id: Id
    data: str = field(repr=False)


@frozen(kw_only=True)
class VNCClose(Message):
    """The control plane's: the viewer of a session has gone."""

    type: ClassVar[str] = "vnc_close"

    session_id: Id
    reason: str | None = None
