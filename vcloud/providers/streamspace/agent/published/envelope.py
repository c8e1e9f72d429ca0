"""The agent's messages as the published server has them: ``{type, timestamp, payload}``.

A command becomes the object that the document's command is, so that a handler serves both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from vcloud._core.codec import Codec
from vcloud._core.decoding.plain_json import too_deep
from vcloud.providers.streamspace.agent.messages import (
    CommandAck,
    CommandResult,
    CommandStatus,
    Heartbeat,
    Message,
    SessionReport,
    UnknownMessage,
    UnreadableMessage,
)
from vcloud.providers.streamspace.agent.parsing import message_of
from vcloud.providers.streamspace.agent.published.vnc import (
    VNCClose,
    VNCData,
    VNCError,
    VNCReady,
)
from vcloud.providers.streamspace.agent.writing import plain_json
from vcloud.providers.streamspace.models import AgentCapacity, SessionState

__all__ = ["enveloped", "payload_of", "read", "with_capacity"]

#: The port of VNC, for a session whose handler names none (it may have a socket instead). The
#: server makes a session's ``status.url`` of it, and uses it for nothing else.
VNC_PORT: Final = 5900
_VNC: Final[Mapping[str, type[Message]]] = {kind.type: kind for kind in (VNCData, VNCClose)}
_OF_DATA: Final = {
    "namespace": "namespace",
    "user": "user",
    "template": "template",
    "persistentHome": "persistent_home",
    "tags": "tags",
}
_DURATIONS: Final = {
    "idleTimeout": "idle_timeout",
    "maxSessionDuration": "max_session_duration",
}


def enveloped(type: str, payload: Mapping[str, Any], timestamp: str) -> str:
    """The text of a message.

    Raises:
        TypeError: it holds a value that JSON has no form for.
    """
    return plain_json({"type": type, "timestamp": timestamp, "payload": payload})


def payload_of(message: Message, *, capacity: AgentCapacity | None) -> tuple[str, dict[str, Any]]:
    """The type and the payload of a message of an agent.

    Args:
        message: the message.
        capacity: of the agent, for its heartbeats.

    Raises:
        TypeError: the published server has no such message.
    """
    kind, payload = message.type, None
    match message:
        case Heartbeat():
            active = message.capacity.current_sessions or 0
            payload = {"status": "online", "activeSessions": active} | with_capacity(capacity)
        case CommandAck():
            kind, payload = "ack", {"commandId": str(message.command_id)}
        case CommandResult():
            kind = "complete" if message.status == CommandStatus.COMPLETED else "failed"
            payload = {"commandId": str(message.command_id)} | _outcome(message)
        case SessionReport():
            payload = _status(message)
        case VNCData():
            payload = {"sessionId": message.session_id, "data": message.data}
        case VNCReady():
            payload = {"sessionId": message.session_id, "vncPort": message.vnc_port}
            payload |= {"podName": message.pod_name} if message.pod_name else {}
        case VNCError():
            payload = {"sessionId": message.session_id, "error": message.error}
    if payload is None:
        raise TypeError(f"the published server has no {type(message).__name__}")
    return kind, payload


def with_capacity(capacity: AgentCapacity | None) -> dict[str, Any]:
    """The field that holds an agent's capacity, if it declared one."""
    return {} if capacity is None else {"capacity": _capacity(capacity)}


def _capacity(capacity: AgentCapacity) -> dict[str, Any]:
    """An agent's capacity: its texts, and otherwise the document's numbers (cores, and GB)."""
    fields = {
        "maxSessions": capacity.max_sessions or 0,
        "cpu": capacity.cpu or _quantity(capacity.max_cpu),
        "memory": capacity.memory or _quantity(capacity.max_memory, "Gi"),
        "storage": capacity.storage,
    }
    return {name: value for name, value in fields.items() if value is not None}


def read(value: dict[str, Any], codec: Codec) -> Message:
    """The message that an object of a frame is."""
    name, payload = value.get("type"), value.get("payload")
    if not isinstance(payload, dict):
        return UnknownMessage(raw=value) if payload is None else _unreadable(value, "payload")
    if name == "command":
        return message_of(_command(payload), codec)
    kind = _VNC.get(name) if isinstance(name, str) else None
    if kind is None:
        return UnknownMessage(raw=value)
    if not isinstance(session_id := payload.get("sessionId"), str) or not session_id:
        return _unreadable(value, "sessionId")
    if kind is VNCClose:
        reason = payload.get("reason")
        return VNCClose(session_id=session_id, reason=reason if type(reason) is str else None)
    data = payload.get("data", "")
    return (
        VNCData(session_id=session_id, data=data)
        if isinstance(data, str)
        else _unreadable(value, "data")
    )


def _quantity(number: float | None, unit: str = "") -> str | None:
    return None if number is None else f"{number:g}{unit}"


def _outcome(message: CommandResult) -> dict[str, Any]:
    result = message.result
    if message.status != CommandStatus.COMPLETED or result is None:
        return {"error": ": ".join(filter(None, (message.error_code, message.error)))}
    started = None if result.started_at is None else result.started_at.isoformat()
    fields = {
        "sessionId": result.session_id,
        "podIp": result.pod_ip,
        "podName": result.pod_name,
        "vncPort": result.vnc_port,
        "startedAt": started,
    }
    return {"result": {name: value for name, value in fields.items() if value is not None}}


def _status(report: SessionReport) -> dict[str, Any]:
    """All fields, because each message overwrites all of them."""
    runs = report.state == SessionState.RUNNING
    return {
        "sessionId": str(report.session_id),
        "state": str(report.state),
        "vncReady": runs,
        "vncPort": (report.vnc_port or VNC_PORT) if runs else 0,
        "platformMetadata": {"podName": report.pod_name or ""},
    }


def _unreadable(value: dict[str, Any], field: str) -> UnreadableMessage:
    return UnreadableMessage(raw=value, problem=f"{field} is missing, or of another type")


def _command(command: dict[str, Any]) -> dict[str, Any]:
    """A command as the document spells it."""
    payload = command.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    session_id = fields.get("sessionId")
    found = {
        "type": "command",
        "command_id": command.get("commandId"),
        "command_type": command.get("action"),
        "session_id": session_id,
        "data": {"name": session_id} | _data(fields),
    }
    return {name: value for name, value in found.items() if value is not None}


def _data(fields: dict[str, Any]) -> dict[str, Any]:
    found = {ours: fields.get(theirs) for theirs, ours in _OF_DATA.items()}
    # Go writes an empty text for a duration that is not set.
    found |= {ours: fields.get(theirs) or None for theirs, ours in _DURATIONS.items()}
    resources = {name: fields[name] for name in ("cpu", "memory") if fields.get(name)}
    manifest = _manifest(fields.get("templateManifest"))
    spec = manifest.get("spec") if manifest else None
    spec = spec if isinstance(spec, dict) else {}
    image, vnc = spec.get("baseImage"), spec.get("vnc")
    port = vnc.get("port") if isinstance(vnc, dict) else None
    found |= {
        "resources": resources or None,
        "manifest": manifest,
        "image": image if isinstance(image, str) else None,
        "vnc": {"port": port} if type(port) is int else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _manifest(text: object) -> dict[str, Any] | None:
    """The template, which comes as a text of JSON."""
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return text if isinstance(text, dict) and not too_deep(text) else None
