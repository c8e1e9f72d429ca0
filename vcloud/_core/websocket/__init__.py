"""WebSockets: what is sent and received, pings, and how they end."""

from vcloud._core.websocket.closing import (
    ABNORMAL,
    GOING_AWAY,
    MAX_REASON,
    NO_STATUS,
    NORMAL,
    UNEXPECTED,
    close_message,
    describe_close,
)
from vcloud._core.websocket.refused import RefusedError, refusal_headers
from vcloud._core.websocket.socket import DRAIN_CHECK_INTERVAL, STALL_TIMEOUT, Socket, counted_time

__all__ = [
    "ABNORMAL",
    "GOING_AWAY",
    "LOOK",
    "MAX_REASON",
    "NORMAL",
    "NO_STATUS",
    "STALLED",
    "UNEXPECTED",
    "RefusedError",
    "Socket",
    "close_message",
    "describe_close",
    "refusal_headers",
    "run_time",
]
