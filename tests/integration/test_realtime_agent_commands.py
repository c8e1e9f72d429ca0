"""Commands that an agent cannot read, and handlers that return or raise odd values."""

from __future__ import annotations

import asyncio
import json
import logging
from ipaddress import ip_address
from typing import Any, cast

import pytest

from tests.integration.realtime_plane import Handler, plane, ready
from tests.integration.realtime_server import TOKEN, settled
from vcloud import (
    DecodeError,
    InvalidArgumentError,
)
from vcloud.providers.streamspace import (
    CommandFailed,
    SessionResult,
    StartSession,
    VNCProxyRequest,
)
from vcloud.providers.streamspace.agent import connection

START = {"name": "n", "user": "u", "template": "t"}


def command(command_id: object, kind: str = "stop_session", **more: object) -> dict[str, Any]:
    whole = {
        "type": "command",
        "command_id": command_id,
        "command_type": kind,
        "session_id": "s1",
        "data": {"name": "n"},
    }
    return {name: value for name, value in (whole | more).items() if value is not ...}


# -- commands that cannot be read ------------------------------------------------------------------


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


async def test_a_viewer_in_a_broken_request_is_refused_with_the_reason() -> None:
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


async def test_invalid_unicode_from_a_handler_is_escaped() -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = CommandFailed("FAILED", "no such file: caf\udce9")
        async with control.agent(handler):
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert control.results()["c1"]["error"] == "no such file: caf\\udce9"


async def test_the_reason_of_a_failed_vnc_address_is_sent() -> None:
    class Blind(Handler):
        async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
            raise CommandFailed("SESSION_NOT_FOUND", "this agent has no desktop for the session")

    async with plane() as control, control.agent(Blind()):
        ask = {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": "p1", "data": {}}
        await control.sockets[0].send_json(ask)
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        (said,) = control.of("vnc_proxy_error")
        assert said["error"] == "this agent has no desktop for the session"


# -- odd values of a handler -----------------------------------------------------------------------


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
async def test_an_invalid_result_fails_its_command_only(returned: Any, words: str) -> None:
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


async def test_an_error_whose_text_raises_is_answered() -> None:
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


async def test_a_registration_that_json_cannot_hold_is_refused() -> None:
    async with plane() as control:
        with pytest.raises(InvalidArgumentError, match="Register cannot be written as JSON"):
            control.agent(ready(), metadata={"address": ip_address("10.0.0.1")})


async def test_a_token_that_the_control_plane_repeats_is_redacted(
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
