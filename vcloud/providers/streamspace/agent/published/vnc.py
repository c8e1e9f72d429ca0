"""VNC on the published server: the bytes go over the agent's own socket."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from vcloud._core.scalars import Id, Integer
from vcloud.providers.streamspace.agent.messages import Message

__all__ = ["VNCClose", "VNCData", "VNCError", "VNCReady"]


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


@frozen(kw_only=True)
class VNCReady(Message):
    """The agent's: the VNC server of a session can be reached."""

    type: ClassVar[str] = "vnc_ready"

    session_id: Id
    vnc_port: Integer
    pod_name: str | None = None


@frozen(kw_only=True)
class VNCError(Message):
    """The agent's: the VNC server of a session cannot be reached, or has gone."""

    type: ClassVar[str] = "vnc_error"

    session_id: Id
    error: str
