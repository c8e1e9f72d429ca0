"""The agent's side over real sockets, against a control plane that the test scripts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from tests.integration.realtime_plane import Handler, plane, ready
from tests.integration.realtime_server import AUTH, client, others, refusal, serving, settled
from vcloud import AuthenticationError, ConfigurationError, InvalidArgumentError
from vcloud.providers.streamspace import (
    AgentCapacity,
    CommandFailed,
)
from vcloud.providers.streamspace.agent import connection


async def test_an_agent_registers_with_its_name_and_capacity() -> None:
    async with plane() as control:
        options = {
            "region": "eu",
            "capacity": AgentCapacity(max_sessions=5),
            "metadata": {"agent_version": "1"},
        }
        async with control.agent(ready(), **options) as worker:
            assert worker.registered
        assert not worker.registered
        assert control.of("register") == [
            {
                "type": "register", "agent_id": "agent-1", "platform": "docker", "region": "eu",
                "capacity": {"max_sessions": 5}, "metadata": {"agent_version": "1"},
            }
        ]  # fmt: skip
        request = control.requests[0]
        assert dict(request.query) == {"agent_id": "agent-1", "platform": "docker", "region": "eu"}
        assert request.headers["Authorization"] == AUTH
        await settled(lambda: control.sockets[0].closed)
        assert control.sockets[0].close_code == 1000


async def test_heartbeats_come_as_often_as_asked_and_count_the_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "MIN_HEARTBEAT_INTERVAL", 0.001)
    async with plane("2ms") as control, control.agent(ready()):
        await control.command("start_session", "c1")
        await settled(
            lambda: any(
                beat["capacity"] == {"current_sessions": 1} for beat in control.of("heartbeat")
            )
        )
        await control.command("hibernate_session", "c2")
        await settled(lambda: "c2" in control.results())
        count = len(control.of("heartbeat"))
        await settled(lambda: len(control.of("heartbeat")) > count + 1)
        assert control.of("heartbeat")[-1]["capacity"] == {"current_sessions": 0}


async def test_commands_are_acknowledged_at_once_run_together_and_answered() -> None:
    async with plane() as control:
        handler = Handler()
        async with control.agent(handler) as worker:
            for number in range(3):
                await control.command("start_session", f"c{number}", f"s{number}")
            await settled(lambda: len(control.of("command_ack")) == 3 and len(handler.running) == 3)
            assert control.results() == {}
            handler.gate.set()
            for kind in ("hibernate_session", "wake_session", "stop_session"):
                await control.command(kind, kind)
            await settled(lambda: len(control.results()) == 6)
            assert worker.sessions == {"s0", "s2"}
        assert control.results()["c0"] == {
            "type": "command_result", "command_id": "c0", "agent_id": "agent-1",
            "status": "completed",
            "result": {"session_id": "s0", "pod_name": "s0", "vnc_port": 5900},
        }  # fmt: skip
        assert all(result["status"] == "completed" for result in control.results().values())


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (CommandFailed("INSUFFICIENT_RESOURCES", "no room"), "INSUFFICIENT_RESOURCES", "no room"),
        (
            RuntimeError("password=hunter2"),
            "INTERNAL_ERROR",
            "the agent's handler raised RuntimeError",
        ),
    ],
)
async def test_a_handler_that_fails_is_answered_with_a_code_and_no_traceback(
    failure: Exception, code: str, words: str
) -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = failure
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert worker.sessions == frozenset()
            assert worker.errors == ((failure,) if code == "INTERNAL_ERROR" else ())
        result = control.results()["c1"]
        assert (result["status"], result["error_code"], result["error"]) == ("failed", code, words)


async def test_a_command_that_comes_again_runs_once_and_is_answered_again() -> None:
    async with plane() as control:
        handler = Handler()
        async with control.agent(handler):
            await control.command("start_session", "c1")
            await control.command("start_session", "c1")
            await settled(lambda: len(control.of("command_ack")) == 2)
            handler.gate.set()
            await settled(lambda: len(control.of("command_result")) == 1)
            await control.command("start_session", "c1")
            await settled(lambda: len(control.of("command_result")) == 2)
        first, second = control.of("command_result")
        assert first == second
        assert handler.done == ["start s1"]


async def test_messages_that_an_agent_does_not_know_do_not_end_it() -> None:
    async with plane() as control, control.agent(ready()) as worker:
        socket = control.sockets[0]
        await socket.send_str("nonsense")
        await socket.send_str('{"type":"news"}')
        await control.command("dance", "c1")
        await socket.send_str('{"type":"command","command_type":"stop_session","command_id":"c2"}')
        await control.command("stop_session", "c3")
        await settled(lambda: {"c1", "c3"} <= set(control.results()))
        assert control.results()["c1"]["error_code"] == "UNKNOWN_COMMAND"
        assert len(worker.errors) == 2


async def test_a_draining_agent_starts_nothing_but_does_everything_else() -> None:
    async with plane() as control, control.agent(ready()) as worker:
        worker.drain()
        await control.command("start_session", "c1")
        await control.command("stop_session", "c2")
        await settled(lambda: len(control.results()) == 2)
        assert control.results()["c1"]["error_code"] == "AGENT_DRAINING"
        assert control.results()["c2"]["status"] == "completed"


async def test_after_a_lost_connection_commands_continue_and_are_answered_on_the_next() -> None:
    async with plane() as control:
        handler = Handler()
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: bool(handler.running))
            transport = control.requests[0].transport
            assert transport is not None
            transport.abort()
            # It may have reconnected before this runs, so look at the errors.
            await settled(lambda: bool(worker.errors))
            handler.gate.set()
            await settled(lambda: "c1" in control.results())
            assert control.registrations == 2
            assert control.results()["c1"]["status"] == "completed"
            assert worker.errors


async def test_an_agent_keeps_trying_until_the_control_plane_takes_it() -> None:
    refusals = iter([503, 409, 500])

    def refuse(request: web.Request) -> web.Response | None:
        status = next(refusals, None)
        return None if status is None else refusal(status, "BUSY")

    async with plane(refuse=refuse) as control, control.agent(ready()) as worker:
        assert [getattr(error, "status", None) for error in worker.errors] == [503, 409, 500]


async def test_an_agent_whose_token_is_refused_ends_with_the_error() -> None:
    async with plane(refuse=lambda request: refusal(401, "AUTH_TOKEN_INVALID")) as control:
        with pytest.raises(AuthenticationError):
            async with control.agent(ready()):
                pass
        with pytest.raises(AuthenticationError):
            await control.agent(ready()).run()


async def test_on_the_way_out_commands_under_way_are_finished_and_answered() -> None:
    async with plane() as control:
        handler = Handler()
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: bool(handler.running))
            worker.stop()
            await control.command("stop_session", "c2")
            await settled(lambda: "c2" in control.results())
            handler.gate.set()
        await settled(lambda: "c1" in control.results())
        assert control.results()["c1"]["status"] == "completed"
        assert control.results()["c2"]["error_code"] == "AGENT_DRAINING"


async def test_when_the_grace_time_is_over_commands_are_cancelled_and_answered_as_failed() -> None:
    async with plane() as control:
        handler = Handler()
        async with control.agent(handler, grace=0.005):
            await control.command("start_session", "c1")
            await settled(lambda: bool(handler.running))
        await settled(lambda: "c1" in control.results())
        assert handler.cancelled == ["s1"]
        assert control.results()["c1"]["error_code"] == "AGENT_OFFLINE"


async def test_a_cancelled_agent_leaves_no_task() -> None:
    async with plane() as control:
        before = others()
        for steps in range(0, 60, 3):
            handler = Handler()
            running = asyncio.create_task(control.agent(handler).run())
            for _ in range(steps):
                await asyncio.sleep(0)
            if control.sockets and not control.sockets[-1].closed:
                with contextlib.suppress(ConnectionError):
                    await control.command("start_session", f"c{steps}")
            running.cancel()
            await asyncio.wait({running})
            assert running.cancelled()
            assert not handler.running
    assert not (others() - before)


async def test_each_viewer_has_a_websocket_of_its_own() -> None:
    async def vnc_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB " + await reader.readexactly(15))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(vnc_server, "127.0.0.1", 0)
    async with server, plane() as control:
        handler = ready()
        handler.address = ("127.0.0.1", server.sockets[0].getsockname()[1])
        async with control.agent(handler):
            ask = {"type": "vnc_proxy_request", "session_id": "s1", "data": {"vnc_port": 5900}}
            await control.sockets[0].send_json(ask | {"proxy_id": "proxy-1"})
            await control.sockets[0].send_json(ask | {"proxy_id": "proxy-2"})
            await settled(lambda: len(control.of("bytes")) == 2)
            assert {message["data"] for message in control.of("bytes")} == {b"RFB from the viewer"}
            await control.proxied["proxy-1"].close()
            assert not control.proxied["proxy-2"].closed
        await settled(lambda: control.proxied["proxy-2"].closed)
        # The VNC server's own tasks have to see the end of their connections.
        await settled(lambda: not any("vnc_server" in repr(task) for task in others()))


@pytest.mark.parametrize("proxy_id", ["proxy-1", ".."])
async def test_a_vnc_server_that_cannot_be_reached_is_a_vnc_proxy_error(
    proxy_id: str,
) -> None:
    async with plane() as control, control.agent(ready()) as worker:
        await control.sockets[0].send_json(
            {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": proxy_id, "data": {}}
        )
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        (found,) = control.of("vnc_proxy_error")
        assert (found["proxy_id"], found["session_id"]) == (proxy_id, "s1")
        assert worker.errors


async def test_an_agent_runs_once_and_checks_its_arguments() -> None:
    async with plane() as control:
        async with control.agent(ready()) as worker:
            with pytest.raises(ConfigurationError, match="once"):
                await worker.run()
        with pytest.raises(InvalidArgumentError):
            control.agent(ready(), grace=-1)
        assert control.streamspace is not None
        with pytest.raises(InvalidArgumentError):
            control.streamspace.serve_agent(" ", platform="docker", handler=ready())
        with pytest.raises(
            InvalidArgumentError, match="NoneType has no start_session, hibernate_session"
        ):
            control.streamspace.serve_agent("agent-1", platform="docker", handler=None)  # type: ignore[arg-type]


async def test_waiting_for_an_agent_that_is_refused_raises() -> None:
    async with serving(
        lambda *_: asyncio.sleep(0), lambda _: refusal(401, "UNAUTHORIZED")
    ) as server:
        async with client(server) as streamspace:
            worker = streamspace.serve_agent("agent-1", platform="docker", handler=ready())
            running = asyncio.create_task(worker.run())
            with pytest.raises(ConfigurationError, match="has ended"):
                await worker.wait_registered()
            with pytest.raises(AuthenticationError):
                await running
