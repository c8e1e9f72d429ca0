"""What an agent answers to commands that it cannot read, and whom it tells of its troubles."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, cast

import pytest
from aiohttp import web

from tests.integration.realtime_plane import Handler, plane, ready
from tests.integration.realtime_server import TOKEN, refusal, settled
from vcloud import (
    APIError,
    AuthenticationError,
    BearerAuth,
    DecodeError,
    Endpoint,
    InvalidArgumentError,
    RetryPolicy,
    TransportError,
    VCloudError,
)
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    AgentRejectedError,
    AgentSession,
    CommandFailed,
    SessionResult,
    StartSession,
    StreamSpace,
    VNCProxyRequest,
)
from vcloud.providers.streamspace.agent import connection

START = {"name": "n", "user": "u", "template": "t"}
ROW = {"id": "s1", "name": "n1", "user": "u", "template": "t", "state": "running"}


def command(command_id: object, kind: str = "stop_session", **more: object) -> dict[str, Any]:
    whole = {
        "type": "command",
        "command_id": command_id,
        "command_type": kind,
        "session_id": "s1",
        "data": {"name": "n"},
    }
    return {name: value for name, value in (whole | more).items() if value is not ...}


# -- commands that cannot be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"data": ...}, "stop_session: data is missing"),
        ({"data": None}, "stop_session: data: expected an object"),
        (
            {"data": {"name": "n", "timeout": 30}},
            "stop_session: data.timeout: expected a duration such as 30m",
        ),
        ({"session_id": ...}, "stop_session: session_id is missing"),
        ({"command_type": "wake_session", "data": []}, "wake_session: data: expected an object"),
    ],
)
async def test_a_broken_command_is_acknowledged_and_fails_with_the_name_of_its_field(
    broken: dict[str, Any], words: str
) -> None:
    async with plane() as control:
        handler = ready()
        async with control.agent(handler) as worker:
            await control.sockets[0].send_json(command("c1", **broken))
            await settled(lambda: "c1" in control.results())
            assert [ack["command_id"] for ack in control.of("command_ack")] == ["c1"]
            assert control.results()["c1"] == {
                "type": "command_result",
                "command_id": "c1",
                "agent_id": "agent-1",
                "status": "failed",
                "error": words,
                "error_code": "VALIDATION_FAILED",
            }
            (error,) = worker.errors
            assert isinstance(error, DecodeError)
            assert str(error) == f"from the control plane: {words}"
        assert handler.done == []


async def test_a_broken_command_that_comes_again_is_answered_again() -> None:
    async with plane() as control, control.agent(ready()):
        for _ in range(2):
            await control.sockets[0].send_json(command("c1", data=None))
        await settled(lambda: len(control.of("command_result")) == 2)
        assert len(control.of("command_ack")) == 2


@pytest.mark.parametrize("command_id", [7, "c1"])
async def test_an_unknown_command_is_answered_whatever_kind_of_id_it_has(
    command_id: object,
) -> None:
    async with plane() as control, control.agent(ready()):
        await control.sockets[0].send_json(command(command_id, "dance"))
        await settled(lambda: str(command_id) in control.results())
        assert control.results()[str(command_id)]["error_code"] == "UNKNOWN_COMMAND"


async def test_messages_of_one_frame_are_independent_of_each_other() -> None:
    async with plane() as control:
        handler = ready()
        async with control.agent(handler) as worker:
            frame = [
                json.dumps(command("c1", data=None)),
                "nonsense",
                json.dumps({"type": "news"}),
                json.dumps(command("c2"), indent=1),
                json.dumps(command(None)),
                json.dumps(command("c3", session_id="s3")),
            ]
            await control.sockets[0].send_str("\n".join(frame))
            await settled(lambda: set(control.results()) == {"c1", "c2", "c3"})
            assert handler.done == ["stop s1", "stop s3"]
            assert len(worker.errors) == 3


async def test_a_picture_that_is_asked_for_in_a_broken_message_is_refused_with_its_reason() -> None:
    async with plane() as control, control.agent(ready()):
        await control.sockets[0].send_json({"type": "vnc_proxy_request", "proxy_id": "p1"})
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        assert control.of("vnc_proxy_error") == [
            {
                "type": "vnc_proxy_error",
                "proxy_id": "p1",
                "error": "vnc_proxy_request: session_id is missing; data is missing",
            }
        ]


@pytest.mark.parametrize("interval", [10, "soon", None, ["1s"]])
async def test_a_heartbeat_interval_that_cannot_be_read_is_the_documented_one(
    interval: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with plane(interval) as control, control.agent(ready()) as worker:
        assert worker.registered
        assert "heartbeats every 10 s" in caplog.text


@pytest.mark.parametrize("interval", ["1us", "999ms"])
async def test_heartbeats_are_a_second_apart_at_least(
    interval: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with plane(interval) as control, control.agent(ready()):
        assert "heartbeats every 1 s" in caplog.text


async def test_the_documented_interval_is_used_when_the_one_that_comes_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_INTERVAL", 0.002)
    async with plane(10) as control, control.agent(ready()):
        await settled(lambda: len(control.of("heartbeat")) > 1)


async def test_an_acknowledgement_of_the_registration_that_cannot_be_read_is_named() -> None:
    async with plane() as control:
        control.status = cast("Any", {})
        worker = control.agent(ready())
        running = asyncio.create_task(worker.run())
        await settled(lambda: len(worker.errors) > 1)
        assert str(worker.errors[0]).endswith("register_ack: status: expected text")
        control.status = "registered"
        await worker.wait_registered()
        worker.stop()
        await running


async def test_words_of_a_handler_that_are_no_unicode_do_not_end_the_agent() -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = CommandFailed("FAILED", "no such file: caf\udce9")
        async with control.agent(handler):
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert control.results()["c1"]["error"] == "no such file: caf\\udce9"


async def test_why_a_handler_has_no_picture_reaches_the_control_plane() -> None:
    class Blind(Handler):
        async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
            raise CommandFailed("SESSION_NOT_FOUND", "this agent has no desktop for the session")

    async with plane() as control, control.agent(Blind()):
        ask = {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": "p1", "data": {}}
        await control.sockets[0].send_json(ask)
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        (said,) = control.of("vnc_proxy_error")
        assert said["error"] == "this agent has no desktop for the session"


# -- odd values of a handler -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        ("X", OSError("no space left"), "no space left"),
        ("X", TimeoutError(), "TimeoutError"),
        ("X", 7, "7"),
        (7, "no room", "no room"),
    ],
)
async def test_a_failure_may_be_given_an_exception_as_its_message(
    code: Any, message: Any, words: str
) -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = CommandFailed(code, message)
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert worker.errors == ()
        result = control.results()["c1"]
        assert (result["error_code"], result["error"]) == (str(code), words)


async def test_a_failure_whose_texts_were_replaced_is_answered_too() -> None:
    class Odd(Handler):
        async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
            raise cast("Exception", self.failure)

    failure = CommandFailed("X", "no room")
    failure.code, failure.message = cast("Any", (5, OSError("no space left")))
    async with plane() as control:
        handler = Odd()
        handler.gate.set()
        handler.failure = failure
        async with control.agent(handler):
            await control.command("start_session", "c1")
            ask = {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": "p1", "data": {}}
            await control.sockets[0].send_json(ask)
            await settled(lambda: "c1" in control.results() and bool(control.of("vnc_proxy_error")))
        result = control.results()["c1"]
        assert (result["error_code"], result["error"]) == ("5", "no space left")
        assert control.of("vnc_proxy_error")[0]["error"] == "no space left"


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (
            SessionResult(pod_ip=cast("Any", ip_address("10.0.0.1"))),
            (
                "a CommandResult cannot be written as JSON: "
                "Encoding objects of type IPv4Address is unsupported"
            ),
        ),
        ({"pod_name": "p"}, "not dict"),
        ({}, "not dict"),
        (True, "not bool"),
        (False, "not bool"),
    ],
)
async def test_what_a_handler_must_not_return_fails_its_command_alone(
    returned: Any, words: str
) -> None:
    class Odd(Handler):
        async def start_session(self, command: StartSession) -> SessionResult:
            return cast("SessionResult", returned)

    if words.startswith("not"):
        words = (
            f"the agent's handler must return a SessionResult or None for start_session, {words}"
        )
    async with plane() as control:
        async with control.agent(Odd()) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: len(control.of("command_result")) == 1)
            await control.command("start_session", "c1")
            await settled(lambda: len(control.of("command_result")) == 2)
            await control.command("stop_session", "c2")
            await settled(lambda: "c2" in control.results())
            assert control.results()["c2"]["status"] == "completed"
            (error,) = worker.errors
            assert isinstance(error, InvalidArgumentError)
        for result in control.of("command_result")[:2]:
            assert result["status"] == "failed"
            assert (result["error_code"], result["error"]) == ("INTERNAL_ERROR", words)


async def test_a_handler_that_awaited_a_cancelled_task_is_answered() -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = cast("Exception", asyncio.CancelledError())
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert "raised CancelledError" in str(worker.errors[0])
        assert control.results()["c1"]["error"] == "the agent's handler raised CancelledError"


async def test_an_error_without_words_of_its_own_is_answered() -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    async with plane() as control:
        handler = ready()
        handler.failure = Speechless()
        async with control.agent(handler):
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
        assert control.results()["c1"]["error"] == "the agent's handler raised Speechless"


@pytest.mark.parametrize(
    "arguments", [("s1", RuntimeError("over")), ("s1", None), (None, "over"), ("", "over")]
)
async def test_a_report_needs_an_id_and_a_text(arguments: Any) -> None:
    async with plane() as control, control.agent(ready()) as worker:
        await control.command("start_session", "c1")
        await settled(lambda: worker.sessions == {"s1"})
        with pytest.raises(InvalidArgumentError):
            worker.report_failed(*arguments)
        assert worker.sessions == {"s1"}
        await control.command("stop_session", "c2")
        await settled(lambda: "c2" in control.results())
        assert control.of("status") == []


async def test_an_agent_says_nothing_of_itself_that_json_cannot_hold() -> None:
    async with plane() as control:
        with pytest.raises(InvalidArgumentError, match="Register cannot be written as JSON"):
            control.agent(ready(), metadata={"address": ip_address("10.0.0.1")})


async def test_what_the_control_plane_repeats_of_the_token_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with plane() as control:
        control.status = f"not with {TOKEN}"
        worker = control.agent(ready())
        running = asyncio.create_task(worker.run())
        await settled(lambda: control.registrations > 2)
        said = str(worker.errors[0])
        control.status = "registered"
        await worker.wait_registered()
        worker.stop()
        await running
    assert "did not register the agent: not with ***" in said
    assert TOKEN not in caplog.text


# -- who is told -------------------------------------------------------------------------------------------------------


async def test_a_rejected_agent_ends_with_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with plane() as control:
        control.status = "rejected"
        with pytest.raises(AgentRejectedError, match="rejected agent agent-1"):
            await control.agent(ready()).run()
        with pytest.raises(AgentRejectedError):
            async with control.agent(ready()):
                pass
        assert control.registrations == 2
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_an_agent_that_is_not_registered_yet_says_so_and_asks_again() -> None:
    async with plane() as control:
        control.status = "pending"
        worker = control.agent(ready())
        running = asyncio.create_task(worker.run())
        await settled(lambda: control.registrations > 2)
        assert "did not register the agent: pending" in str(worker.errors[0])
        control.status = "registered"
        await worker.wait_registered()
        worker.stop()
        await running


async def test_a_lost_connection_is_told_with_its_reason_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lost: list[Exception] = []
    errors: list[Exception] = []

    async def on_lost(error: Exception) -> None:
        lost.append(error)

    async with plane() as control:
        async with control.agent(ready(), on_lost=on_lost, on_error=errors.append) as worker:
            await control.sockets[0].close(code=1008, message=b"the licence has ended")
            await settled(lambda: control.registrations == 2 and worker.registered)
        assert lost == errors == list(worker.errors)
        (error,) = lost
        assert isinstance(error, TransportError)
        said = (
            "the agent's socket was closed with code 1008 (policy violation): the licence has ended"
        )
        assert str(error) == said
        assert said in caplog.text


async def test_an_end_that_was_asked_for_is_no_loss() -> None:
    told: list[Exception] = []
    async with plane() as control:
        async with control.agent(ready(), on_lost=told.append, on_error=told.append):
            pass
    assert told == []


async def test_a_connection_that_never_came_about_is_an_error_but_no_loss() -> None:
    refusals = iter([503, 500])
    lost: list[Exception] = []
    errors: list[Exception] = []

    def refuse(request: web.Request) -> web.Response | None:
        status = next(refusals, None)
        return None if status is None else refusal(status, "BUSY")

    async with plane(refuse=refuse) as control:
        async with control.agent(ready(), on_lost=lost.append, on_error=errors.append):
            pass
    assert [cast("APIError", error).status for error in errors] == [503, 500]
    assert lost == []


async def test_a_handler_that_raises_is_told_and_logged_with_its_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors: list[Exception] = []
    async with plane() as control:
        handler = ready()
        handler.failure = RuntimeError("out of disk")
        async with control.agent(handler, on_error=errors.append):
            await control.command("start_session", "c1")
            await settled(lambda: bool(errors))
    assert errors == [handler.failure]
    assert "realtime_plane.py" in caplog.text


async def test_a_hook_that_raises_harms_nobody_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError("the hook is broken")

    async with plane() as control:
        async with control.agent(
            ready(), on_registered=broken, on_lost=broken, on_error=broken
        ) as worker:
            await control.sockets[0].close()
            await settled(lambda: control.registrations == 2 and worker.registered)
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results())
    assert "on_lost of agent agent-1 failed" in caplog.text
    assert "on_registered of agent agent-1 failed" in caplog.text


async def test_a_hook_must_be_a_function() -> None:
    async with plane() as control:
        with pytest.raises(InvalidArgumentError, match="on_error must be a function"):
            control.agent(ready(), on_error="print")


# -- what the control plane believes -----------------------------------------------------------------------------------


async def test_after_each_registration_an_agent_is_told_what_the_control_plane_believes() -> None:
    told: list[list[tuple[str | None, str | None]]] = []

    async def on_registered(sessions: Sequence[AgentSession]) -> None:
        told.append([(session.id, session.state) for session in sessions])

    async with plane() as control:
        over = [ROW | {"id": "s2", "state": "terminated"}, ROW | {"id": "s3", "state": "failed"}]
        control.assigned = [ROW, *over, ROW | {"id": "s4", "state": "pending"}]
        async with control.agent(ready(), on_registered=on_registered):
            await settled(lambda: len(told) == 1)
            control.assigned = []
            await control.sockets[0].close()
            await settled(lambda: len(told) == 2)
        assert told == [[("s1", "running"), ("s4", "pending")], []]
        (first, _) = [r for r in control.requests if r.path == "/api/v1/agents/agent-1"]
        assert first.headers["Authorization"]


async def test_commands_wait_while_an_agent_compares_what_it_has() -> None:
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


async def test_a_comparison_that_never_ends_is_cancelled_and_commands_go_on(
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
            "on_registered did not return within 0.2 s; commands go on"
        ]


async def test_while_the_sessions_cannot_be_read_commands_go_on_and_it_is_asked_again() -> None:
    answers = iter([refusal(500, "INTERNAL"), refusal(500, "INTERNAL"), refusal(500, "INTERNAL")])
    told: list[object] = []

    def refuse(request: web.Request) -> web.Response | None:
        return next(answers, None) if request.path.startswith("/api/v1/agents") else None

    async with plane(refuse=refuse) as control:
        errors: list[Exception] = []
        worker = control.agent(ready(), on_registered=told.append, on_error=errors.append)
        async with worker:
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results() and bool(told))
        assert told == [()]
        # The client itself tries three times.
        assert [cast("APIError", error).status for error in errors] == [500]


async def test_commands_wait_at_a_later_comparison_too() -> None:
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
async def test_an_agent_that_may_not_know_its_sessions_is_not_told_that_it_has_none(
    status: int,
) -> None:
    told: list[object] = []

    def refuse(request: web.Request) -> web.Response | None:
        return refusal(status, "NO") if request.path.startswith("/api/v1/agents") else None

    async with plane(refuse=refuse) as control:
        async with control.agent(ready(), on_registered=told.append) as worker:
            await settled(lambda: bool(worker.errors))
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results())
        assert told == []
        assert len([r for r in control.requests if r.path.startswith("/api/v1/agents")]) == 1


async def test_an_answer_without_sessions_does_not_pass_for_none() -> None:
    told: list[object] = []
    async with plane() as control:
        control.assigned = None
        async with control.agent(ready(), on_registered=told.append) as worker:
            await settled(lambda: bool(worker.errors))
            assert "does not say which sessions" in str(worker.errors[0])
            assert told == []
            control.assigned = [ROW]
            await settled(lambda: bool(told))


async def test_a_session_that_nobody_is_behind_is_reported() -> None:
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


# -- the token of a picture's socket -----------------------------------------------------------------------------------


def expired_for_pictures(request: web.Request) -> web.Response | None:
    stale = request.headers.get("Authorization") != "Bearer fresh"
    return refusal(401, "AUTH_TOKEN_EXPIRED") if "/vnc/" in request.path and stale else None


async def listening() -> tuple[asyncio.Server, int]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_token_that_has_expired_when_a_picture_is_opened_is_renewed_by_a_login() -> None:
    tokens = iter(["stale", "fresh"])

    def refuse(request: web.Request) -> web.Response | None:
        if request.path.endswith("/auth/login"):
            return web.json_response({"token": next(tokens), "expires_at": None})
        return expired_for_pictures(request)

    server, port = await listening()
    async with server, plane(refuse=refuse) as control:
        endpoint = Endpoint(control.base_url, auth=BearerAuth.login("agent", "password"))
        handler = ready()
        handler.address = ("127.0.0.1", port)
        async with StreamSpace(endpoint) as own:
            retry = RetryPolicy(base=0.001, cap=0.005)
            worker = own.serve_agent("agent-1", platform="docker", handler=handler, retry=retry)
            async with worker:
                ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
                await control.sockets[0].send_json(ask)
                await settled(lambda: bool(control.of("bytes")))
                assert worker.errors == ()
        await settled(lambda: not any("greet" in repr(task) for task in asyncio.all_tasks()))


async def test_a_token_that_cannot_be_renewed_ends_the_agent_as_it_does_on_its_own_socket() -> None:
    server, port = await listening()
    async with server, plane(refuse=expired_for_pictures) as control:
        handler = ready()
        handler.address = ("127.0.0.1", port)
        running = asyncio.create_task(control.agent(handler).run())
        await settled(lambda: bool(control.registrations))
        ask = {"type": "vnc_proxy_request", "session_id": "s", "proxy_id": "p", "data": {}}
        await control.sockets[0].send_json(ask)
        with pytest.raises(AuthenticationError):
            await running
        await settled(lambda: not any("greet" in repr(task) for task in asyncio.all_tasks()))


def test_a_rejection_is_an_error_of_this_package() -> None:
    assert issubclass(AgentRejectedError, VCloudError)


# -- two of one name -------------------------------------------------------------------------------


async def test_two_agents_of_one_name_do_not_flap_and_say_why_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", logger="vcloud.streamspace.agent")
    retry = RetryPolicy(base=0.001, cap=0.1)

    def pauses() -> list[float]:
        """Those of both agents, in the order in which they lost their connections."""
        lost = [one for one in caplog.records if "connects again" in str(one.msg)]
        return [cast("tuple[object, object, float]", one.args)[2] for one in lost]

    async with Emulator() as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        async with StreamSpace(endpoint) as one, StreamSpace(endpoint) as other:
            agents = [
                space.serve_agent("host-01", platform="docker", handler=ready(), retry=retry)
                for space in (one, other)
            ]
            async with agents[0]:
                second = asyncio.create_task(agents[1].run())
                await settled(lambda: len(pauses()) >= 20)
                agents[1].stop()
                await second
    # One of the two has lost its connection ten times; a fresh start each time were 0.0015 at most.
    assert sum(pause >= 0.05 for pause in pauses()) >= 4
    said = [one.getMessage() for one in caplog.records if "another agent" in one.getMessage()]
    assert len(said) == 2, "each of them once"
    assert "agent host-01 was registered 3 times in a row" in said[0]
    assert "agent_id of its own" in said[0]
