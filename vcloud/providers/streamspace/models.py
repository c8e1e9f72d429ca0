"""StreamSpace's values and enumerations. Each kind of resource has its own module."""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import field, frozen

from vcloud._core.decoding.absent import often_absent
from vcloud._core.decoding.models import DOCUMENTED, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.scalars import Float, Id, Instant, Integer, OpenEnum
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.spelling import NamedModel, WireModel

__all__ = [
    "AgentCapacity",
    "AgentSession",
    "AgentStats",
    "AgentStatus",
    "AgentUpdate",
    "Login",
    "LoginUser",
    "Platform",
    "Resources",
    "SessionSort",
    "SessionState",
    "SessionStatus",
    "SessionUpdate",
    "SortOrder",
    "StreamingProtocol",
    "TemplateResources",
    "TemplateVNC",
    "UserQuota",
    "UserRole",
    "Utilization",
]


class Platform(OpenEnum):
    """What an agent runs sessions on."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"


class AgentStatus(OpenEnum):
    """Whether an agent takes new sessions."""

    #: It takes new sessions.
    ONLINE = "online"
    #: It takes no new sessions; running ones continue.
    DRAINING = "draining"
    #: It is disconnected. The service itself sets this.
    OFFLINE = "offline"


class SessionState(OpenEnum):
    """The state of a session."""

    PENDING = "pending"
    RUNNING = "running"
    #: Its state is saved, and it has no container.
    HIBERNATED = "hibernated"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    #: Not in the document; the published server has it, like the three below.
    STARTING = "starting"
    HIBERNATING = "hibernating"
    WAKING = "waking"
    FAILED = "failed"


class StreamingProtocol(OpenEnum):
    """How a session shows its desktop. Only the published server says so.

    It is found from the image and the port of its template.
    """

    #: For a VNC viewer.
    VNC = "vnc"
    #: A web page, like the next.
    SELKIES = "selkies"
    GUACAMOLE = "guacamole"
    #: For an X2Go client; this SDK has none.
    X2GO = "x2go"


#: States that a session never leaves.
TERMINAL_STATES: Final = frozenset({SessionState.TERMINATED, SessionState.FAILED})


#: States on the way to another, whose end the agents of a published StreamSpace may not report.
UNREPORTED: Final = frozenset(
    {SessionState.HIBERNATING, SessionState.WAKING, SessionState.TERMINATING}
)


class SessionSort(OpenEnum):
    """The field that a list of sessions is sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    USER = "user"
    STATE = "state"


class SortOrder(OpenEnum):
    """The sort order of a list."""

    ASC = "asc"
    DESC = "desc"


class UserRole(OpenEnum):
    """The role of a user."""

    ADMIN = "admin"
    USER = "user"
    #: Not in the document; on the published server, who may make templates.
    OPERATOR = "operator"


_CPU: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)m?")
_MEMORY: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[kMGTPE]|[KMGTPE]i)?")


@frozen(kw_only=True)
class Resources(WireModel):
    """The limits of a session's resources, as quantities of Kubernetes.

    None in an answer: the service does not say. None in a request: the template's limit is used.

    Attributes:
        memory: bytes, with a suffix such as ``Mi`` or ``Gi``: ``2Gi``.
        cpu: cores, or thousandths of one with ``m``: ``2``, ``1000m``.
    """

    memory: str | None = None
    cpu: str | None = None

    def to_wire(self) -> dict[str, str]:
        """The fields of a request's body.

        Raises:
            InvalidArgumentError: a quantity is invalid (``2 gigs``) or zero, or both are None.
        """
        given = {
            name: value
            for name, value in (("memory", self.memory), ("cpu", self.cpu))
            if value is not None
        }
        if not given:
            raise InvalidArgumentError("resources must give memory or cpu")
        for name, value in given.items():
            quantity, example = (_CPU, "2 or 1000m") if name == "cpu" else (_MEMORY, "512Mi or 2Gi")
            if (
                type(value) is not str
                or not quantity.fullmatch(value)
                or not value.strip("0.kmKMGTPEi")
            ):
                raise InvalidArgumentError(
                    f"resources.{name} must be a quantity such as {example}, not {value!r}"
                )
        return given


@frozen(kw_only=True)
class TemplateResources(Resources):
    """The limits of a template's sessions for which no others are given.

    ``storage`` is None in a list.
    """

    storage: str | None = None


@often_absent("cpu", "memory", "storage")
@frozen(kw_only=True)
class AgentCapacity(WireModel):
    """How much an agent can take. A Docker agent has only the numbers of sessions.

    Which numbers there are depends on the installation: ``max_cpu``, ``max_memory`` and
    ``current_sessions`` are the API document's, the last three the published server's.

    Attributes:
        max_cpu: cores.
        max_memory: memory. The document gives no unit; its example, 256, can only be GB.
        max_sessions: how many sessions at once.
        current_sessions: how many it has now.
        cpu: cores, as a quantity of Kubernetes: ``16``, ``16000m``.
        memory: bytes, likewise: ``64Gi``.
        storage: bytes, likewise: ``1Ti``.
    """

    max_cpu: Float | None = None
    max_memory: Float | None = None
    max_sessions: Integer | None = None
    current_sessions: Integer | None = None
    cpu: str | None = None
    memory: str | None = None
    storage: str | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentSession(WireModel):
    """A session in the list of its agent."""

    id: Id | None
    name: str | None
    user: str | None
    template: str | None
    state: SessionState | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentUpdate(WireModel):
    """The answer to a change of an agent's status: the changed fields."""

    id: Id | None
    agent_id: str
    status: AgentStatus
    updated_at: Instant | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Utilization(WireModel):
    """The load of all agents, in per cent, and how many sessions still fit."""

    percentage: Float | None
    sessions_available: Integer | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentStats(NullAsEmpty, WireModel):
    """Statistics of all agents; ``by_platform`` has the number of agents on each platform."""

    total_agents: Integer
    online_agents: Integer | None
    offline_agents: Integer | None
    draining_agents: Integer | None
    by_platform: MappingOf[Integer | None] = field(
        factory=dict, hash=False, metadata={DOCUMENTED: True}
    )
    total_capacity: AgentCapacity | None
    utilization: Utilization | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class SessionStatus(WireModel):
    """Details of a session's state. Fields that do not apply (yet) are None.

    Attributes:
        phase: the platform's name of the state, such as ``Running``.
        message: the same as a sentence.
        pod_ip: its address inside the cluster.
        vnc_url: the address of its VNC stream, a path on the host or a URL, as the service sent it;
            :attr:`Session.vnc_url` is always a URL, and is checked.
        pod_name: its pod; None in a list.
        container_id: its container; None in a list.
        started_at: when the container was started; None in a list.
    """

    phase: str | None
    message: str | None
    pod_ip: str | None = None
    vnc_url: str | None = field(default=None, repr=False)
    pod_name: str | None = None
    container_id: str | None = None
    started_at: Instant | None = None


@often_absent("command_id", "message")
@frozen(kw_only=True, field_transformer=none_when_absent)
class SessionUpdate(NamedModel):
    """The answer to a change of a session's state: the changed fields.

    Attributes:
        id: the session's id.
        state: its state now. On the published server the one on the way, such as ``hibernating``.
        status: details of its state; None on the published server.
        updated_at: when it changed; None on the published server.
        command_id: the id of the command that its agent gets; only the published server says it.
        message: the server's words; only the published server says them.
    """

    id: Id
    state: SessionState
    status: SessionStatus | None
    updated_at: Instant | None
    command_id: str | None = None
    message: str | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class TemplateVNC(WireModel):
    """How a template's sessions serve VNC.

    ``resolution`` and ``color_depth`` (bits) are None in a list.
    """

    enabled: bool | None
    port: Integer | None
    resolution: str | None = None
    color_depth: Integer | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class UserQuota(WireModel):
    """What the sessions of a user may take together, as the published server says.

    Quantities are those of Kubernetes: ``4000m``, ``8Gi``. That server enforces others.

    Attributes:
        max_sessions: how many sessions at once.
        max_cpu: cores.
        max_memory: bytes.
        max_storage: bytes of the home directory.
        used_sessions: how many sessions there are.
        used_cpu: cores that they have.
        used_memory: bytes that they have.
        used_storage: bytes of the home directory.
    """

    max_sessions: Integer | None
    max_cpu: str | None
    max_memory: str | None
    max_storage: str | None
    used_sessions: Integer | None
    used_cpu: str | None
    used_memory: str | None
    used_storage: str | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class LoginUser(WireModel):
    """The user who logged in."""

    id: Id | None
    username: str | None
    email: str | None
    role: UserRole | None
    created_at: Instant | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Login(WireModel, Secretive):
    """A token. It is a secret: the repr does not show it, and it cannot be pickled.

    Attributes:
        token: the JWT.
        user: its user; None if the service does not say, after a renewal for example.
        expires_at: when it ends; None when the service does not say.
    """

    token: str = field(repr=False)
    user: LoginUser | None = None
    expires_at: Instant | None


# -- answers that are not returned to the caller --------------------------------------------------


@frozen(kw_only=True, eq=False, repr=False)
class Confirmation(WireModel):
    """A confirmation without other fields. One with an ``error`` is not StreamSpace's."""

    message: str
    error: Any = None


@frozen(kw_only=True, eq=False, repr=False)
class LogoutAnswer(Confirmation):
    """``POST /auth/logout``."""


@frozen(kw_only=True, eq=False, repr=False)
class DeleteAnswer(Confirmation):
    """``DELETE /sessions/{session_id}``, of the published server."""


@frozen(kw_only=True, field_transformer=none_when_absent)
class SessionLogs(WireModel):
    """``GET /sessions/{session_id}/logs``."""

    logs: list[str] | None

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        # The field may be null, but an answer without it is not StreamSpace's.
        return super()._adapt(value) if "logs" in value else value
