"""Factories for the models of StreamSpace. Those of agents are in ``agents.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

from vcloud.providers.streamspace import (
    Login,
    LoginUser,
    Platform,
    Resources,
    Session,
    SessionState,
    SessionStatus,
    SessionUpdate,
    StreamingProtocol,
    Template,
    TemplateResources,
    TemplateVNC,
    User,
    UserQuota,
    UserRole,
)
from vcloud.testing.building import EARLIER, NOW, checked, filled, new_uuid, uuid_of

HOUR: Final = timedelta(hours=1)
AGENT: Final = "k8s-prod-us-east-1"
TEMPLATE: Final = "firefox-browser"
USER: Final = "john.doe"
LABELS: Final = ("browser", "web", "privacy")


class SessionFields(TypedDict, total=False):
    """The fields of :func:`make_session`."""

    id: str
    name: str | None
    namespace: str | None
    user: str | None
    template: str | None
    platform: Platform | str | None
    agent_id: str | None
    state: SessionState | str | None
    resources: Resources | None
    persistent_home: bool | None
    idle_timeout: timedelta | float | None
    max_session_duration: timedelta | float | None
    streaming_protocol: StreamingProtocol | str | None
    tags: Sequence[str]
    status: SessionStatus | None
    platform_metadata: Mapping[str, Any]
    created_at: datetime | str | None
    updated_at: datetime | str | None
    last_activity: datetime | str | None


def make_session(**fields: Unpack[SessionFields]) -> Session:
    """A session as ``get`` returns it, by default one that has run for an hour."""
    given = checked("make_session", SessionFields, fields)
    given["id"] = id = uuid_of(given, "session", "770e8400")
    state = given.setdefault("state", SessionState.RUNNING)
    user, template = given.setdefault("user", USER), given.setdefault("template", TEMPLATE)
    created = given.setdefault("created_at", NOW - HOUR)
    name = given.setdefault("name", f"{user}-{template}-{id[-4:]}")
    values = filled(
        given,
        namespace="streamspace",
        platform=Platform.KUBERNETES,
        agent_id=AGENT,
        resources=make_resources,
        persistent_home=True,
        idle_timeout=HOUR / 2,
        max_session_duration=None,
        streaming_protocol=None,
        tags=(),
        status=lambda: _status_of(id, name, state, created),
        platform_metadata=lambda: {
            "namespace": "streamspace",
            "deployment_name": name,
            "service_name": name,
            "pvc_name": f"{name}-home",
        },
        updated_at=created,
        last_activity=created,
    )
    return Session(**values)


def _status_of(
    id: str, name: str | None, state: SessionState | None, started_at: datetime | None
) -> SessionStatus:
    """The status that fits a session's state."""
    if state is None:
        return make_session_status()
    if state != SessionState.RUNNING:
        return SessionStatus(phase=state.capitalize(), message=f"Session is {state}")
    return make_session_status(
        vnc_url=f"/vnc-viewer/{id}", pod_name=f"{name}-7c8f9d6b5", started_at=started_at
    )


class SessionStatusFields(TypedDict, total=False):
    """The fields of :func:`make_session_status`."""

    phase: str | None
    message: str | None
    pod_ip: str | None
    vnc_url: str | None
    pod_name: str | None
    container_id: str | None
    started_at: datetime | str | None


def make_session_status(**fields: Unpack[SessionStatusFields]) -> SessionStatus:
    """The details of a running session's state."""
    given = checked("make_session_status", SessionStatusFields, fields)
    values = filled(
        given,
        phase="Running",
        message="Session is running",
        pod_ip="10.42.0.2",
        vnc_url="/vnc-viewer/770e8400-e29b-41d4-a716-446655440000",
        pod_name=f"{USER}-{TEMPLATE}-7c8f9d6b5",
        container_id="446655440000",
        started_at=NOW - HOUR,
    )
    return SessionStatus(**values)


class SessionUpdateFields(TypedDict, total=False):
    """The fields of :func:`make_session_update`."""

    id: str
    state: SessionState | str
    status: SessionStatus | None
    updated_at: datetime | str | None
    command_id: str | None
    message: str | None


def make_session_update(**fields: Unpack[SessionUpdateFields]) -> SessionUpdate:
    """The answer to a change of a session's state: it hibernates."""
    given = checked("make_session_update", SessionUpdateFields, fields)
    given["id"] = uuid_of(given, "session", "770e8400")
    state = given.setdefault("state", SessionState.HIBERNATED)
    return SessionUpdate(
        **filled(
            given,
            status=lambda: _status_of(given["id"], None, state, NOW),
            updated_at=NOW,
            command_id=None,
            message=None,
        )
    )


class ResourcesFields(TypedDict, total=False):
    """The fields of :func:`make_resources`."""

    memory: str | None
    cpu: str | None


def make_resources(**fields: Unpack[ResourcesFields]) -> Resources:
    """The limits of a session's resources."""
    given = checked("make_resources", ResourcesFields, fields)
    return Resources(**filled(given, memory="2Gi", cpu="1000m"))


class TemplateFields(TypedDict, total=False):
    """The fields of :func:`make_template`."""

    name: str
    id: str
    display_name: str | None
    category: str | None
    description: str | None
    base_image: str | None
    default_resources: TemplateResources | None
    vnc: TemplateVNC | None
    environment: Mapping[str, Any]
    persistent_home: bool | None
    idle_timeout: timedelta | float | None
    icon_url: str | None
    tags: Sequence[str]
    created_at: datetime | str | None
    updated_at: datetime | str | None
    repository_id: int | None
    app_type: str | None
    manifest: Any
    install_count: int | None


def make_template(**fields: Unpack[TemplateFields]) -> Template:
    """A template as ``get`` returns it: a browser."""
    given = checked("make_template", TemplateFields, fields)
    given["id"] = uuid_of(given, "template", "880e8400")
    values = filled(
        given,
        name=TEMPLATE,
        display_name="Firefox Web Browser",
        category="Web Browsers",
        description="Mozilla Firefox web browser with privacy extensions",
        base_image="lscr.io/linuxserver/firefox:latest",
        default_resources=make_template_resources,
        vnc=make_template_vnc,
        environment=lambda: {"PUID": "1000", "PGID": "1000", "TZ": "UTC"},
        persistent_home=True,
        idle_timeout=HOUR / 2,
        icon_url="https://cdn.streamspace.io/icons/firefox.svg",
        tags=LABELS,
        created_at=EARLIER,
        updated_at=EARLIER,
        repository_id=None,
        app_type=None,
        manifest=None,
        install_count=None,
    )
    return Template(**values)


class TemplateResourcesFields(TypedDict, total=False):
    """The fields of :func:`make_template_resources`."""

    memory: str | None
    cpu: str | None
    storage: str | None


def make_template_resources(**fields: Unpack[TemplateResourcesFields]) -> TemplateResources:
    """The limits of a template's sessions."""
    given = checked("make_template_resources", TemplateResourcesFields, fields)
    return TemplateResources(**filled(given, memory="2Gi", cpu="1000m", storage="10Gi"))


class TemplateVNCFields(TypedDict, total=False):
    """The fields of :func:`make_template_vnc`."""

    enabled: bool | None
    port: int | None
    resolution: str | None
    color_depth: int | None


def make_template_vnc(**fields: Unpack[TemplateVNCFields]) -> TemplateVNC:
    """How a template's sessions serve VNC."""
    given = checked("make_template_vnc", TemplateVNCFields, fields)
    return TemplateVNC(
        **filled(given, enabled=True, port=3000, resolution="1920x1080", color_depth=24)
    )


class UserFields(TypedDict, total=False):
    """The fields of :func:`make_user`."""

    id: str
    username: str | None
    email: str | None
    role: UserRole | str | None
    active: bool | None
    created_at: datetime | str | None
    last_login: datetime | str | None
    full_name: str | None
    provider: str | None
    updated_at: datetime | str | None
    quota: UserQuota | None
    groups: Sequence[str]


def make_user(**fields: Unpack[UserFields]) -> User:
    """A user of StreamSpace. :func:`make_stream_user` makes a visitor of Streams."""
    given = checked("make_user", UserFields, fields)
    given["id"] = uuid_of(given, "user", "990e8400")
    username = given.setdefault("username", USER)
    values = filled(
        given,
        email=f"{username}@example.com",
        role=UserRole.USER,
        active=True,
        created_at=EARLIER,
        last_login=NOW - HOUR,
        full_name=None,
        provider=None,
        updated_at=None,
        quota=None,
        groups=(),
    )
    return User(**values)


class UserQuotaFields(TypedDict, total=False):
    """The fields of :func:`make_user_quota`."""

    max_sessions: int | None
    max_cpu: str | None
    max_memory: str | None
    max_storage: str | None
    used_sessions: int | None
    used_cpu: str | None
    used_memory: str | None
    used_storage: str | None


def make_user_quota(**fields: Unpack[UserQuotaFields]) -> UserQuota:
    """What the sessions of a user may take together, with none of it taken."""
    given = checked("make_user_quota", UserQuotaFields, fields)
    values = filled(
        given,
        max_sessions=5,
        max_cpu="4000m",
        max_memory="16Gi",
        max_storage="100Gi",
        used_sessions=0,
        used_cpu="0",
        used_memory="0",
        used_storage="0",
    )
    return UserQuota(**values)


class LoginFields(TypedDict, total=False):
    """The fields of :func:`make_login`."""

    token: str
    user: LoginUser | None
    expires_at: datetime | str | None


def make_login(**fields: Unpack[LoginFields]) -> Login:
    """A token for a day; one that no service takes."""
    given = checked("make_login", LoginFields, fields)
    token = "made-for-a-test"  # noqa: S105 - no service takes it
    return Login(**filled(given, token=token, user=make_login_user, expires_at=NOW + 24 * HOUR))


class LoginUserFields(TypedDict, total=False):
    """The fields of :func:`make_login_user`."""

    id: str | None
    username: str | None
    email: str | None
    role: UserRole | str | None
    created_at: datetime | str | None


def make_login_user(**fields: Unpack[LoginUserFields]) -> LoginUser:
    """The user who logged in."""
    given = checked("make_login_user", LoginUserFields, fields)
    username = given.setdefault("username", USER)
    values = filled(
        given,
        id=lambda: new_uuid("user", "990e8400"),
        email=f"{username}@example.com",
        role=UserRole.USER,
        created_at=EARLIER,
    )
    return LoginUser(**values)
