"""The messages between control plane and agents: writing them, and checking those of agents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from attrs import frozen

from vcloud.emulator.streamspace.arguments import Json
from vcloud.emulator.streamspace.state import Pod, Session, Template
from vcloud.emulator.streamspace.views import ENVIRONMENT, VNC_PORT

NAMESPACE: Final = "streamspace"
STOP_TIMEOUT: Final = "30s"
DEFAULT_SESSIONS: Final = 100
"""The capacity of an agent that does not report one."""


class MessageError(ValueError):
    """An invalid message."""


class BinaryMessageError(MessageError):
    """A message in a binary frame."""


@frozen(kw_only=True)
class Capacity:
    """The capacity that an agent registers with."""

    max_cpu: float | None
    max_memory: float | None
    max_sessions: int

    @classmethod
    def read(cls, given: object) -> Capacity:
        """Read the capacity of a registration."""
        if given is not None and not isinstance(given, dict):
            raise MessageError("capacity must be an object")
        found: dict[str, Any] = given or {}
        sessions = found.get("max_sessions", DEFAULT_SESSIONS)
        if type(sessions) is not int or sessions < 0:
            raise MessageError("capacity.max_sessions must be a whole number of at least 0")
        return cls(
            max_cpu=_number(found, "max_cpu"),
            max_memory=_number(found, "max_memory"),
            max_sessions=sessions,
        )


def read_messages(text: str) -> list[Json]:
    """Read the objects of one frame: one, or several lines, as from the published server."""
    found = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            message = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            # One object may also span several lines.
            return [_object(text, error)]
        if not isinstance(message, dict):
            raise MessageError("a message must be a JSON object")
        found.append(message)
    return found


def _object(text: str, why: Exception) -> Json:
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise MessageError(f"not JSON: {why}") from None
    if not isinstance(message, dict):
        raise MessageError("a message must be a JSON object")
    return message


def read_current_sessions(message: Json) -> int | None:
    """Read the number of sessions in a heartbeat; None if it is absent."""
    capacity = message.get("capacity")
    count = capacity.get("current_sessions") if isinstance(capacity, dict) else None
    if count is not None and (type(count) is not int or count < 0):
        raise MessageError("capacity.current_sessions must be a whole number of at least 0")
    return count


def read_metadata(message: Json) -> Mapping[str, Any]:
    """Read the metadata that an agent registers with."""
    metadata = message.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise MessageError("metadata must be an object")
    return metadata


def read_pod(result: object, offset: float, before: Pod) -> Pod:
    """Read an agent's description of a container; what is invalid stays as it was `before`.

    `offset` is how far the service's clock is off, as in `Clock.offset`.
    """
    found: dict[str, Any] = result if isinstance(result, dict) else {}
    port = found.get("vnc_port")
    return Pod(
        ip=_text(found, "pod_ip") or before.ip,
        name=_text(found, "pod_name") or before.name,
        vnc_port=port if type(port) is int and 0 < port < 2**16 else before.vnc_port,
        started_at=_instant(_text(found, "started_at"), offset),
    )


def register_ack(agent_id: str, interval: float) -> Json:
    """The answer to a registration; `interval` in seconds."""
    return {
        "type": "register_ack",
        "agent_id": agent_id,
        "status": "registered",
        "heartbeat_interval": go_duration(interval),
    }


def go_duration(seconds: float) -> str:
    """Seconds in Go's form: 10s, or 20ms for a fraction."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:g}ms"


def command(command_id: str, kind: str, session_id: str, data: Json) -> Json:
    """A command."""
    return {
        "type": "command",
        "command_id": command_id,
        "command_type": kind,
        "session_id": session_id,
        "data": data,
    }


def start_data(session: Session, template: Template) -> Json:
    """The data of a command that starts a session."""
    return {
        **name_data(session),
        "user": session.user,
        "template": session.template,
        "image": template.base_image,
        "resources": session.resources,
        "vnc": {"port": VNC_PORT},
        "persistent_home": session.persistent_home,
        "environment": ENVIRONMENT,
    }


def name_data(session: Session) -> Json:
    """The data of a command that names a session."""
    return {"name": session.name, "namespace": NAMESPACE}


def stop_data(session: Session, *, graceful: bool) -> Json:
    """The data of a command that stops a session."""
    return {
        **name_data(session),
        "graceful": graceful,
        "timeout": STOP_TIMEOUT if graceful else "0s",
    }


def vnc_proxy_request(proxy_id: str, session: Session) -> Json:
    """The request for a VNC connection to a session."""
    return {
        "type": "vnc_proxy_request",
        "session_id": session.id,
        "proxy_id": proxy_id,
        "data": {
            "pod_name": session.pod.name,
            "namespace": NAMESPACE,
            "vnc_port": session.pod.vnc_port,
        },
    }


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (math.isfinite(value) and value >= 0)
    ):
        raise MessageError(f"capacity.{name} must be a number of at least 0")
    return value


def _text(found: Mapping[str, Any], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) and value else None


def _instant(text: str | None, offset: float) -> float | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp() - offset
