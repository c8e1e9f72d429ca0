"""The messages that an agent sends and reads: a strange one does not affect the others."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any, Final, cast

import pytest

from tests.hostile.growth import check_growth
from tests.integration.realtime_plane import Handler, plane, ready
from tests.integration.realtime_server import settled
from vcloud.providers.streamspace import CommandFailed, Platform, SessionResult, StartSession
from vcloud.providers.streamspace.agent import outbox
from vcloud.providers.streamspace.agent.commands import CommandRunner
from vcloud.providers.streamspace.agent.messages import Register, UnreadableMessage
from vcloud.providers.streamspace.agent.parsing import MAX_UNREADABLE, iter_messages, read_messages
from vcloud.providers.streamspace.agent.writing import encode_message

REGISTER: Final = Register(agent_id="agent-1", platform=Platform.DOCKER)
DATA: Final = {"name": "n", "user": "u", "template": "t"}
START: Final = {
    "type": "command",
    "command_type": "start_session",
    "command_id": "c",
    "session_id": "s",
    "data": DATA,
}


# -- messages that it sends ------------------------------------------------------------------------


class Blocked:
    """A connection that sends nothing until it is unblocked, and then keeps what it sent."""

    def __init__(self) -> None:
        self.unblocked = asyncio.Event()
        self.sent: list[str] = []

    async def send_text(self, text: str) -> None:
        await self.unblocked.wait()
        self.sent.append(text)


async def test_unsent_messages_are_bounded_in_number_and_size() -> None:
    box, blocked = outbox.Outbox(), Blocked()
    box.write_with(encode_message)
    errors: list[Exception] = []
    commands = CommandRunner(REGISTER, ready(), box, errors.append)
    sending = asyncio.create_task(box.send_all(blocked.send_text))
    await asyncio.sleep(0)
    for number in range(3 * outbox.MAX_UNSENT):
        commands.report_failed(f"s{number}", "over")
    assert len(box) == outbox.MAX_UNSENT
    for number in range(2000):
        box.put_text("x" * 50_000 + str(number))
    assert box.size <= outbox.MAX_UNSENT_SIZE
    unsent, size = len(box), box.size
    blocked.unblocked.set()
    await box.wait_empty()
    # The first one was being sent before.
    assert unsent <= len(blocked.sent) <= unsent + 1
    assert sum(map(len, blocked.sent[-unsent:])) == size
    assert blocked.sent[-1].endswith("1999")
    assert errors == []
    sending.cancel()


async def test_an_agent_whose_control_plane_reads_nothing_does_not_grow() -> None:
    async with plane() as control:
        async with control.agent(ready(), grace=0.01) as worker:
            socket = control.sockets[0]
            transport = control.requests[0].transport
            assert transport is not None
            cast("asyncio.ReadTransport", transport).pause_reading()
            line = json.dumps(
                {
                    "type": "command",
                    "command_type": "dance",
                    "command_id": "c" * 1000,
                    "session_id": "s1",
                }
            )
            frame = "\n".join([line] * 500)
            gc.collect()
            tracemalloc.start()
            try:
                for _ in range(15):
                    await socket.send_str(frame)
                await socket.ping()
                await settled(lambda: worker.unsent == outbox.MAX_UNSENT)
                gc.collect()
                # 4096 answers of some 1.2 kB, and what the two sides of the socket hold.
                assert tracemalloc.get_traced_memory()[0] < 16 * 2**20
            finally:
                tracemalloc.stop()
            cast("asyncio.ReadTransport", transport).resume_reading()


@pytest.mark.parametrize(
    "returned",
    [
        SessionResult(pod_name="x" * 1_000_000),
        SessionResult(pod_name="\ud83d" * 30_000),
        SessionResult(vnc_port=cast("Any", object())),
    ],
    ids=["long", "long escapes", "no JSON"],
)
async def test_an_unusable_result_fails_its_command_only(returned: Any) -> None:
    class Odd(Handler):
        async def start_session(self, command: StartSession) -> SessionResult:
            return cast("SessionResult", returned)

    async with plane() as control, control.agent(Odd()) as worker:
        await control.command("start_session", "c1")
        await control.command("stop_session", "c2")
        await settled(lambda: len(control.results()) == 2)
        assert control.results()["c1"]["error_code"] == "INTERNAL_ERROR"
        assert control.results()["c2"]["status"] == "completed"
        assert worker.registered


async def test_a_long_reason_of_a_handler_is_shortened() -> None:
    async with plane() as control:
        handler = ready()
        handler.failure = CommandFailed("X" * 10_000, "no " * 1_000_000)
        async with control.agent(handler) as worker:
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            result = control.results()["c1"]
            assert len(result["error"]) < 4200
            assert result["error"].endswith("… (3000000 characters)")
            assert len(result["error_code"]) == 100
            worker.report_failed("s1", "no " * 1_000_000)
            await settled(lambda: bool(control.of("status")))
            assert len(control.of("status")[0]["message"]) < 4200


async def test_a_failure_whose_text_raises_is_answered_with_its_class() -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    failure = CommandFailed("X", "no room")
    failure.message = cast("Any", Speechless())
    async with plane() as control:
        handler = ready()
        handler.failure = failure
        async with control.agent(handler):
            await control.command("start_session", "c1")
            await settled(lambda: "c1" in control.results())
            assert control.results()["c1"]["error"] == "Speechless"


# -- what cannot be encoded ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dance", "stop_session"])
async def test_half_an_emoji_in_an_id_comes_back_as_it_was_sent(kind: str) -> None:
    async with plane() as control, control.agent(ready()) as worker:
        await control.sockets[0].send_str(
            '{"type":"command","command_id":"c\\ud83d","session_id":"s1","data":{"name":"n"},'
            f'"command_type":"{kind}"}}'
        )
        await settled(lambda: bool(control.of("command_result")))
        # JSON's own escape: what sent it reads the very same characters.
        assert control.of("command_ack")[0]["command_id"] == "c\ud83d"
        result = control.of("command_result")[0]
        assert (result["command_id"], result["status"]) == ("c\ud83d", "failed")
        await control.command("stop_session", "c2")
        await settled(lambda: "c2" in control.results())
        assert worker.registered
        for error in worker.errors:
            str(error).encode()


async def test_half_an_emoji_elsewhere_fails_its_command_only() -> None:
    async with plane() as control, control.agent(ready()):
        for number, field in enumerate(
            ('"session_id":"\\ud83d"', '"session_id":"s","x":"\\ud83d"')
        ):
            await control.sockets[0].send_str(
                '{"type":"command","command_type":"stop_session","data":{"name":"n"},'
                f'"command_id":"c{number}",{field}}}'
            )
        await control.sockets[0].send_str(
            '{"type":"vnc_proxy_request","session_id":"\\ud83d","proxy_id":"p\\ud83d","data":{}}'
        )
        await settled(lambda: len(control.results()) == 2 and bool(control.of("vnc_proxy_error")))
        assert {one["error_code"] for one in control.results().values()} == {"VALIDATION_FAILED"}
        refused = control.of("vnc_proxy_error")[0]
        assert (refused["proxy_id"], refused["session_id"]) == ("p\ud83d", "\ud83d")


# -- frames ----------------------------------------------------------------------------------------


def test_a_frame_is_read_one_message_at_a_time() -> None:
    frame = "{}\n" * 30_000
    peaks = []
    # The lowest counts: something else of the process, such as a table that grows once, may be in
    # one of them.
    for _ in range(3):
        tracemalloc.start()
        try:
            assert sum(1 for _ in iter_messages(frame)) == 30_000
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < 100_000


@pytest.mark.parametrize("broken", ["nonsense\n", "[1]\n", '{"type":"command"}\n'])
def test_reading_a_frame_ends_after_a_hundred_unreadable_messages(broken: str) -> None:
    if broken.startswith("{"):
        broken = '{"type":"command","command_type":"stop_session"}\n'
    found = read_messages(f"\n{{}}\n{broken}" * 1000)
    unreadable = [one for one in found if isinstance(one, UnreadableMessage)]
    assert len(unreadable) == MAX_UNREADABLE + 1
    assert unreadable[-1].problem == "the 100th of its frame, which ends here"


LARGE: Final[dict[str, Callable[[int], str]]] = {
    "a hundred cut off": lambda size: '\n{"a":[' * 100 + "1," * size,
    "environment": lambda size: start(environment={str(n): n for n in range(size)}),
    "camel case": lambda size: start(**{"aB" * size: 1}),
}
LARGE_TOO: Final[dict[str, Callable[[int], str]]] = {
    "brackets": lambda size: "[" * size,
    "braces": lambda size: "{" * size,
    "nested": lambda size: '{"a":' * size,
    "many": lambda size: '{"a":1}\n' * size,
    "quotes": lambda size: '"' * size,
    "begun": lambda size: "\n{" * size,
    "blank": lambda size: " " * size + "x",
    "name": lambda size: json.dumps(START | {"command_type": "x" * size}),
    "data": lambda size: json.dumps(START | {"data": [None] * size}),
    "environment of texts": lambda size: start(environment={str(n): "x" for n in range(size)}),
}


def start(**data: object) -> str:
    return json.dumps(START | {"data": DATA | data})


def read(frame: str) -> list[str]:
    return [str(message) for message in read_messages(frame)]


@pytest.mark.parametrize("kind", LARGE)
def test_reading_a_frame_costs_in_proportion(kind: str) -> None:
    check_growth(make=LARGE[kind], work=read, largest=2**17)


@pytest.mark.long
@pytest.mark.parametrize("kind", LARGE_TOO)
def test_reading_any_frame_costs_in_proportion(kind: str) -> None:
    check_growth(make=LARGE_TOO[kind], work=read, largest=2**17)


async def test_a_frame_of_many_messages_lets_other_tasks_run() -> None:
    async with plane() as control, control.agent(ready()) as worker:
        await control.sockets[0].send_str("{}\n" * 50_000 + json.dumps(START))
        turns = 0
        while "c" not in control.results():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 50_000 / 100
        assert worker.registered
