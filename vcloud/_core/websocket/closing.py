"""Close codes of WebSockets (RFC 6455), and the reasons that peers give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vcloud.errors.text import printable

#: Close codes of RFC 6455: done, closed without a code, and lost without a close frame.
NORMAL, NO_STATUS, ABNORMAL = 1000, 1005, 1006
#: The peer stops: a page is left, a server or a client shuts down.
GOING_AWAY: Final = 1001
#: Something went wrong on this side.
UNEXPECTED: Final = 1011
#: The most bytes of a close frame's reason (RFC 6455, 5.5).
MAX_REASON: Final = 123
#: What the codes mean (RFC 6455, 7.4.1, and IANA's registry).
_MEANINGS: Final[Mapping[int, str]] = {
    1000: "closed normally",
    1001: "going away",
    1002: "protocol error",
    1003: "unacceptable data",
    1005: "no reason given",
    1006: "the connection was lost without a close frame",
    1007: "invalid data",
    1008: "policy violation",
    1009: "message too big",
    1010: "an extension is missing",
    1011: "unexpected condition",
    1012: "service restart",
    1013: "try again later",
    1014: "bad gateway",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "timeout",
}


def describe_close(code: int, reason: str = "") -> str:
    """How a WebSocket was closed: the code, its meaning, and the peer's reason, on one line."""
    meaning = f" ({_MEANINGS[code]})" if code in _MEANINGS else ""
    return f"code {code}{meaning}" + (f": {printable(reason)}" if reason else "")


def close_message(reason: str) -> bytes:
    """A reason as a close frame can hold it: UTF-8, cut to the limit between two characters."""
    return reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
