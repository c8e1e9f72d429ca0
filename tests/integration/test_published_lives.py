"""Sessions of StreamSpace's published server against the emulator: lives, waits and its cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from vcloud import (
    ConflictError,
    InstanceState,
    NotFoundError,
    UnsupportedError,
    VCloud,
    WaitTimeout,
)
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streamspace import (
    InvalidTransitionError,
    SessionState,
    StreamingProtocol,
    StreamSpace,
)

TEMPLATE = "firefox-browser"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(streamspace="published", clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[StreamSpace]:
    async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
        yield client


def user(emulator: Emulator) -> str:
    return emulator.published_streamspace.admin


async def test_session_comes_up_hibernates_wakes_and_goes(
    emulator: Emulator, client: StreamSpace
) -> None:
    session = await client.sessions.create(
        user(emulator), TEMPLATE, idle_timeout=1800, max_session_duration=28_800, tags=["a", "b"]
    )
    assert (session.state, session.tags, session.created_at) == ("pending", ("a", "b"), None)
    kept = emulator.published_streamspace.sessions[session.id]
    assert (kept.idle_timeout, kept.max_session_duration) == ("30m", "8h")
    assert list(kept.tags or ()) == ["a", "b"]
    assert session.created_at is None
    for change, between, after in (
        (None, "pending", "running"),
        (session.hibernate, "hibernating", "hibernated"),
        (session.wake, "waking", "running"),
        (session.terminate, "terminating", "terminated"),
    ):
        if change is not None:
            assert (await change()).state == between
        assert (await session.refresh()).state == between
        emulator.clock.advance(60)
        assert (await session.wait_until(after, timeout=0)).state == after
    # It stays, so that deleting it again is quiet, and all else is a conflict.
    await session.delete()
    with pytest.raises(ConflictError):
        await session.terminate()
    with pytest.raises(InvalidTransitionError) as caught:
        await session.wake()
    assert caught.value.from_state == SessionState.TERMINATED
    assert [one.id for one in await client.sessions.list(state="terminated").all()] == [session.id]
    assert await client.instances().all() == []
    assert (await session.set_tags(["c"])) == ("c",)
    with pytest.raises(NotFoundError):
        await client.sessions.ref("nobody-nothing-00000000").refresh()


async def test_state_is_never_the_one_of_the_cache(emulator: Emulator, client: StreamSpace) -> None:
    server = emulator.published_streamspace
    server.caching = True
    session = server.add_session(state="pending", name="admin-x-00000000")
    ref = client.sessions.ref(session.name)
    states = []
    for state in ("pending", "running", "hibernated", "terminated"):
        server.set_state(session.name, state)
        emulator.clock.advance(0.1)
        seen = await client.sessions.list().all()
        states.append((str((await ref.refresh()).state), str(seen[0].state)))
        assert (await ref.wait_until(state, timeout=0)).state == state
    assert [fresh for fresh, _ in states] == ["pending", "running", "hibernated", "terminated"]
    # The list is as old as the docstring says.
    assert {listed for _, listed in states} == {"pending"}
    emulator.clock.advance(31)
    assert [one.state for one in await client.sessions.list().all()] == ["terminated"]


async def test_wait_names_an_agent_that_reports_only_running(
    emulator: Emulator, client: StreamSpace
) -> None:
    [agent] = emulator.published_streamspace.agents.values()
    agent.reports_only_running = True
    session = await client.sessions.create(user(emulator), TEMPLATE)
    emulator.clock.advance(60)
    await session.wait_until("running", timeout=0)
    await session.hibernate()
    emulator.clock.advance(3600)
    with pytest.raises(WaitTimeout, match="end of hibernating: .* only terminate") as caught:
        await session.wait_until(["hibernated", "running"], timeout=0)
    assert caught.value.last == "hibernating"
    await session.terminate()
    emulator.clock.advance(3600)
    with pytest.raises(WaitTimeout, match="end of terminating") as caught:
        await session.wait_until("terminated", timeout=0)
    assert "only terminate" not in str(caught.value)


async def test_facade_sees_published_sessions(emulator: Emulator) -> None:
    server = emulator.published_streamspace
    running, ended = server.add_session(), server.add_session(state="terminated")
    async with VCloud(**emulator.endpoints()) as cloud:
        found = [one async for one in cloud.instances() if one.provider == "streamspace"]
        assert [(one.id, one.state) for one in found] == [(running.name, InstanceState.RUNNING)]
        ref = cloud.instance(f"streamspace/{running.name}")
        await ref.hibernate()
        emulator.clock.advance(60)
        assert (await ref.refresh()).state is InstanceState.HIBERNATED
        await ref.wake()
        emulator.clock.advance(60)
        assert (await ref.wait_until(InstanceState.RUNNING, timeout=0)).id == running.name
        assert (await cloud.instance(f"streamspace/{ended.name}").refresh()).state == "stopped"
        async with cloud.bulk(cloud.streamspace.sessions.list(state="running"), _ended) as run:
            outcomes = [one.result async for one in run]
        assert outcomes == [running.name]
        emulator.clock.advance(60)
        assert (await ref.refresh()).state is InstanceState.STOPPED


async def _ended(session: Any) -> str:
    return str((await session.terminate()).id)


async def test_protocols(emulator: Emulator, client: StreamSpace) -> None:
    server = emulator.published_streamspace
    server.add_session(name="v", protocol="vnc")
    server.add_session(name="s", protocol="selkies")
    assert (await client.sessions.get("v")).streaming_protocol is StreamingProtocol.VNC
    assert (await client.sessions.get("s")).streaming_protocol is StreamingProtocol.SELKIES


DOCUMENTED: dict[str, Callable[[StreamSpace], Any]] = {
    "duration": lambda c: c.sessions.create("admin", TEMPLATE, max_session_duration=60),
    "tags": lambda c: c.sessions.ref("s-1").set_tags(["a"]),
}


@pytest.mark.parametrize("call", DOCUMENTED.values(), ids=DOCUMENTED)
async def test_what_the_document_has_no_way_for(call: Callable[[StreamSpace], Any]) -> None:
    async with Emulator(clock=Clock.stopped()) as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        async with StreamSpace(endpoint, dialect="documented") as client:
            with pytest.raises(UnsupportedError, match="API document says"):
                await call(client)
        assert len(emulator.calls) == 0
