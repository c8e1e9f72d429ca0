"""WebSockets: messages both ways, pings, and close codes."""

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
from vcloud._core.websocket.socket import DRAIN_CHECK_INTERVAL, STALL_TIMEOUT, Socket, counted_time

__all__ = [
    "ABNORMAL",
    "DRAIN_CHECK_INTERVAL",
    "GOING_AWAY",
    "MAX_REASON",
    "NORMAL",
    "NO_STATUS",
    "STALL_TIMEOUT",
    "UNEXPECTED",
    "Socket",
    "close_message",
    "counted_time",
    "describe_close",
]
