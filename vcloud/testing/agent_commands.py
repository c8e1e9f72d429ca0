"""Factories for what an agent of StreamSpace is told, and answers: for tests of a handler."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, Unpack

from vcloud.providers.streamspace import (
    CommandData,
    HibernateSession,
    Resources,
    SessionResult,
    StartData,
    StartSession,
    StopData,
    StopSession,
    VNCPort,
    VNCProxyData,
    VNCProxyRequest,
    WakeSession,
)
from vcloud.testing.building import NOW, checked, filled, new_number, new_uuid
from vcloud.testing.streamspace import TEMPLATE, USER, make_resources

NAMESPACE: Final = "streamspace"
NAME: Final = f"{USER}-{TEMPLATE}-0000"
VNC_PORT: Final = 3000


def _command_id() -> str:
    return f"cmd-{new_number('command') + 1:06d}"


def _session_id() -> str:
    return new_uuid("session", "770e8400")


class StartSessionFields(TypedDict, total=False):
    """The fields of :func:`make_start_session`."""

    command_id: str
    session_id: str
    data: StartData


def make_start_session(**fields: Unpack[StartSessionFields]) -> StartSession:
    """A command to start a session."""
    given = checked("make_start_session", StartSessionFields, fields)
    values = filled(given, command_id=_command_id, session_id=_session_id, data=make_start_data)
    return StartSession(**values)


class StartDataFields(TypedDict, total=False):
    """The fields of :func:`make_start_data`."""

    name: str
    namespace: str | None
    user: str
    template: str
    image: str | None
    resources: Resources | None
    vnc: VNCPort | None
    persistent_home: bool | None
    environment: Mapping[str, str] | None
    idle_timeout: timedelta | float | None
    max_session_duration: timedelta | float | None
    tags: list[str] | None
    manifest: Mapping[str, Any] | None


def make_start_data(**fields: Unpack[StartDataFields]) -> StartData:
    """The session to start."""
    given = checked("make_start_data", StartDataFields, fields)
    values = filled(
        given,
        name=NAME,
        namespace=NAMESPACE,
        user=USER,
        template=TEMPLATE,
        image="lscr.io/linuxserver/firefox:latest",
        resources=make_resources,
        vnc=make_vnc_port,
        persistent_home=True,
        environment=lambda: {"PUID": "1000", "PGID": "1000", "TZ": "UTC"},
        idle_timeout=None,
        max_session_duration=None,
        tags=None,
        manifest=None,
    )
    return StartData(**values)


class StopSessionFields(TypedDict, total=False):
    """The fields of :func:`make_stop_session`."""

    command_id: str
    session_id: str
    data: StopData


def make_stop_session(**fields: Unpack[StopSessionFields]) -> StopSession:
    """A command to end a session."""
    given = checked("make_stop_session", StopSessionFields, fields)
    values = filled(given, command_id=_command_id, session_id=_session_id, data=make_stop_data)
    return StopSession(**values)


class StopDataFields(TypedDict, total=False):
    """The fields of :func:`make_stop_data`."""

    name: str
    namespace: str | None
    graceful: bool | None
    timeout: timedelta | float | None


def make_stop_data(**fields: Unpack[StopDataFields]) -> StopData:
    """The session to stop: gracefully, within half a minute."""
    given = checked("make_stop_data", StopDataFields, fields)
    values = filled(
        given, name=NAME, namespace=NAMESPACE, graceful=True, timeout=timedelta(seconds=30)
    )
    return StopData(**values)


class SessionCommandFields(TypedDict, total=False):
    """The fields of :func:`make_hibernate_session` and :func:`make_wake_session`."""

    command_id: str
    session_id: str
    data: CommandData


def make_hibernate_session(**fields: Unpack[SessionCommandFields]) -> HibernateSession:
    """A command to save the state of a session, and to give up its container."""
    given = checked("make_hibernate_session", SessionCommandFields, fields)
    values = filled(given, command_id=_command_id, session_id=_session_id, data=make_command_data)
    return HibernateSession(**values)


def make_wake_session(**fields: Unpack[SessionCommandFields]) -> WakeSession:
    """A command to wake a hibernated session."""
    given = checked("make_wake_session", SessionCommandFields, fields)
    values = filled(given, command_id=_command_id, session_id=_session_id, data=make_command_data)
    return WakeSession(**values)


class CommandDataFields(TypedDict, total=False):
    """The fields of :func:`make_command_data`."""

    name: str
    namespace: str | None


def make_command_data(**fields: Unpack[CommandDataFields]) -> CommandData:
    """The session that a command is for."""
    given = checked("make_command_data", CommandDataFields, fields)
    return CommandData(**filled(given, name=NAME, namespace=NAMESPACE))


class VNCPortFields(TypedDict, total=False):
    """The fields of :func:`make_vnc_port`."""

    port: int


def make_vnc_port(**fields: Unpack[VNCPortFields]) -> VNCPort:
    """The port on which a session's VNC server is to listen."""
    given = checked("make_vnc_port", VNCPortFields, fields)
    return VNCPort(**filled(given, port=VNC_PORT))


class SessionResultFields(TypedDict, total=False):
    """The fields of :func:`make_session_result`."""

    session_id: str | None
    pod_ip: str | None
    pod_name: str | None
    vnc_port: int | None
    started_at: datetime | str | None


def make_session_result(**fields: Unpack[SessionResultFields]) -> SessionResult:
    """The result of a start."""
    given = checked("make_session_result", SessionResultFields, fields)
    values = filled(
        given,
        session_id=_session_id,
        pod_ip="10.42.0.2",
        pod_name=f"{NAME}-7c8f9d6b5",
        vnc_port=VNC_PORT,
        started_at=NOW,
    )
    return SessionResult(**values)


class VNCProxyRequestFields(TypedDict, total=False):
    """The fields of :func:`make_vnc_proxy_request`."""

    session_id: str
    proxy_id: str
    data: VNCProxyData


def make_vnc_proxy_request(**fields: Unpack[VNCProxyRequestFields]) -> VNCProxyRequest:
    """A viewer wants to connect to a session."""
    given = checked("make_vnc_proxy_request", VNCProxyRequestFields, fields)
    values = filled(
        given,
        session_id=_session_id,
        proxy_id=lambda: f"proxy-{new_number('proxy') + 1:06d}",
        data=make_vnc_proxy_data,
    )
    return VNCProxyRequest(**values)


class VNCProxyDataFields(TypedDict, total=False):
    """The fields of :func:`make_vnc_proxy_data`."""

    pod_name: str | None
    namespace: str | None
    vnc_port: int | None


def make_vnc_proxy_data(**fields: Unpack[VNCProxyDataFields]) -> VNCProxyData:
    """Where the VNC server of a session is."""
    given = checked("make_vnc_proxy_data", VNCProxyDataFields, fields)
    values = filled(given, pod_name=f"{NAME}-7c8f9d6b5", namespace=NAMESPACE, vnc_port=VNC_PORT)
    return VNCProxyData(**values)
