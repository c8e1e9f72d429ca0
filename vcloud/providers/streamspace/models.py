"""What StreamSpace answers: values and enumerations. The handles' fields stand with the handles."""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import field, frozen

from vcloud._core.decoding.models import DOCUMENTED, MappingOf, NullAsEmpty, none_when_absent
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.scalars import Float, Id, Instant, Integer, OpenEnum
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.wire import WireModel

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
    "TemplateResources",
    "TemplateVNC",
    "UserRole",
    "Utilization",
]


class Platform(OpenEnum):
    """What an agent runs sessions on."""

    KUBERNETES = "kubernetes"
    DOCKER = "docker"


class AgentStatus(OpenEnum):
    """Whether an agent takes sessions."""

    #: Takes new sessions.
    ONLINE = "online"
    #: Takes no new sessions; those it has go on.
    DRAINING = "draining"
    #: Disconnected. The service sets this by itself.
    OFFLINE = "offline"


class SessionState(OpenEnum):
    """Where a session is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    #: Its state is saved and its container gone.
    HIBERNATED = "hibernated"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    #: Not in the document; the published server has it, like the two below.
    HIBERNATING = "hibernating"
    WAKING = "waking"
    FAILED = "failed"


class SessionSort(OpenEnum):
    """What a list of sessions is ordered by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    USER = "user"
    STATE = "state"


class SortOrder(OpenEnum):
    """Which end of a list comes first."""

    ASC = "asc"
    DESC = "desc"


class UserRole(OpenEnum):
    """What a user may do."""

    ADMIN = "admin"
    USER = "user"


_CPU: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)m?")
_MEMORY: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[kMGTPE]|[KMGTPE]i)?")


@frozen(kw_only=True)
class Resources(WireModel):
    """What a session may use, in the quantities of Kubernetes. None: not said by the service, not overridden by a request.

    Attributes:
        memory: bytes, with a suffix such as ``Mi`` or ``Gi``: ``2Gi``.
        cpu: cores, or thousandths of one with ``m``: ``2``, ``1000m``.
    """

    memory: str | None = None
    cpu: str | None = None

    def to_wire(self) -> dict[str, str]:
        """As a request has it.

        Raises:
            InvalidArgumentError: a quantity that is none (``2 gigs``), is zero, or nothing at all.
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
    """What sessions of a template may use when nothing else is asked for; ``storage`` only in a fetched template."""

    storage: str | None = None


@frozen(kw_only=True)
class AgentCapacity(WireModel):
    """How much an agent can take. A Docker agent only counts sessions.

    Attributes:
        max_cpu: cores.
        max_memory: memory; the document gives no unit, and its example, 256, can only be GB.
        max_sessions: how many sessions at once.
        current_sessions: how many there are.
    """

    max_cpu: Float | None = None
    max_memory: Float | None = None
    max_sessions: Integer | None = None
    current_sessions: Integer | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentSession(WireModel):
    """A session as its agent shows it."""

    id: Id | None
    name: str | None
    user: str | None
    template: str | None
    state: SessionState | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentUpdate(WireModel):
    """What changing an agent's status answers: only what changed."""

    id: Id | None
    agent_id: str
    status: AgentStatus
    updated_at: Instant | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Utilization(WireModel):
    """How full all agents are: in per cent, and in sessions that still fit."""

    percentage: Float | None
    sessions_available: Integer | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class AgentStats(NullAsEmpty, WireModel):
    """All agents counted together; ``by_platform`` counts those of each platform."""

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
    """What goes on inside a session. What does not apply (yet) is None.

    Attributes:
        phase: the platform's word, such as ``Running``.
        message: the same as a sentence.
        pod_ip: its address inside the cluster.
        vnc_url: where its picture is served: a path on the host, or a whole URL, as the service sent it;
            see :attr:`Session.vnc_url`, which is whole and checked.
        pod_name: its pod; only in a fetched session, like all that follow.
        container_id: its container.
        started_at: when that was started.
    """

    phase: str | None
    message: str | None
    pod_ip: str | None = None
    vnc_url: str | None = field(default=None, repr=False)
    pod_name: str | None = None
    container_id: str | None = None
    started_at: Instant | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class SessionUpdate(WireModel):
    """What changing a session's state answers: only what changed."""

    id: Id
    state: SessionState
    status: SessionStatus | None
    updated_at: Instant | None

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        return super()._adapt(named(value))


@frozen(kw_only=True, field_transformer=none_when_absent)
class TemplateVNC(WireModel):
    """How a template's picture is served; ``resolution`` and ``color_depth`` (bits) only in a fetched template."""

    enabled: bool | None
    port: Integer | None
    resolution: str | None = None
    color_depth: Integer | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class LoginUser(WireModel):
    """Who logged in."""

    id: Id | None
    username: str | None
    email: str | None
    role: UserRole | None
    created_at: Instant | None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Login(WireModel, Secretive):
    """A token, whose it is, and when it ends. It is a secret: not in the repr, and not to be pickled.

    Attributes:
        token: the JWT.
        user: whose it is; a renewal need not say.
        expires_at: when it ends; None when the service does not say.
    """

    token: str = field(repr=False)
    user: LoginUser | None = None
    expires_at: Instant | None


# -- on the wire only ------------------------------------------------------------------------------------------------


@frozen(kw_only=True, eq=False, repr=False)
class Confirmation(WireModel):
    """An answer that only says that it is done. One with an ``error`` is somebody else's."""

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
        # They may be null, but an answer without them is somebody else's.
        return super()._adapt(value) if "logs" in value else value


def named(value: dict[str, Any]) -> dict[str, Any]:
    """On the published server a name is the id."""
    name = value.get("name")
    return value if value.get("id") is not None or name is None else {**value, "id": name}
