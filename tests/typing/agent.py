"""What a type checker knows of a StreamSpace agent. mypy and pyright read this only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from vcloud import StreamSpace
from vcloud.providers.streamspace import (
    AgentCapacity,
    AgentHandler,
    AgentSession,
    AgentWorker,
    Command,
    CommandData,
    CommandFailed,
    HibernateSession,
    Resources,
    SessionResult,
    StartData,
    StartSession,
    StopData,
    StopSession,
    VNCAddress,
    VNCPort,
    VNCProxyData,
    VNCProxyRequest,
    WakeSession,
)


class Handler(AgentHandler):
    """The whole protocol, as a user writes it."""

    async def start_session(self, command: StartSession) -> SessionResult:
        assert_type(command.data, StartData)
        if command.data.user == "nobody":
            raise CommandFailed("UNKNOWN_USER", "there is no such user")
        return SessionResult(session_id=command.session_id)

    async def hibernate_session(self, command: HibernateSession) -> None:
        assert_type(command.data, CommandData)

    async def wake_session(self, command: WakeSession) -> SessionResult | None:
        assert_type(command.data, CommandData)
        return None

    async def stop_session(self, command: StopSession) -> None:
        assert_type(command.data, StopData)

    async def vnc_address(self, request: VNCProxyRequest) -> VNCAddress:
        assert_type(request.data, VNCProxyData)
        return "localhost", 5900


def registered(sessions: Sequence[AgentSession]) -> None: ...


async def failed(error: Exception) -> None: ...


async def pending(agent_id: str) -> None: ...


def only_an_agent() -> None:
    assert_type(StreamSpace("https://streamspace.example.com/api/v1"), StreamSpace)


async def serve(streamspace: StreamSpace) -> None:
    worker = streamspace.serve_agent(
        "docker-01",
        platform="docker",
        handler=Handler(),
        capacity=AgentCapacity(max_sessions=4),
        metadata={"zone": 1},
        grace=timedelta(seconds=5),
        api_key="0" * 64,
        remember=Path("docker-01.db"),
        approval_timeout=timedelta(hours=1),
        on_registered=registered,
        on_lost=failed,
        on_error=failed,
        on_pending=pending,
    )
    assert_type(worker, AgentWorker)
    async with worker as entered:
        assert_type(entered, AgentWorker)
    assert_type(await worker.run(), None)
    assert_type(await worker.wait_registered(), None)
    assert_type(worker.agent_id, str)
    assert_type(worker.registered, bool)
    assert_type(worker.draining, bool)
    assert_type(worker.sessions, frozenset[str])
    assert_type(worker.errors, tuple[Exception, ...])
    assert_type(worker.unsent, int)
    assert_type(worker.drain(), None)
    assert_type(worker.stop(), None)
    assert_type(worker.report_failed("s-1", "the container is gone"), None)


def start_session_fields(value: StartSession) -> None:
    assert_type(value.command_id, str)
    assert_type(value.session_id, str)
    assert_type(value.data, StartData)
    assert_type(value.command_type, str)
    assert_type(value.type, str)


def stop_session_fields(value: StopSession) -> None:
    assert_type(value.command_id, str)
    assert_type(value.session_id, str)
    assert_type(value.data, StopData)
    assert_type(value.command_type, str)
    assert_type(value.type, str)


def hibernate_session_fields(value: HibernateSession) -> None:
    assert_type(value.command_id, str)
    assert_type(value.session_id, str)
    assert_type(value.data, CommandData)
    assert_type(value.command_type, str)
    assert_type(value.type, str)


def wake_session_fields(value: WakeSession) -> None:
    assert_type(value.command_id, str)
    assert_type(value.session_id, str)
    assert_type(value.data, CommandData)
    assert_type(value.command_type, str)
    assert_type(value.type, str)


def vncproxy_request_fields(value: VNCProxyRequest) -> None:
    assert_type(value.session_id, str)
    assert_type(value.proxy_id, str)
    assert_type(value.data, VNCProxyData)
    assert_type(value.type, str)
    assert_type(value.command_type, str | None)


def start_data_fields(value: StartData) -> None:
    assert_type(value.name, str)
    assert_type(value.namespace, str | None)
    assert_type(value.user, str)
    assert_type(value.template, str)
    assert_type(value.image, str | None)
    assert_type(value.resources, Resources | None)
    assert_type(value.vnc, VNCPort | None)
    assert_type(value.persistent_home, bool | None)
    assert_type(value.environment, dict[str, str] | None)
    assert_type(value.idle_timeout, timedelta | None)
    assert_type(value.max_session_duration, timedelta | None)
    assert_type(value.tags, list[str] | None)
    assert_type(value.manifest, dict[str, Any] | None)


def stop_data_fields(value: StopData) -> None:
    assert_type(value.name, str)
    assert_type(value.namespace, str | None)
    assert_type(value.graceful, bool | None)
    assert_type(value.timeout, timedelta | None)


def command_data_fields(value: CommandData) -> None:
    assert_type(value.name, str)
    assert_type(value.namespace, str | None)


def vncproxy_data_fields(value: VNCProxyData) -> None:
    assert_type(value.pod_name, str | None)
    assert_type(value.namespace, str | None)
    assert_type(value.vnc_port, int | None)


def vncport_fields(value: VNCPort) -> None:
    assert_type(value.port, int)


def session_result_fields(value: SessionResult) -> None:
    assert_type(value.session_id, str | None)
    assert_type(value.pod_ip, str | None)
    assert_type(value.pod_name, str | None)
    assert_type(value.vnc_port, int | None)
    assert_type(value.started_at, datetime | None)


def command_failed_fields(value: CommandFailed) -> None:
    assert_type(value.code, str)
    assert_type(value.message, str)


def every(command: Command) -> None:
    assert_type(command.command_id, str)
    assert_type(command.session_id, str)
