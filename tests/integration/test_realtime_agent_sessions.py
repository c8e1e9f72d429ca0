"""The sessions that the control plane has on an agent, as the agent gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest
from aiohttp import web

from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import refusal, settled
from vcloud import (
    APIError,
    DecodeError,
)
from vcloud.providers.streamspace import (
    AgentSession,
)
from vcloud.providers.streamspace.agent import connection

ROW = {"id": "s1", "name": "n1", "user": "u", "template": "t", "state": "running"}


async def test_on_registered_gets_the_assigned_sessions_after_each_registration() -> None:
    reported: list[list[tuple[str | None, str | None]]] = []

    async def on_registered(sessions: Sequence[AgentSession]) -> None:
        reported.append([(session.id, session.state) for session in sessions])

    async with plane() as control:
        over = [ROW | {"id": "s2", "state": "terminated"}, ROW | {"id": "s3", "state": "failed"}]
        control.assigned = [ROW, *over, ROW | {"id": "s4", "state": "pending"}]
        async with control.agent(ready(), on_registered=on_registered):
            await settled(lambda: len(reported) == 1)
            control.assigned = []
            await control.sockets[0].close()
            await settled(lambda: len(reported) == 2)
        assert reported == [[("s1", "running"), ("s4", "pending")], []]
        (first, _) = [r for r in control.requests if r.path == "/api/v1/agents/agent-1"]
        assert first.headers["Authorization"]


async def test_commands_wait_until_on_registered_returns() -> None:
    comparing, go_on = asyncio.Event(), asyncio.Event()

    async def on_registered(_: object) -> None:
        comparing.set()
        await go_on.wait()

    async with plane() as control:
        handler = ready()
        async with control.agent(handler, on_registered=on_registered):
            await control.command("start_session", "c1")
            await comparing.wait()
            await settled(lambda: bool(control.of("command_ack")))
            assert handler.done == []
            assert control.results() == {}
            go_on.set()
            await settled(lambda: "c1" in control.results())


async def test_an_on_registered_that_does_not_return_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "RECONCILE_TIMEOUT", 0.2)
    cancelled: list[bool] = []
    errors: list[Exception] = []

    async def on_registered(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async with plane() as control:
        async with control.agent(ready(), on_registered=on_registered, on_error=errors.append):
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results() and bool(errors))
        assert cancelled == [True]
        assert [str(error) for error in errors] == [
            "on_registered did not return within 0.2 s; commands continue"
        ]


async def test_sessions_that_cannot_be_read_are_requested_again_and_commands_continue() -> None:
    answers = iter([refusal(500, "INTERNAL"), refusal(500, "INTERNAL"), refusal(500, "INTERNAL")])
    reported: list[object] = []

    def refuse(request: web.Request) -> web.Response | None:
        return next(answers, None) if request.path.startswith("/api/v1/agents") else None

    async with plane(refuse=refuse) as control:
        errors: list[Exception] = []
        worker = control.agent(ready(), on_registered=reported.append, on_error=errors.append)
        async with worker:
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results() and bool(reported))
        assert reported == [()]
        # The client itself tries three times.
        assert [cast("APIError", error).status for error in errors] == [500]


async def test_commands_wait_for_a_later_on_registered_too() -> None:
    answers = iter([refusal(403, "NO"), None])
    comparing, go_on = asyncio.Event(), asyncio.Event()

    def refuse(request: web.Request) -> web.Response | None:
        if not request.path.startswith("/api/v1/agents"):
            return None
        return web.json_response({"sessions": "none"}) if next(answers, None) else None

    async def on_registered(_: object) -> None:
        comparing.set()
        await go_on.wait()

    async with plane(refuse=refuse) as control:
        handler = ready()
        async with control.agent(handler, on_registered=on_registered) as worker:
            await comparing.wait()
            assert [type(error) for error in worker.errors] == [DecodeError]
            await control.command("stop_session", "c1")
            await settled(lambda: bool(control.of("command_ack")))
            await asyncio.sleep(0)
            assert handler.done == []
            go_on.set()
            await settled(lambda: "c1" in control.results())


@pytest.mark.parametrize("status", [403, 404])
async def test_sessions_that_may_not_be_read_are_not_reported_as_none(
    status: int,
) -> None:
    reported: list[object] = []

    def refuse(request: web.Request) -> web.Response | None:
        return refusal(status, "NO") if request.path.startswith("/api/v1/agents") else None

    async with plane(refuse=refuse) as control:
        async with control.agent(ready(), on_registered=reported.append) as worker:
            await settled(lambda: bool(worker.errors))
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results())
        assert reported == []
        assert len([r for r in control.requests if r.path.startswith("/api/v1/agents")]) == 1


async def test_an_answer_without_sessions_does_not_count_as_an_empty_list() -> None:
    reported: list[object] = []
    async with plane() as control:
        control.assigned = None
        async with control.agent(ready(), on_registered=reported.append) as worker:
            await settled(lambda: bool(worker.errors))
            assert "does not say which sessions" in str(worker.errors[0])
            assert reported == []
            control.assigned = [ROW]
            await settled(lambda: bool(reported))


async def test_report_failed_sends_the_state_of_a_session() -> None:
    async with plane() as control, control.agent(ready()) as worker:
        await control.command("start_session", "c1")
        await settled(lambda: worker.sessions == {"s1"})
        worker.report_failed("s1", "the desktop has ended")
        await settled(lambda: bool(control.of("status")))
        assert control.of("status") == [
            {
                "type": "status",
                "agent_id": "agent-1",
                "session_id": "s1",
                "state": "failed",
                "message": "the desktop has ended",
            }
        ]
        assert worker.sessions == frozenset()
