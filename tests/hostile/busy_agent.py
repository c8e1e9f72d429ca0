"""A handler whose commands wait, and what an agent answers to those beyond its capacity."""

from __future__ import annotations

from typing import Any

from tests.integration.realtime_plane import Handler, Plane
from vcloud.providers.streamspace import (
    AgentCapacity,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    WakeSession,
)

FULL = "AGENT_CAPACITY_EXCEEDED"


class Busy(Handler):
    """A handler whose commands wait until the gate opens. It counts those that run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def hold(self, words: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
        self.done.append(words)

    async def start_session(self, command: StartSession) -> SessionResult:
        await self.hold(f"start {command.session_id}")
        return SessionResult()

    async def hibernate_session(self, command: HibernateSession) -> None:
        await self.hold(f"hibernate {command.session_id}")

    async def wake_session(self, command: WakeSession) -> None:
        await self.hold(f"wake {command.session_id}")

    async def stop_session(self, command: StopSession) -> None:
        await self.hold(f"stop {command.session_id}")


def rooms(count: int) -> dict[str, Any]:
    return {"capacity": AgentCapacity(max_sessions=count)}


def failed(control: Plane, *ids: str) -> bool:
    results = control.results()
    return all(one in results and results[one]["error_code"] == FULL for one in ids)
