"""How much an agent accepts, whatever its control plane asks for."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tracemalloc

import pytest

from tests.hostile.busy_agent import Busy, failed, rooms
from tests.integration.realtime_plane import Handler, Plane, plane, ready
from tests.integration.realtime_server import settled
from vcloud import VCloudError
from vcloud.providers.streamspace import (
    CommandFailed,
    VNCProxyRequest,
)
from vcloud.providers.streamspace.agent import (
    command_limits,
    connection,
    hooks,
    result_cache,
)
from vcloud.providers.streamspace.agent.documented import vnc_viewers

# -- commands --------------------------------------------------------------------------------------


async def test_a_storm_of_commands_of_one_kind_keeps_no_other_kind_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_limits, "MAX_IN_FLIGHT", 20)
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler) as worker:
            for number in range(50):
                await control.command("stop_session", f"c{number}", f"s{number}")
            await settled(lambda: len(control.results()) == 30)
            assert handler.most == 20
            assert control.results()["c20"]["error"] == (
                "20 stop_session commands are in flight, and the agent accepts no more at once"
            )
            assert failed(control, *[f"c{number}" for number in range(20, 50)])
            await control.command("start_session", "start")
            await settled(lambda: handler.now == 21)
            handler.gate.set()
            await settled(lambda: worker.sessions == {"s1"} and handler.now == 0)
            await control.command("stop_session", "again", "s1")
            await settled(lambda: worker.sessions == set())


async def test_an_agent_accepts_as_many_starts_at_once_as_it_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_limits, "MAX_IN_FLIGHT", 20)
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler, **rooms(30)):
            for number in range(31):
                await control.command("start_session", f"c{number}", f"s{number}")
            await settled(lambda: failed(control, "c30"))
            assert handler.now == 30
            handler.gate.set()


async def test_large_commands_are_bounded_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_limits, "MAX_IN_FLIGHT_SIZE", 100_000)
    data = {"name": "n", "user": "u", "template": "t", "environment": {"A": "x" * 40_000}}
    async with plane() as control:
        handler = Busy()
        async with control.agent(handler):
            for number in range(10):
                await control.sockets[0].send_json(
                    {
                        "type": "command",
                        "command_type": "start_session",
                        "command_id": f"c{number}",
                        "session_id": f"s{number}",
                        "data": data,
                    }
                )
            await settled(lambda: len(control.results()) == 8)
            assert handler.now == 2
            handler.gate.set()


async def test_unknown_commands_are_answered_and_their_ids_forgotten() -> None:
    handler = ready()
    async with plane() as control, control.agent(handler):
        await control.command("stop_session", "kept")
        await settled(lambda: "kept" in control.results())
        for number in range(result_cache.MAX_RESULTS + 10):
            await control.command("dance", f"c{number}")
        await settled(lambda: len(control.results()) == result_cache.MAX_RESULTS + 11)
        # What was carried out is not pushed out by them.
        await control.command("stop_session", "kept")
        await settled(lambda: len(control.of("command_result")) == result_cache.MAX_RESULTS + 12)
        assert handler.done == ["stop s1"]


async def test_ids_that_no_answer_can_hold_are_not_kept() -> None:
    async with plane() as control, control.agent(ready()) as worker:
        gc.collect()
        tracemalloc.start()
        try:
            for number in range(30):
                await control.command("dance", str(number).ljust(2**20, "x"))
                await control.command("stop_session", str(number).ljust(2**20, "y"))
                await control.command("stop_session", f"c{number}", str(number).ljust(2**20, "z"))
            await settled(lambda: len(control.results()) == 30)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 8 * 2**20
        finally:
            tracemalloc.stop()
        assert {one["error_code"] for one in control.results().values()} == {"VALIDATION_FAILED"}
        assert worker.registered
        assert all(len(str(error)) < 400 for error in worker.errors)


async def test_the_result_cache_is_bounded_in_bytes() -> None:
    kept = result_cache.ResultCache()
    for number in range(300):
        kept.add(f"c{number}", str(number).ljust(100_000, "x"))
    assert kept.get("c0") is None
    assert kept.get("c299") is not None
    held = [kept.get(f"c{number}") for number in range(300)]
    assert sum(sys.getsizeof(text) for text in held if text) <= result_cache.MAX_RESULT_BYTES
    # The same id twice is one answer.
    for _ in range(100):
        kept.add("c1", "x" * 100_000)
    assert kept.get("c299") is not None


# -- viewers ---------------------------------------------------------------------------------------


class Watched(Handler):
    """A handler with which viewers wait until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        self.asked.append(request.session_id)
        await self.gate.wait()
        raise CommandFailed("X", "not today")


async def look(control: Plane, count: int, session_id: str) -> None:
    for number in range(count):
        await control.sockets[0].send_json(
            {
                "type": "vnc_proxy_request",
                "session_id": session_id,
                "proxy_id": f"{session_id}-{number}",
                "data": {},
            }
        )


async def test_viewers_are_limited_for_each_session_and_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vnc_viewers, "MAX_PER_SESSION", 4)
    monkeypatch.setattr(vnc_viewers, "MAX_CONNECTIONS", 10)
    async with plane() as control:
        handler = Watched()
        async with control.agent(handler):
            await look(control, 6, "s1")
            await settled(lambda: len(control.of("vnc_proxy_error")) == 2)
            assert control.of("vnc_proxy_error")[0] == {
                "type": "vnc_proxy_error",
                "proxy_id": "s1-4",
                "session_id": "s1",
                "error": "the session has 4 viewers, and the agent takes no more of it",
            }
            await look(control, 4, "s2")
            await look(control, 4, "s3")
            await settled(lambda: len(control.of("vnc_proxy_error")) == 4)
            assert control.of("vnc_proxy_error")[-1]["error"] == (
                "the agent has 10 viewers, and takes no more"
            )
            assert handler.asked == ["s1"] * 4 + ["s2"] * 4 + ["s3"] * 2
            # Those that end leave their places.
            handler.gate.set()
            await settled(lambda: len(control.of("vnc_proxy_error")) == 14)
            await look(control, 1, "s1")
            await settled(lambda: len(handler.asked) == 11)


async def test_three_hundred_viewers_of_a_session_are_not_all_taken() -> None:
    async with plane() as control:
        handler = Watched()
        async with control.agent(handler):
            await look(control, 300, "s1")
            await settled(lambda: len(control.of("vnc_proxy_error")) == 100)
            assert len(handler.asked) == 200
            handler.gate.set()


# -- heartbeats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ("1us", 1), ("999ms", 1), ("1s", 1), ("30s", 30), ("31s", 30), ("1h", 30),
        ("2562047h47m", 30), ("0s", 10), ("0", 10), ("-5s", 10), ("-0s", 10), ("NaN", 10),
        ("nan s", 10), ("inf", 10), ("1e400s", 10),
        ("9" * 400 + "h", 10), (float("nan"), 10), (1e308, 10), (True, 10), ("", 10),
    ],
)  # fmt: skip
async def test_heartbeats_are_a_second_to_half_a_minute_apart_whatever_is_asked(
    interval: object, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with plane(interval) as control, control.agent(ready()) as worker:
        assert worker.registered
        assert f"with heartbeats every {seconds} s" in caplog.text
        assert (connection.MIN_HEARTBEAT_INTERVAL, connection.MAX_HEARTBEAT_INTERVAL) == (1, 30)


# -- hooks -----------------------------------------------------------------------------------------


async def test_hooks_that_do_not_return_are_not_called_without_end() -> None:
    called = 0

    async def stuck(error: Exception) -> None:
        nonlocal called
        called += 1
        await asyncio.Event().wait()

    async with plane() as control:
        async with control.agent(ready(), on_error=stuck, grace=0.01) as worker:
            for _ in range(3 * hooks.MAX_HOOK_CALLS):
                await control.sockets[0].send_str("nonsense")
            await control.command("stop_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert called == hooks.MAX_HOOK_CALLS
            assert all(isinstance(error, VCloudError) for error in worker.errors)
