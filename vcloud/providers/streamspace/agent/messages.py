"""The messages between agents and the control plane, and their JSON: every one of the document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from attrs import field, frozen

from vcloud._core.scalars import GoDuration, Id, Instant, Integer, OpenEnum
from vcloud.errors.text import printable, shortened
from vcloud.providers.streamspace.models import AgentCapacity, Platform, Resources, SessionState
from vcloud.providers.streamspace.spelling import WireModel

__all__ = [
    "Command",
    "CommandAck",
    "CommandData",
    "CommandResult",
    "CommandStatus",
    "Heartbeat",
    "HibernateSession",
    "Message",
    "Register",
    "RegisterAck",
    "SessionReport",
    "SessionResult",
    "StartData",
    "StartSession",
    "StopData",
    "StopSession",
    "UnknownMessage",
    "UnreadableMessage",
    "VNCPort",
    "VNCProxyData",
    "VNCProxyError",
    "VNCProxyRequest",
    "WakeSession",
]


class CommandStatus(OpenEnum):
    """The state of a command."""

    ACKNOWLEDGED = "acknowledged"
    COMPLETED = "completed"
    FAILED = "failed"


@frozen(kw_only=True)
class Message(WireModel):
    """A message on an agent's socket. ``type`` and ``command_type`` tell the kinds apart."""

    type: ClassVar[str] = ""
    command_type: ClassVar[str | None] = None


# -- agent to control plane ----------------------------------------------------------------------


@frozen(kw_only=True)
class Register(Message):
    """An agent's first message: its name, its platform and its capacity."""

    type: ClassVar[str] = "register"

    agent_id: str
    platform: Platform
    region: str | None = None
    capacity: AgentCapacity | None = None
    metadata: dict[str, Any] | None = field(default=None, hash=False)


@frozen(kw_only=True)
class Heartbeat(Message):
    """Reports that the agent runs, with its number of sessions in ``capacity``."""

    type: ClassVar[str] = "heartbeat"

    agent_id: str
    timestamp: Instant
    capacity: AgentCapacity


@frozen(kw_only=True)
class CommandAck(Message):
    """Reports that the agent has received a command, before it is carried out."""

    type: ClassVar[str] = "command_ack"

    command_id: Id
    agent_id: str
    status: CommandStatus = CommandStatus.ACKNOWLEDGED


@frozen(kw_only=True)
class SessionResult(WireModel):
    """The result of a command. The document shows it for a start.

    Attributes:
        session_id: the session; the worker fills it in.
        pod_ip: its address inside the cluster.
        pod_name: its pod, or another unit of the platform that runs it.
        vnc_port: the port of its VNC server.
        started_at: when it was started.
    """

    session_id: Id | None = None
    pod_ip: str | None = None
    pod_name: str | None = None
    vnc_port: Integer | None = None
    started_at: Instant | None = None


@frozen(kw_only=True)
class CommandResult(Message):
    """The end of a command: ``completed`` with a result, or ``failed`` with an error and a code."""

    type: ClassVar[str] = "command_result"

    command_id: Id
    agent_id: str
    status: CommandStatus
    result: SessionResult | None = None
    error: str | None = None
    error_code: str | None = None


@frozen(kw_only=True)
class VNCProxyError(Message):
    """Reports that an agent cannot reach a VNC server.

    Not in the document, which says nothing about this case: a decision of vcloud.
    """

    type: ClassVar[str] = "vnc_proxy_error"

    proxy_id: Id
    session_id: Id | None = None
    error: str


@frozen(kw_only=True)
class SessionReport(Message):
    """Reports a session's state.

    Not in the document, which only has results of commands: a decision of vcloud, for a session
    whose desktop ended or is missing. ``type`` and ``state`` are those of the published server's
    message; there nothing else changes a session's state, so that every change is reported.
    """

    type: ClassVar[str] = "status"

    agent_id: str
    session_id: Id
    state: SessionState
    message: str | None = None
    pod_name: str | None = None
    vnc_port: Integer | None = None


# -- control plane to agent ----------------------------------------------------------------------


@frozen(kw_only=True)
class RegisterAck(Message):
    """Answers a registration, and says how often the agent sends heartbeats."""

    type: ClassVar[str] = "register_ack"

    agent_id: str
    status: str
    heartbeat_interval: GoDuration | None = None


@frozen(kw_only=True)
class CommandData(WireModel):
    """The session that a command is for, as the platform names it."""

    name: str
    namespace: str | None = None


@frozen(kw_only=True)
class VNCPort(WireModel):
    """The port on which a session's VNC server is to listen."""

    port: Integer


@frozen(kw_only=True)
class StartData(CommandData):
    """The session to start.

    Attributes:
        user: its owner.
        template: the template that it is made from.
        image: the container image.
        resources: the limits of its resources.
        vnc: the port of its VNC server.
        persistent_home: whether the user's home directory is kept after it.
        environment: variables of the container; only the document has them.
        idle_timeout: after how long without a viewer to hibernate it. This and what follows only
            the published server sends, and nothing there acts on the two durations but the agent.
        max_session_duration: after how long to end it.
        tags: its tags.
        manifest: the whole template.
    """

    user: str
    template: str
    image: str | None = None
    resources: Resources | None = None
    vnc: VNCPort | None = None
    persistent_home: bool | None = None
    environment: dict[str, str] | None = field(default=None, hash=False)
    idle_timeout: GoDuration | None = None
    max_session_duration: GoDuration | None = None
    tags: list[str] | None = field(default=None, hash=False)
    manifest: dict[str, Any] | None = field(default=None, hash=False)


@frozen(kw_only=True)
class StopData(CommandData):
    """The session to stop: gracefully or at once, and how long that may take."""

    graceful: bool | None = None
    timeout: GoDuration | None = None


@frozen(kw_only=True)
class Command(Message):
    """A command for a session. A ``command_id`` that comes twice is the same command."""

    type: ClassVar[str] = "command"

    command_id: Id
    session_id: Id


@frozen(kw_only=True)
class StartSession(Command):
    """Start a session."""

    command_type: ClassVar[str] = "start_session"

    data: StartData


@frozen(kw_only=True)
class HibernateSession(Command):
    """Save a session's state and give up its container."""

    command_type: ClassVar[str] = "hibernate_session"

    data: CommandData


@frozen(kw_only=True)
class WakeSession(Command):
    """Wake a hibernated session."""

    command_type: ClassVar[str] = "wake_session"

    data: CommandData


@frozen(kw_only=True)
class StopSession(Command):
    """End a session."""

    command_type: ClassVar[str] = "stop_session"

    data: StopData


@frozen(kw_only=True)
class VNCProxyData(WireModel):
    """Where the VNC server of a session is, as the agent itself answered when it started it."""

    pod_name: str | None = None
    namespace: str | None = None
    vnc_port: Integer | None = None


@frozen(kw_only=True)
class VNCProxyRequest(Message):
    """A viewer wants to connect to a session."""

    type: ClassVar[str] = "vnc_proxy_request"

    session_id: Id
    proxy_id: Id
    data: VNCProxyData


@frozen(kw_only=True)
class UnknownMessage(Message):
    """A message of an unknown kind, as it came; its ``type`` is ``raw["type"]``, if it has one."""

    raw: dict[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """Its type as text; empty when it has none."""
        return str(self.raw.get("type", ""))


@frozen(kw_only=True)
class UnreadableMessage(Message):
    """Data that is not a message, or a message of a known kind that lacks a required field.

    Attributes:
        raw: the object as it came; empty when it is not an object.
        problem: what is wrong, by the names of fields: ``data.timeout: expected a duration such as
            30m``. It holds no value, because a value may be a secret.
    """

    raw: dict[str, Any] = field(hash=False, repr=False)
    problem: str

    @property
    def name(self) -> str:
        """The kind that it names: its command type, or its type; empty when it has none."""
        name = self.raw.get("command_type") or self.raw.get("type")
        return name if isinstance(name, str) else ""

    def __str__(self) -> str:
        return printable(f"{shortened(self.name, MAX_NAME) or 'a message'}: {self.problem}")


#: Characters of a message's name in an error. The longest known one has 17.
MAX_NAME: Final = 80
#: The known kinds, by ``type`` and ``command_type``.
KINDS: Final[Mapping[tuple[str, str | None], type[Message]]] = {
    (kind.type, kind.command_type): kind
    for kind in (
        Register, Heartbeat, CommandAck, CommandResult, SessionReport, VNCProxyError,
        RegisterAck, StartSession, HibernateSession, WakeSession, StopSession, VNCProxyRequest,
    )
}  # fmt: skip
