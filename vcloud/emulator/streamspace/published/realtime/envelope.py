"""The messages on an agent's socket: `{"type", "timestamp", "payload"}`."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

Json = dict[str, Any]

#: The server's JSON library writes these as escapes, because they mean something in HTML.
_ESCAPES: Final = {
    "<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029",
}  # fmt: skip
_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([.,]\d+)?(Z|z|[+-]\d\d:\d\d)", re.ASCII
)


class AgentMessage(msgspec.Struct):
    """What an agent sends. Its payload depends on its type."""

    type: str = ""
    timestamp: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")


class SessionData(msgspec.Struct, rename="camel"):
    """The payload of `vnc_data`, and of `vnc_error` as far as it is read."""

    session_id: str = ""
    data: str = ""


class Status(msgspec.Struct, rename="camel"):
    """The payload of `status`: the state of a session."""

    session_id: str = ""
    state: str = ""
    vnc_ready: bool = False
    vnc_port: int = 0
    platform_metadata: Json | None = None


class Capacity(msgspec.Struct, rename="camel"):
    """What an agent says that it has room for."""

    max_sessions: int = 0
    cpu: str = ""
    memory: str = ""
    storage: str = ""

    def stored(self) -> Json:
        """As the server keeps it."""
        storage = {"storage": self.storage} if self.storage else {}
        return {"maxSessions": self.max_sessions, "cpu": self.cpu, "memory": self.memory, **storage}


class Heartbeat(msgspec.Struct, rename="camel"):
    """The payload of `heartbeat`."""

    status: str = ""
    active_sessions: int = 0
    capacity: Capacity | None = None


def written(payload: Any) -> str:
    """JSON as the server writes it."""
    text = msgspec.json.encode(payload).decode()
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def message(kind: str, timestamp: str, payload: Any) -> str:
    """A message for an agent."""
    return written({"type": kind, "timestamp": timestamp, "payload": payload})


def read(text: str | bytes) -> AgentMessage | None:
    """A message of an agent; None for what the server drops: several at once, or no JSON."""
    try:
        found = _READER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    timed = found.timestamp is None or _TIME.fullmatch(found.timestamp)
    return found if timed else None


_READER: Final = msgspec.json.Decoder(AgentMessage)
