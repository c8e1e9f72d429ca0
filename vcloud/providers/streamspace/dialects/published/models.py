"""The published server's answers: which names it writes, and what becomes of them.

Each class is another spelling of a model. Its attributes are the model's fields; an attribute that
the model lacks is not kept.
"""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any, ClassVar, Final

import msgspec
from msgspec import UNSET, UnsetType

from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.decoding.spelled import Spelled, spelled, spells
from vcloud._core.resources import Opened
from vcloud._core.scalars import GoDurationOrEmpty, Id, Instant, Integer
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.agents import Agent, AgentList
from vcloud.providers.streamspace.models import (
    AgentCapacity,
    AgentStatus,
    Platform,
    Resources,
    SessionState,
    SessionStatus,
    StreamingProtocol,
    UserQuota,
    UserRole,
)
from vcloud.providers.streamspace.session import Session, SessionList
from vcloud.providers.streamspace.templates import Template, TemplateList
from vcloud.providers.streamspace.users import User, UserList
from vcloud.providers.streamspace.wire import Listing, resource, resources

__all__ = [
    "AGENT",
    "AGENTS",
    "COMMAND",
    "CREATED",
    "SESSION",
    "SESSIONS",
    "TAGGED",
    "TEMPLATE",
    "TEMPLATES",
    "USER",
    "USERS",
    "CommandAnswer",
]


class Answer(Spelled, rename="camel", kw_only=True):
    """The base of what is answered on its own: a resource, a list, or a login.

    Attributes:
        documented: what only the other dialect writes.
    """

    documented: msgspec.Raw | UnsetType = UNSET

    def finish(self) -> Any:
        """See :meth:`Spelled.finish`.

        Raises:
            DecodeError: the answer is in the other dialect.
        """
        if self.documented is not UNSET:
            raise DecodeError(
                "the answer is written as StreamSpace's API document says, and the client expects"
                ' the published server: give dialect="documented"'
            )
        return super().finish()


def _foreign(name: str) -> Any:
    return msgspec.field(default=UNSET, name=name)


# -- sessions -------------------------------------------------------------------------------------


@spells(SessionStatus)
class StatusAnswer(Spelled, rename="camel", kw_only=True):
    """The ``status`` of a session. Its ``url`` leads nowhere."""

    optional: ClassVar = frozenset({"message", "last_activity", "pod_name"})
    unread: ClassVar = frozenset({"url"})

    phase: str | None = None
    message: str | None = None
    pod_name: str | None = None
    last_activity: Instant | None = None


@spells(Session)
class SessionAnswer(Answer, rename="camel", kw_only=True):
    """A session, in ``GET /sessions/{name}``, in lists, and in the answer to a create.

    ``maxSessionDuration`` and ``idleTimeout`` are empty without a limit.
    """

    optional: ClassVar = frozenset({"resources"})
    unread: ClassVar = frozenset({"activeConnections", "streamingPort", "streamingPath"})

    id: Id = msgspec.field(name="name")
    namespace: str | None = None
    user: str | None = None
    template: str | None = None
    platform: Platform | None = None
    state: SessionState | None = None
    resources: Resources | None = None
    persistent_home: bool | None = None
    idle_timeout: GoDurationOrEmpty | None = None
    max_session_duration: GoDurationOrEmpty | None = None
    streaming_protocol: StreamingProtocol | None = None
    status: StatusAnswer | None = None
    created_at: Instant | None = None
    documented: msgspec.Raw | UnsetType = _foreign("id")

    #: The server identifies a session by its name.
    name = property(attrgetter("id"))

    @property
    def last_activity(self) -> datetime | None:
        """It is among the details of the state."""
        return None if self.status is None else self.status.last_activity


@spells(Session)
class CreatedSession(SessionAnswer, rename="camel", kw_only=True):
    """The answer to a create: with tags, without the platform and times."""

    optional: ClassVar = frozenset({"platform", "created_at", "streaming_protocol", "resources"})

    tags: tuple[str, ...] | None = None


@spells(SessionList)
class SessionsAnswer(Answer, kw_only=True):
    """``GET /sessions``."""

    item_fields: ClassVar = ("sessions",)

    sessions: list[SessionAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = _foreign("pagination")


class CommandAnswer(Answer, rename="camel", kw_only=True):
    """The answer to a change of a session's state, which an agent was told to make."""

    id: Id = msgspec.field(name="name")
    command_id: str | None = None
    message: str | None = None


class TaggedSession(Spelled, rename=None, kw_only=True):
    """The answer to a change of a session's tags: the database's row, in snake_case."""

    optional: ClassVar = frozenset({"tags"})
    unread: ClassVar = frozenset(
        {
            "active_connections",
            "agent_id",
            "app_type",
            "cluster_id",
            "cpu",
            "created_at",
            "idle_timeout",
            "last_activity",
            "last_connection",
            "last_disconnect",
            "max_session_duration",
            "memory",
            "namespace",
            "org_id",
            "persistent_home",
            "platform",
            "pod_name",
            "state",
            "streaming_path",
            "streaming_port",
            "streaming_protocol",
            "team_id",
            "template_name",
            "updated_at",
            "url",
            "user_id",
        }
    )

    id: Id
    tags: tuple[str, ...] | None = None


# -- templates ------------------------------------------------------------------------------------


@spells(Template)
class TemplateAnswer(Answer, rename=None, kw_only=True):
    """A template, whose names are those of the database."""

    id: Id
    name: str
    repository_id: Integer | None = None
    display_name: str | None = None
    description: str | None = None
    category: str | None = None
    app_type: str | None = None
    icon_url: str | None = None
    manifest: Any = None
    tags: tuple[str, ...] | None = None
    install_count: Integer | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    documented: msgspec.Raw | UnsetType = _foreign("base_image")


@spells(TemplateList)
class TemplatesAnswer(Answer, kw_only=True):
    """``GET /templates``. Its ``categories`` hold each template once more."""

    item_fields: ClassVar = ("templates",)
    unread: ClassVar = frozenset({"categories", "filters"})

    templates: list[TemplateAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = _foreign("pagination")


# -- users ----------------------------------------------------------------------------------------


@spells(UserQuota)
class QuotaAnswer(Spelled, rename="camel", kw_only=True):
    """The ``quota`` of a user."""

    unread: ClassVar = frozenset({"userId", "username", "createdAt", "updatedAt"})

    max_sessions: Integer | None = None
    max_cpu: str | None = None
    max_memory: str | None = None
    max_storage: str | None = None
    used_sessions: Integer | None = None
    used_cpu: str | None = None
    used_memory: str | None = None
    used_storage: str | None = None


@spells(User)
class UserAnswer(Answer, rename="camel", kw_only=True):
    """A user. ``GET /users/me`` adds the quota and the groups."""

    optional: ClassVar = frozenset({"last_login", "quota", "groups"})
    unread: ClassVar = frozenset({"orgId", "orgRole"})

    id: Id
    username: str | None = None
    email: str | None = None
    full_name: str | None = None
    role: UserRole | None = None
    provider: str | None = None
    active: bool | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    last_login: Instant | None = None
    quota: QuotaAnswer | None = None
    groups: tuple[str, ...] | None = None
    documented: msgspec.Raw | UnsetType = _foreign("created_at")


@spells(UserList)
class UsersAnswer(Answer, kw_only=True):
    """``GET /users``."""

    item_fields: ClassVar = ("users",)

    users: list[UserAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = _foreign("pagination")


# -- agents ---------------------------------------------------------------------------------------


@spells(AgentCapacity)
class CapacityAnswer(Spelled, rename="camel", kw_only=True):
    """How much an agent can take, as it said."""

    optional: ClassVar = frozenset({"storage"})

    max_sessions: Integer | None = None
    cpu: str | None = None
    memory: str | None = None
    storage: str | None = None


@spells(Agent)
class AgentAnswer(Answer, rename="camel", kw_only=True):
    """An agent."""

    optional: ClassVar = frozenset(
        {
            "region",
            "capacity",
            "last_heartbeat",
            "websocket_conn_id",
            "metadata",
            "approved_at",
            "approved_by",
        }
    )

    id: Id
    agent_id: str
    platform: Platform | None = None
    region: str | None = None
    status: AgentStatus | None = None
    capacity: CapacityAnswer | None = None
    last_heartbeat: Instant | None = None
    websocket_conn_id: str | None = msgspec.field(default=None, name="websocketId")
    metadata: dict[str, Any] | None = None
    approval: str | None = msgspec.field(default=None, name="approvalStatus")
    approved_at: Instant | None = None
    approved_by: str | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None

    @property
    def approval_status(self) -> str | None:
        """It is empty in the answer for a single agent."""
        return self.approval or None


@spells(AgentList)
class AgentsAnswer(Answer, kw_only=True):
    """``GET /admin/agents``."""

    item_fields: ClassVar = ("agents",)

    agents: list[AgentAnswer] | None = None
    total: Integer | None = None
    documented: msgspec.Raw | UnsetType = _foreign("pagination")


SESSION: Final = resource(spelled(Session, SessionAnswer))
#: The answer to a create.
CREATED: Final = resource(spelled(Session, CreatedSession))
SESSIONS: Final[Shape[Listing, Opened[Session]]] = resources(
    spelled(SessionList, SessionsAnswer), Session
)
#: The answer to a change of a session.
COMMAND: Final = plain(CommandAnswer)
#: The answer to a change of a session's tags.
TAGGED: Final[Shape[TaggedSession, tuple[str, ...]]] = Shape(
    TaggedSession, lambda wire, session, body: wire.tags or ()
)
TEMPLATE: Final = resource(spelled(Template, TemplateAnswer))
TEMPLATES: Final[Shape[Listing, Opened[Template]]] = resources(
    spelled(TemplateList, TemplatesAnswer), Template
)
USER: Final = resource(spelled(User, UserAnswer))
USERS: Final[Shape[Listing, Opened[User]]] = resources(spelled(UserList, UsersAnswer), User)
AGENT: Final = resource(spelled(Agent, AgentAnswer))
AGENTS: Final[Shape[Listing, Opened[Agent]]] = resources(spelled(AgentList, AgentsAnswer), Agent)
