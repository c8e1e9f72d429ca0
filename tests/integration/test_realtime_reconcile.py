"""An agent and the emulator's control plane, each restarted while the other continues."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from tests.integration.realtime_plane import Handler
from tests.integration.realtime_server import settled
from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import BearerAuth, Endpoint, RetryPolicy
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import (
    AgentSession,
    AgentWorker,
    SessionResult,
    StartSession,
    StopSession,
    StreamSpace,
)


@define
class Reconciling(Handler):
    """Has a desktop for each session, and compares them as the README shows."""

    desktops: set[str] = field(factory=set)
    orphans: list[str] = field(factory=list)
    worker: AgentWorker | None = None
    compared: int = 0

    async def start_session(self, command: StartSession) -> SessionResult:
        self.desktops.add(command.session_id)
        return SessionResult()

    async def stop_session(self, command: StopSession) -> None:
        self.desktops.discard(command.session_id)

    async def reconcile(self, sessions: Sequence[AgentSession]) -> None:
        orphans = self.desktops - {session.id for session in sessions}
        self.orphans += sorted(orphans)
        self.desktops -= orphans
        assert self.worker is not None
        for session in sessions:
            assert session.id is not None
            if session.state == "running" and session.id not in self.desktops:
                self.worker.report_failed(session, "the agent was restarted")
        self.compared += 1

    def serve(self, client: StreamSpace, **options: Any) -> AgentWorker:
        self.worker = client.serve_agent(
            "agent-1",
            platform="docker",
            handler=self,
            retry=RetryPolicy(base=0.01, cap=0.02),
            on_registered=self.reconcile,
            **options,
        )
        return self.worker


def endpoint(emulator: Emulator) -> Endpoint:
    retry = RetryPolicy(base=0.01, cap=0.02)
    url = emulator.env()["VCLOUD_STREAMSPACE_URL"]
    return Endpoint(url, auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD), retry=retry)


async def started(client: StreamSpace) -> str:
    session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
    return (await session.wait_until("running", poll=0.01)).id


async def test_after_a_restart_of_the_agent_its_lost_sessions_are_reported() -> None:
    async with (
        Emulator(rate_limits=False, seed=SEED) as emulator,
        StreamSpace(endpoint(emulator)) as client,
    ):
        before = Reconciling()
        worker = before.serve(client)
        running = asyncio.create_task(worker.run())
        await worker.wait_registered()
        lost = await started(client)
        # It goes without a word, as one that is killed.
        running.cancel()
        await asyncio.wait({running})
        agents = emulator.streamspace.agents
        await settled(lambda: agents["agent-1"].status == "offline")
        assert (await client.sessions.get(lost)).state == "running"
        after = Reconciling()
        async with after.serve(client):
            session = await client.sessions.ref(lost).wait_until("failed", poll=0.01)
            assert session.status is not None
            assert session.status.message == "the agent was restarted"
            kept = await started(client)
            assert after.desktops == {kept}


async def test_after_a_restart_of_the_control_plane_orphans_are_found() -> None:
    lost: list[Exception] = []
    async with (
        Emulator(rate_limits=False, seed=SEED) as emulator,
        StreamSpace(endpoint(emulator)) as client,
    ):
        port = int(emulator.url.rpartition(":")[2])
        handler = Reconciling()
        async with handler.serve(client, on_lost=lost.append) as worker:
            forgotten = await started(client)
            assert handler.desktops == {forgotten}
            await emulator.aclose()
            await settled(lambda: len(lost) == 1)
            assert "1001 (going away): the emulator ends" in str(lost[0])
            # Its tokens are others', its sessions are none.
            async with Emulator(port=port, rate_limits=False, seed=SEED):
                await settled(lambda: handler.compared == 2)
                assert worker.registered
                assert handler.orphans == [forgotten]
                assert handler.desktops == set()
                assert await started(client) in handler.desktops


async def test_an_agent_that_only_lost_its_connection_keeps_what_it_has() -> None:
    async with (
        Emulator(rate_limits=False, seed=SEED) as emulator,
        StreamSpace(endpoint(emulator)) as client,
    ):
        handler = Reconciling()
        async with handler.serve(client):
            ids = {await started(client) for _ in range(2)}
            emulator.streamspace.control.disconnect("agent-1", "for a test")
            await settled(lambda: handler.compared == 2)
            assert handler.orphans == []
            assert handler.desktops == ids
            states = [(await client.sessions.get(id_)).state for id_ in ids]
            assert states == ["running", "running"]
