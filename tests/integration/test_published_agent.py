"""An agent of the published server: its registration, and its connections."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web

from tests.integration.published_plane import KEY, published_plane
from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import settled
from vcloud import (
    ConfigurationError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    RetryPolicy,
    UnsupportedError,
)
from vcloud.providers.streamspace import (
    AgentCapacity,
    AgentRejectedError,
    ApprovalTimeoutError,
    DuplicateAgentError,
    StreamSpace,
)
from vcloud.providers.streamspace.agent import connection
from vcloud.providers.streamspace.agent.published import approval, whole_requests

# -- registration ----------------------------------------------------------------------------------


async def test_a_client_without_credentials_serves_an_agent() -> None:
    async with published_plane() as control:
        capacity = AgentCapacity(max_sessions=3, cpu="8", memory="16Gi")
        agent = control.agent(ready(), capacity=capacity, region="eu", metadata={"zone": 1})
        async with agent as worker:
            assert worker.registered
            assert control.streamspace.dialect == "published"
            assert control.registrations == [
                {
                    "agentId": "agent-1",
                    "platform": "kubernetes",
                    "region": "eu",
                    "metadata": {"zone": 1},
                    "capacity": {"maxSessions": 3, "cpu": "8", "memory": "16Gi"},
                }
            ]
            assert control.keys == [KEY, KEY]
            with pytest.raises(ConfigurationError, match="made without auth"):
                await control.streamspace.sessions.get("s1")


async def test_the_numbers_of_a_documented_capacity_are_sent_as_quantities() -> None:
    async with published_plane() as control:
        capacity = AgentCapacity(max_sessions=3, max_cpu=1.5, max_memory=64)
        async with control.agent(ready(), capacity=capacity):
            (sent,) = control.registrations
            assert sent["capacity"] == {"maxSessions": 3, "cpu": "1.5", "memory": "64Gi"}


async def test_a_pending_agent_asks_again_and_does_not_connect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert approval.ASK_AGAIN == 120
    monkeypatch.setattr(approval, "ASK_AGAIN", 0.01)
    pending: list[str] = []
    async with published_plane() as control:
        control.approvals = ["pending", "pending", "approved"]
        async with control.agent(ready(), on_pending=pending.append):
            assert len(control.registrations) == 3
            assert pending == ["agent-1", "agent-1"]
            assert len(control.sockets) == 1


async def test_a_pending_agent_asks_again_as_soon_as_a_coroutine_hook_has_returned() -> None:
    """Once: a hook that did not approve it must not have it ask in a loop."""
    pending: list[str] = []

    async def approve(agent_id: str) -> None:
        pending.append(agent_id)
        control.approvals = ["approved"]

    async with published_plane() as control:
        control.approvals = ["pending"]
        async with asyncio.timeout(5), control.agent(ready(), on_pending=approve):
            assert (len(control.registrations), pending) == (2, ["agent-1"])


@pytest.mark.parametrize(("failing", "times"), [(False, 2), (True, 1)])
async def test_a_coroutine_hook_that_did_not_approve_is_followed_by_one_question_at_most(
    failing: bool, times: int
) -> None:
    asked = asyncio.Event()

    async def notify(_: str) -> None:
        asked.set()
        if failing:
            raise RuntimeError("the mail server is away")

    async with published_plane() as control:
        control.approvals = ["pending"]
        running = asyncio.create_task(control.agent(ready(), on_pending=notify).run())
        await asked.wait()
        await settled(lambda: len(control.registrations) == times)
        await asyncio.sleep(0.05)
        assert len(control.registrations) == times
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_an_approval_that_never_comes_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "ASK_AGAIN", 0.01)
    async with published_plane() as control:
        control.approvals = ["pending"]
        agent = control.agent(ready(), approval_timeout=0.05)
        with pytest.raises(ApprovalTimeoutError, match=r"agent agent-1 within 0\.05 s"):
            await agent.run()
        assert control.sockets == []


@pytest.mark.parametrize("way", ["stop", "cancel"])
async def test_the_wait_for_an_approval_can_be_ended(way: str) -> None:
    async with published_plane() as control:
        control.approvals = ["pending"]
        agent = control.agent(ready())
        running = asyncio.create_task(agent.run())
        await settled(lambda: bool(control.registrations))
        if way == "stop":
            agent.stop()
            await running
        else:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running


async def test_a_rejection_ends_the_agent() -> None:
    async with published_plane() as control:
        control.approvals = ["pending", "rejected"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(approval, "ASK_AGAIN", 0.01)
            with pytest.raises(AgentRejectedError, match="rejected agent agent-1"):
                await control.agent(ready()).run()


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (403, "Invalid API key", PermissionDeniedError),
        (404, "Agent not found", NotFoundError),
    ],
)
async def test_a_refused_key_ends_the_agent(status: int, error: str, kind: type[Exception]) -> None:
    async with published_plane() as control:
        control.approvals = [web.json_response({"error": error}, status=status)]
        with pytest.raises(kind, match=error) as raised:
            await control.agent(ready()).run()
        assert KEY not in str(raised.value)
        assert KEY not in repr(control.agent(ready()))


async def test_a_registration_beyond_the_limit_waits_as_long_as_the_body_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with published_plane() as control:
        limited = {"error": "Rate limit exceeded", "details": "x", "retryAfter": 0.3}
        control.approvals = [web.json_response(limited, status=429), "own"]
        async with control.agent(ready()):
            assert "it connects again in 0.3 s" in caplog.text


async def test_an_answer_that_is_no_agent_is_an_error_after_which_it_registers_again() -> None:
    async with published_plane() as control:
        html = web.Response(text="<html>", content_type="text/html")
        control.approvals = [html, "own"]
        async with control.agent(ready()) as worker:
            (error,) = worker.errors
            assert "something other than an agent" in str(error)


async def test_an_agent_that_was_deleted_registers_again() -> None:
    async with published_plane() as control, control.agent(ready()):
        gone = {"error": "Agent not found", "agentId": "agent-1"}
        control.connects = [web.json_response(gone, status=404)]
        await control.drop()
        await settled(lambda: len(control.sockets) == 2)
        assert len(control.registrations) == 2


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("a" * 63, "64 hexadecimal digits, and has 63"),
        ("g" * 64, "must be 64 hexadecimal digits"),
        ("", "and has 0"),
        (7, "must be 64 hexadecimal digits"),
    ],
)
async def test_a_key_that_is_none_is_refused_at_once(key: Any, words: str) -> None:
    async with published_plane() as control:
        with pytest.raises(InvalidArgumentError, match=words) as raised:
            control.agent(ready(), api_key=key)
        assert key == "" or str(key) not in str(raised.value)


async def test_an_agent_without_a_key_is_refused_before_anything_is_sent() -> None:
    async with published_plane() as control:
        with pytest.raises(ConfigurationError, match="serve_agent\\(api_key"):
            await control.agent(ready(), api_key=None).run()
        assert control.registrations == []


async def test_a_name_that_the_servers_filter_refuses_is_refused_before_anything_is_sent() -> None:
    async with published_plane() as control:
        agent = control.streamspace.serve_agent(
            "my--agent", platform="kubernetes", handler=ready(), api_key=KEY
        )
        with pytest.raises(UnsupportedError, match="my--agent"):
            await agent.run()


async def test_a_documented_installation_has_no_keys_of_agents() -> None:
    async with plane() as control, StreamSpace(control.base_url, dialect="documented") as client:
        agent = client.serve_agent("agent-1", platform="docker", handler=ready(), api_key=KEY)
        with pytest.raises(UnsupportedError, match=r"leave api_key out.*dialect=\"published\""):
            await agent.run()
        assert control.requests == []


@pytest.mark.parametrize(("platform", "warned"), [("docker", True), ("kubernetes", False)])
async def test_another_platform_is_warned_about(
    platform: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with published_plane() as control, control.agent(ready(), platform=platform):
        assert ("registers as docker" in caplog.text) is warned


# -- connections -----------------------------------------------------------------------------------


async def test_the_latest_states_are_sent_after_a_reconnection() -> None:
    async with published_plane() as control, control.agent(ready()):
        await control.command("start_session", "c1", "s1")
        await control.command("start_session", "c2", "s2")
        await settled(lambda: len(control.ended()) == 2)
        await control.command("hibernate_session", "c3", "s2")
        await settled(lambda: control.states("s2") == ["running", "hibernated"])
        control.said.clear()
        await control.drop()
        await settled(lambda: len(control.of("status")) == 2)
        assert (control.states("s1"), control.states("s2")) == (["running"], ["hibernated"])
        assert len(control.registrations) == 1


async def test_a_connection_that_ends_at_once_is_made_again_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with published_plane() as control:
        control.ends_at_once = 1
        async with control.agent(ready(), retry=RetryPolicy(base=300, cap=300)):
            await settled(lambda: len(control.sockets) == 2)
        assert "it connects again in 0.0 s" in caplog.text


async def test_three_that_end_at_once_are_an_error() -> None:
    async with published_plane() as control:
        control.ends_at_once = 3
        with pytest.raises(DuplicateAgentError, match="another process probably uses"):
            await control.agent(ready()).run()
        assert len(control.sockets) == 3


async def test_two_that_end_at_once_are_none() -> None:
    async with published_plane() as control:
        control.ends_at_once = 2
        async with control.agent(ready()) as worker:
            await settled(lambda: len(control.sockets) == 3 and worker.registered)


async def test_a_draining_agent_says_so_by_rest_after_each_heartbeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_INTERVAL", 0.02)
    async with published_plane() as control, control.agent(ready()) as worker:
        await settled(lambda: len(control.of("heartbeat")) >= 2)
        assert control.of("heartbeat")[0] == {"status": "online", "activeSessions": 0}
        assert control.heartbeats == []
        worker.drain()
        await settled(lambda: len(control.heartbeats) >= 3)
        assert control.heartbeats[0] == {"status": "draining", "activeSessions": 0}
        assert len(control.of("heartbeat")) >= len(control.heartbeats)


async def test_draining_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_INTERVAL", 1000.0)
    async with published_plane() as control, control.agent(ready()) as worker:
        worker.drain()
        await settled(lambda: len(control.heartbeats) == 1)


@pytest.mark.parametrize("how", ["stopped", "cancelled"])
async def test_the_request_that_says_draining_gets_its_answer_when_the_agent_is(how: str) -> None:
    async with published_plane() as control:
        control.answers.clear()
        worker = control.agent(ready())
        running = asyncio.create_task(worker.run())
        await worker.wait_registered()
        worker.drain()
        await settled(lambda: len(control.heartbeats) == 1)
        if how == "stopped":
            worker.stop()
        else:
            running.cancel()
        assert await asyncio.wait({running}, timeout=0.2) == (set(), {running})
        # The agent is offline from the end of its socket on, and must not drain after it.
        assert not control.sockets[0].closed
        control.answers.set()
        await asyncio.wait({running})
        assert running.cancelled() is (how == "cancelled")
        assert control.given_up == 0


async def test_an_agent_that_ends_waits_only_so_long_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole_requests, "LAST_ANSWERS", 0.1)
    async with published_plane() as control:
        control.answers.clear()
        async with control.agent(ready()) as worker:
            worker.drain()
            await settled(lambda: len(control.heartbeats) == 1)
        await settled(lambda: control.given_up == 1)


async def test_a_session_that_ended_by_itself_is_reported_even_before_the_connection() -> None:
    async with published_plane() as control:
        agent = control.agent(ready())
        agent.report_failed("s1", "its container is gone")
        assert agent.unsent == 1
        async with agent:
            await settled(lambda: control.states() == ["failed"])
