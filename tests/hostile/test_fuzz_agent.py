"""Mutated messages of a control plane, over a real socket, to a real agent.

Whatever comes, the agent goes on: it carries out the next command. It answers in a documented form
or writes one record of one printable line, it shows no secret, and it keeps nothing of what came.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any
from unicodedata import category

import pytest
from hypothesis import HealthCheck, given, settings

from tests.hostile.mutated_messages import (
    ANSWERS,
    MAX_ID,
    ROOM,
    SECRET,
    Large,
    broken,
    mutated,
    places,
    written,
)
from tests.integration.realtime_plane import Plane, plane
from tests.integration.realtime_server import TOKEN, settled
from vcloud.providers.streamspace import (
    AgentCapacity,
    AgentWorker,
    CommandFailed,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    VNCProxyRequest,
    WakeSession,
)


class Echoing:
    """A handler whose results and errors repeat parts of the commands."""

    async def start_session(self, command: StartSession) -> SessionResult:
        return SessionResult(pod_name=command.data.name)

    async def hibernate_session(self, command: HibernateSession) -> None:
        raise CommandFailed(command.session_id, command.data.name)

    async def wake_session(self, command: WakeSession) -> None:
        raise RuntimeError(command.data.name)

    async def stop_session(self, command: StopSession) -> None: ...

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        raise CommandFailed("X", request.session_id)


class Records(logging.Handler):
    """Keeps all log records."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Bench:
    """An agent with its control plane, in an event loop that lives from example to example."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.records = Records()
        self.number = 0
        self.control: Plane
        self.worker: AgentWorker

    async def begin(self) -> None:
        self.control = await self.stack.enter_async_context(plane())
        self.worker = self.control.agent(
            Echoing(),  # type: ignore[arg-type]
            capacity=AgentCapacity(max_sessions=ROOM),
            grace=0.1,
        )
        await self.stack.enter_async_context(self.worker)

    async def tell(self, frame: str | bytes) -> list[dict[str, Any]]:
        """Send a frame, and then a command; return the agent's answers to the frame."""
        control = self.control
        await self.stop_all()
        control.said.clear()
        self.records.records.clear()
        socket = control.sockets[-1]
        if isinstance(frame, str):
            await socket.send_str(frame.replace("cmd1", self.fresh))
        else:
            await socket.send_bytes(frame.replace(b"cmd1", self.fresh.encode()))
        last, connections = f"last-{self.number}", 0
        while last not in control.results():
            # A register_ack of another status makes the agent come again.
            if len(control.sockets) != connections and not control.sockets[-1].closed:
                connections = len(control.sockets)
                with contextlib.suppress(ConnectionError):
                    await control.command("stop_session", last, "none")
            await asyncio.sleep(0)
        del control.sockets[:-1]
        del control.requests[:-1]
        # Heartbeats do not depend on the frame.
        return [
            one
            for one in control.said
            if one["type"] != "heartbeat" and one.get("command_id") != last
        ]

    async def stop_all(self) -> None:
        """Make room for the next example's sessions, and an id that was not answered yet."""
        self.number += 1
        stops = {f"stop-{self.number}-{at}": one for at, one in enumerate(self.worker.sessions)}
        for command_id, session_id in stops.items():
            await self.control.command("stop_session", command_id, session_id)
        await settled(lambda: stops.keys() <= self.control.results().keys())
        assert not self.worker.sessions

    @property
    def fresh(self) -> str:
        """What stands for ``cmd1`` here: a command that comes again is answered as before."""
        return f"cmd1-{self.number}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    logger = logging.getLogger("vcloud")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(made.records)
    with made.runner:
        made.runner.run(made.begin())
        try:
            yield made
        finally:
            made.runner.run(made.stack.aclose())
            logger.removeHandler(made.records)
            logger.setLevel(before)


def check(bench: Bench, frame: str | bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """Send a frame, check the invariants, and return the answers and the warnings."""
    said = bench.runner.run(bench.tell(frame))
    for message in said:
        assert message["type"] in ANSWERS
        text = json.dumps(message)
        assert len(text) < 128 * 1024
        assert SECRET not in text
    warnings = []
    for record in bench.records.records:
        line = record.getMessage()
        # Spaces of any width are harmless.
        assert all(one.isprintable() or category(one) == "Zs" for one in line), line
        assert len(line) < 5000
        assert SECRET not in line
        assert TOKEN not in line
        if record.levelno >= logging.WARNING:
            warnings.append(line)
    for error in bench.worker.errors:
        assert len(str(error)) < 5000
        assert SECRET not in str(error)
        str(error).encode()
    assert bench.worker.registered
    assert len(bench.worker.sessions) <= ROOM
    return said, warnings


def fuzz_messages(bench: Bench, examples: int) -> None:
    """Messages that are JSON, one in a frame: each costs its answer, or one record."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(mutated())
    def run(message: Any) -> None:
        frame = written(message)
        if "rejected" in frame:
            return
        said, warnings = check(bench, frame)
        if message.get("type") != "register_ack":
            assert len(warnings) <= 1, warnings
            assert len(said) <= 2, said
        command_id = message.get("command_id")
        if isinstance(command_id, str):
            command_id = command_id.replace("cmd1", bench.fresh)
        if (
            message.get("type") == "command"
            and isinstance(command_id, str)
            and 0 < len(command_id) <= MAX_ID
            and isinstance(message.get("command_type"), str | None)
            and not any(isinstance(within[key], Large) for within, key in places(message))
        ):
            kinds = [(one["type"], one["command_id"]) for one in said]
            assert kinds == [("command_ack", command_id), ("command_result", command_id)]

    run()


def fuzz_frames(bench: Bench, examples: int) -> None:
    """Frames of any kind."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(broken())
    def run(frame: str | bytes) -> None:
        if (b"rejected" if isinstance(frame, bytes) else "rejected") in frame:  # type: ignore[operator]
            return
        said, warnings = check(bench, frame)
        # Of a frame's messages a hundred may be unreadable; then the agent says so once more.
        readable = 2 * (frame.count(b'"type"' if isinstance(frame, bytes) else '"type"'))  # type: ignore[arg-type]
        assert len(said) <= readable + 2
        assert len(warnings) <= readable + 105

    run()


def test_mutated_messages_are_answered_and_end_no_agent(bench: Bench) -> None:
    fuzz_messages(bench, 200)


def test_mutated_frames_end_no_agent(bench: Bench) -> None:
    fuzz_frames(bench, 100)


@pytest.mark.long
def test_twenty_thousand_mutated_messages_end_no_agent(bench: Bench) -> None:
    fuzz_messages(bench, 20_000)


@pytest.mark.long
def test_twenty_thousand_mutated_frames_end_no_agent(bench: Bench) -> None:
    fuzz_frames(bench, 20_000)
