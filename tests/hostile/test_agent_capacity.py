"""How many sessions an agent accepts, whatever its control plane asks for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hostile.busy_agent import FULL, Busy, failed, rooms
from tests.integration.realtime_plane import plane, ready
from tests.integration.realtime_server import settled
from vcloud import InvalidArgumentError
from vcloud.providers.streamspace import (
    CommandFailed,
    SessionResult,
    StartSession,
)


async def test_no_more_sessions_are_started_at_once_than_were_declared() -> None:
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler, **rooms(5)) as worker:
            for number in range(300):
                await control.command("start_session", f"c{number}", f"s{number}")
            await settled(lambda: len(control.results()) == 295)
            assert handler.most == handler.now == 5
            result = control.results()["c5"]
            assert result == {
                "type": "command_result",
                "command_id": "c5",
                "agent_id": "agent-1",
                "status": "failed",
                "error": "the agent has no room for another session: it takes 5 at once",
                "error_code": FULL,
            }
            assert len(control.of("command_ack")) == 300
            handler.gate.set()
            await settled(lambda: len(worker.sessions) == 5)
            # Those that run count as those did that were under way.
            await control.command("start_session", "late", "another")
            await settled(lambda: failed(control, "late"))
        assert len(handler.done) == 5


async def test_a_session_that_ended_makes_room_for_another() -> None:
    async with plane() as control, control.agent(ready(), **rooms(1)) as worker:
        await control.command("start_session", "c1", "s1")
        await settled(lambda: worker.sessions == {"s1"})
        for number, end in enumerate(("stop_session", "hibernate_session")):
            await control.command("start_session", f"no{number}", "s2")
            await settled(lambda number=number: failed(control, f"no{number}"))  # type: ignore[misc]
            await control.command(end, end, "s1")
            await settled(lambda: worker.sessions == set())
            await control.command("start_session", f"yes{number}", "s1")
            await settled(lambda: worker.sessions == {"s1"})


async def test_waking_a_session_needs_room_too_and_counts_from_the_beginning() -> None:
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler, **rooms(1)) as worker:
            await control.command("wake_session", "c1", "s1")
            await control.command("start_session", "c2", "s2")
            await control.command("wake_session", "c3", "s3")
            await settled(lambda: failed(control, "c2", "c3"))
            handler.gate.set()
            await settled(lambda: worker.sessions == {"s1"})
            assert handler.done == ["wake s1"]


async def test_a_second_command_for_a_session_does_not_count_again() -> None:
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler, **rooms(1)) as worker:
            await control.command("start_session", "c1", "s1")
            await control.command("start_session", "c2", "s1")
            await settled(lambda: handler.now == 2)
            handler.gate.set()
            await settled(lambda: len(control.results()) == 2)
            await control.command("wake_session", "c3", "s1")
            await settled(lambda: "c3" in control.results())
            assert [one["status"] for one in control.results().values()] == ["completed"] * 3
            assert worker.sessions == {"s1"}


async def test_a_start_that_failed_does_not_count() -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = CommandFailed("X", "no")
        async with control.agent(handler, **rooms(1)) as worker:
            for number in range(3):
                await control.command("start_session", f"c{number}", f"s{number}")
                await settled(lambda number=number: f"c{number}" in control.results())  # type: ignore[misc]
            handler.failure = None
            await control.command("start_session", "good", "s9")
            await settled(lambda: worker.sessions == {"s9"})
        assert not failed(control, "c1")


async def test_a_session_counts_until_its_stop_was_carried_out() -> None:
    class Stuck(Busy):
        async def start_session(self, command: StartSession) -> SessionResult:
            return SessionResult()

    async with plane() as control:
        handler = Stuck()
        async with control.agent(handler, **rooms(1)) as worker:
            await control.command("start_session", "c1", "s1")
            await settled(lambda: worker.sessions == {"s1"})
            await control.command("stop_session", "c2", "s1")
            await settled(lambda: handler.now == 1)
            await control.command("start_session", "c3", "s3")
            await settled(lambda: failed(control, "c3"))
            handler.gate.set()
            await settled(lambda: worker.sessions == set())


async def test_a_refused_command_that_comes_again_is_refused_again_though_there_is_room() -> None:
    async with plane() as control, control.agent(ready(), **rooms(1)) as worker:
        await control.command("start_session", "c1", "s1")
        await settled(lambda: worker.sessions == {"s1"})
        await control.command("start_session", "c2", "s2")
        await settled(lambda: failed(control, "c2"))
        await control.command("stop_session", "c3", "s1")
        await settled(lambda: worker.sessions == set())
        await control.command("start_session", "c2", "s2")
        await settled(lambda: len(control.of("command_result")) == 4)
        first, second = (one for one in control.of("command_result") if one["command_id"] == "c2")
        assert first == second
        assert worker.sessions == set()


@pytest.mark.parametrize("wrong", [-1, 1.5, "5", True])
async def test_a_capacity_is_a_number_of_sessions(wrong: Any) -> None:
    async with plane() as control:
        with pytest.raises(InvalidArgumentError, match="max_sessions must be a whole number"):
            control.agent(ready(), **rooms(wrong))
        with pytest.raises(InvalidArgumentError, match="capacity must be an AgentCapacity"):
            control.agent(ready(), capacity={"max_sessions": 5})


async def test_a_region_that_no_url_can_hold_is_refused_before_it_connects() -> None:
    async with plane() as control:
        with pytest.raises(InvalidArgumentError, match=r"region cannot be 'r\\udce9'"):
            control.agent(ready(), region="r\udce9")


async def test_an_agent_without_room_starts_no_session() -> None:
    async with plane() as control, control.agent(ready(), **rooms(0)):
        await control.command("start_session", "c1")
        await settled(lambda: failed(control, "c1"))
