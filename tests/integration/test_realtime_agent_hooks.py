"""What an agent reports: to its user's hooks, to its errors and to the log."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest
from aiohttp import web

from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import refusal, settled
from vcloud import (
    APIError,
    InvalidArgumentError,
    RetryPolicy,
    TransportError,
    VCloudError,
)
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    AgentRejectedError,
    StreamSpace,
)


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


async def test_a_pending_registration_is_reported_and_repeated() -> None:
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


async def test_a_lost_connection_calls_on_lost_with_the_reason_and_is_logged(
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


async def test_stopping_calls_no_hook() -> None:
    reported: list[Exception] = []
    async with plane() as control:
        async with control.agent(ready(), on_lost=reported.append, on_error=reported.append):
            pass
    assert reported == []


async def test_a_failed_connection_calls_on_error_only() -> None:
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


async def test_a_handlers_error_is_reported_and_logged_with_its_traceback(
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


async def test_a_hook_that_raises_is_logged_and_the_agent_continues(
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


def test_a_rejection_is_an_error_of_this_package() -> None:
    assert issubclass(AgentRejectedError, VCloudError)


# -- two agents of one name ------------------------------------------------------------------------


async def test_two_agents_of_one_name_back_off_and_each_logs_it_once(
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
