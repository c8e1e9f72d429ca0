"""Agents of the emulated published server, and of a real one if it is named."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.installations.places import RESTART, Desktops, Place, until
from tests.lacking import unnamed
from vcloud import PermissionDeniedError
from vcloud.providers.streamspace import (
    AgentRejectedError,
    AgentWorker,
    ApprovalTimeoutError,
    StreamSpace,
)

pytestmark = pytest.mark.timeout(600)


def agent_client(place: Place) -> StreamSpace:
    """A client that only serves an agent, and so needs no login."""
    return StreamSpace(place.url)


async def is_now(admin: StreamSpace, agent_id: str, status: str) -> None:
    """Wait until an agent has a status."""
    while True:
        if (await admin.agents.get(agent_id)).status == status:
            return
        await asyncio.sleep(0.05)


async def restart(place: Place) -> None:
    """Restart the server, and wait until it answers."""
    if place.emulator is not None:
        place.emulator.published_streamspace.realtime.server.restart()
        return
    command = os.environ.get(RESTART)
    if command is None:
        unnamed(f"NO RESTART OF A SERVER IS TESTED: {RESTART} is no command that restarts it")
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    await place.log_in()


async def test_a_new_agent_waits_for_an_administrator_and_does_not_connect(place: Place) -> None:
    agent_id = place.agent_id()
    asked: list[str] = []
    async with agent_client(place) as client, place.client() as admin:
        with pytest.raises(ApprovalTimeoutError):
            await client.serve_agent(
                agent_id,
                platform="kubernetes",
                handler=Desktops(),
                api_key=place.bootstrap_key,
                approval_timeout=0.3,
                on_pending=asked.append,
            ).run()
        assert asked == [agent_id]
        agent = await admin.agents.get(agent_id)
        assert agent.status == "offline"
        await agent.approve()
        # The bootstrap key goes on working.
        async with client.serve_agent(
            agent_id, platform="kubernetes", handler=Desktops(), api_key=place.bootstrap_key
        ):
            await is_now(admin, agent_id, "online")


async def test_a_rejected_agent_and_a_wrong_key_are_errors(place: Place) -> None:
    agent_id = place.agent_id()
    assert await place.register(agent_id) == 202
    async with agent_client(place) as client, place.client() as admin:
        await admin.agents.ref(agent_id).reject()
        for key, error in (
            (place.bootstrap_key, AgentRejectedError),
            ("0" * 64, PermissionDeniedError),
        ):
            with pytest.raises(error):
                await client.serve_agent(
                    agent_id, platform="kubernetes", handler=Desktops(), api_key=key
                ).run()


async def test_commands_are_carried_out_once_through_restarts_of_agent_and_server(
    place: Place, tmp_path: Path
) -> None:
    agent_id, template = place.agent_id(), await place.template()
    key, handler = await place.approved(agent_id), Desktops()
    registered: list[int] = []

    async with agent_client(place) as client, place.client() as admin:

        def worker() -> AgentWorker:
            return client.serve_agent(
                agent_id,
                platform="kubernetes",
                handler=handler,
                api_key=key,
                remember=tmp_path / "commands",
                on_registered=lambda sessions: registered.append(len(sessions)),
            )

        async with worker():
            session = await admin.sessions.create(place.username, template)
            session = await session.wait_until("running", poll=0.05, timeout=30)
        # Another process of the agent, which knows what was carried out.
        async with worker():
            await session.hibernate()
            await session.wait_until("hibernated", poll=0.05, timeout=30)
            assert registered == [0, 1]
            await restart(place)
            # In the server's database it was online all the time.
            await until(lambda: registered == [0, 1, 1])
            await session.wake()
            await session.wait_until("running", poll=0.05, timeout=30)
        # What is said while the agent is away is lost, and DELETE still leads on.
        await is_now(admin, agent_id, "offline")
        await session.hibernate()
        async with worker():
            await session.refresh()
            await session.terminate()
            await session.wait_until("terminated", poll=0.05, timeout=30)
    names = [(action, session.id) for action in ("start", "hibernate", "wake", "stop")]
    assert handler.done == names
