"""Every operation against the emulated published server, and against a real one if it is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

from tests.installations.places import WEB, Desktops, Place, Requests, new, until
from vcloud import (
    CapacityError,
    ConflictError,
    NotFoundError,
    UnsupportedError,
    VCloudError,
)
from vcloud.providers.streamspace import (
    InvalidTransitionError,
    Session,
    StreamingProtocol,
    StreamSpace,
)

pytestmark = pytest.mark.timeout(600)

Do = Callable[[], Awaitable[Any]]


@frozen
class World:
    """A client, an agent that it serves, and a running session."""

    client: StreamSpace
    requests: Requests
    handler: Desktops
    session: Session
    template: str
    agent_id: str


async def answered(world: World) -> list[tuple[str, Do]]:
    """The operations that this server has, in an order in which each succeeds."""
    client, session = world.client, world.session
    agent = client.agents.ref(world.agent_id)
    handle = client.sessions.ref(session.id)
    return [
        ("recognise", client.recognise),
        ("ping", client.ping),
        ("sessions.get", lambda: client.sessions.get(session.id)),
        ("sessions.list", lambda: client.sessions.list(user=session.user).all()),
        ("sessions.list, filtered", lambda: client.sessions.list(state="running").first()),
        ("sessions.find", lambda: client.sessions.find(session.id)),
        ("session.refresh", handle.refresh),
        ("session.set_tags", lambda: handle.set_tags(["a", "b"])),
        ("session.hibernate", handle.hibernate),
        ("wait: hibernated", lambda: handle.wait_until("hibernated", poll=0.05, timeout=30)),
        ("session.wake", handle.wake),
        ("wait: running", lambda: handle.wait_until("running", poll=0.05, timeout=30)),
        ("instances", lambda: client.instances().all()),
        ("templates.list", lambda: client.templates.list().all()),
        ("templates.list, filtered", lambda: client.templates.list(category="none").all()),
        ("templates.get", lambda: client.templates.get(world.template)),
        ("users.me", client.users.me),
        ("users.list", lambda: client.users.list(role="admin").all()),
        ("agents.list", lambda: client.agents.list(platform="kubernetes").all()),
        ("agents.get", lambda: client.agents.get(world.agent_id)),
        ("agent.generate_key", agent.generate_key),
        ("agent.rotate_key", agent.rotate_key),
        (
            "agent.command",
            lambda: agent.command(
                "hibernate_session", session.id, payload={"sessionId": session.id}
            ),
        ),
        ("login", client.login),
        ("refresh_token", client.refresh_token),
        ("session.terminate", handle.terminate),
        ("wait: terminated", lambda: handle.wait_until("terminated", poll=0.05, timeout=30)),
        ("session.delete, again", handle.delete),
        ("logout", client.logout),
    ]


def refused(world: World) -> list[tuple[str, Do]]:
    """What this server has no way for."""
    client, session = world.client, world.session
    agent = client.agents.ref(world.agent_id)
    sessions = client.sessions
    user = session.user or ""
    return [
        ("platform", lambda: sessions.create(user, world.template, platform="docker")),
        ("state", lambda: sessions.create(user, world.template, state="hibernated")),
        ("page", lambda: sessions.list(page=2).all()),
        ("agent_id", lambda: sessions.list(agent_id=world.agent_id).all()),
        ("tags", lambda: sessions.list(tags=["a"]).all()),
        ("user", lambda: sessions.list(user="a--b").all()),
        ("force", lambda: sessions.ref(session.id).delete(force=True)),
        ("force_terminate", lambda: sessions.ref(session.id).force_terminate()),
        ("logs", lambda: sessions.ref(session.id).logs()),
        ("category", lambda: client.templates.list(category="R&D").all()),
        ("drain", agent.drain),
        ("stats", client.agents.stats),
    ]


async def test_every_operation_is_answered_or_refused_before_it_is_sent(place: Place) -> None:
    agent_id, requests = place.agent_id(), Requests()
    key = await place.approved(agent_id)
    template, handler = await place.template(), Desktops()
    async with (
        place.client(requests) as client,
        client.serve_agent(agent_id, platform="kubernetes", handler=handler, api_key=key),
    ):
        created = await client.sessions.create(place.username, template, tags=["first"])
        session = await created.wait_until("running", poll=0.05, timeout=30)
        assert session.platform == "kubernetes"
        assert session.streaming_protocol == StreamingProtocol.VNC
        world = World(client, requests, handler, session, template, agent_id)
        for name, do in refused(world):
            before = len(requests.sent)
            with pytest.raises(UnsupportedError, match="published"):
                await do()
            assert requests.sent[before:] == [], name
        failures: dict[str, VCloudError] = {}
        for name, do in await answered(world):
            try:
                await do()
            except VCloudError as error:
                failures[name] = error
        assert failures == {}
        await until(lambda: ("stop", session.id) in handler.done)
        # The two hibernations: of the session, and the command past it.
        assert handler.done == [
            ("start", session.id),
            ("hibernate", session.id),
            ("wake", session.id),
            ("hibernate", session.id),
            ("stop", session.id),
        ]


async def test_what_is_not_there_or_not_possible_is_the_error_that_it_is_elsewhere(
    place: Place,
) -> None:
    template = await place.template()
    async with place.client() as client:
        with pytest.raises(NotFoundError):
            await client.sessions.get("nobody-has-this")
        with pytest.raises(NotFoundError):
            await client.templates.get("nobody-has-this")
        with pytest.raises(NotFoundError):
            await client.sessions.create(place.username, "nobody-has-this")
        if place.emulator is None:
            with pytest.raises(CapacityError):
                await client.sessions.create(place.username, template)
        name = new("user").replace("-", "")
        user = await client.users.create(name, f"{name}@example.com", "Secret-123!x")
        place.users.append(user.id)
        with pytest.raises(ConflictError):
            await client.users.create(name, f"{name}@example.com", "Secret-123!x")
        with pytest.raises(ConflictError):
            await client.templates.create(template, 1)


async def test_a_start_that_fails_is_a_failed_session_and_a_state_out_of_turn_a_transition(
    place: Place,
) -> None:
    agent_id, handler = place.agent_id(), Desktops()
    key, template = await place.approved(agent_id), await place.template()
    async with (
        place.client() as client,
        client.serve_agent(agent_id, platform="kubernetes", handler=handler, api_key=key),
    ):
        session = await client.sessions.create(place.username, template)
        running = await session.wait_until("running", poll=0.05, timeout=30)
        with pytest.raises(InvalidTransitionError) as caught:
            await running.wake()
        assert caught.value.status == 409
        handler.failing.add("start")
        failing = await client.sessions.create(place.username, template)
        with pytest.raises(VCloudError, match="failed"):
            await failing.wait_until("running", poll=0.05, timeout=30)
        await failing.terminate()
        await failing.wait_until("terminated", poll=0.05, timeout=30)


async def test_a_template_of_linuxserver_is_no_vnc(place: Place) -> None:
    agent_id, handler = place.agent_id(), Desktops()
    key, template = await place.approved(agent_id), await place.template(WEB)
    async with (
        place.client() as client,
        client.serve_agent(agent_id, platform="kubernetes", handler=handler, api_key=key),
    ):
        session = await client.sessions.create(place.username, template)
        session = await session.wait_until("running", poll=0.05, timeout=30)
        assert session.streaming_protocol == StreamingProtocol.SELKIES
