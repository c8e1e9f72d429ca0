"""Templates, users and agents of StreamSpace's published server, over sockets."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.integration.published_server import AT, Asked, published
from vcloud import (
    BearerAuth,
    CapacityError,
    ConflictError,
    DecodeError,
    Endpoint,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
    UnsupportedError,
)
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.streamspace.published.state import Agent
from vcloud.providers.streamspace import (
    AgentAction,
    AgentStatus,
    ApprovalStatus,
    StreamSpace,
    UserRole,
)

KEY = "c0ffee" * 10 + "beef"
NEW = "docker-07"
Call = Callable[[StreamSpace], Awaitable[object]]


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(streamspace="published", clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[StreamSpace]:
    async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
        yield client


def pending(emulator: Emulator, agent_id: str = NEW) -> Agent:
    service = emulator.published_streamspace
    agent = Agent(
        id="6ff8625b-606f-4c66-8cc6-d8835b61e4b3",
        agent_id=agent_id,
        platform="kubernetes",
        region="eu-west-1",
        capacity={"maxSessions": 10, "cpu": "16", "memory": "64Gi", "storage": "1Ti"},
        created_at=service.clock.now(),
        updated_at=service.clock.now(),
    )
    service.agents[agent_id] = agent
    return agent


# -- agents ---------------------------------------------------------------------------------------


async def test_agent_is_approved_and_gets_its_key_once(
    emulator: Emulator, client: StreamSpace
) -> None:
    agent = pending(emulator)
    [waiting] = [one for one in await client.agents.list().all() if one.agent_id == NEW]
    assert (waiting.approval_status, waiting.approved_at) == (ApprovalStatus.PENDING, None)
    assert waiting.capacity is not None
    assert (waiting.capacity.cpu, waiting.capacity.memory) == ("16", "64Gi")
    assert (waiting.capacity.storage, waiting.capacity.max_sessions) == ("1Ti", 10)

    key = await waiting.approve()

    assert (key.agent_id, key.api_key, key.created_at) == (NEW, agent.key, None)
    [approved] = [one for one in await client.agents.list().all() if one.agent_id == NEW]
    assert approved.approval_status == ApprovalStatus.APPROVED
    # The answer for a single agent does not say it.
    assert (await client.agents.get(NEW)).approval_status is None
    with pytest.raises(NotFoundError, match="not in pending status"):
        await waiting.approve()


async def test_agent_is_rejected(emulator: Emulator, client: StreamSpace) -> None:
    agent = pending(emulator)
    await client.agents.ref(NEW).reject()
    assert agent.approval == "rejected"
    with pytest.raises(NotFoundError):
        await client.agents.ref(NEW).reject()


async def test_keys_replace_each_other(emulator: Emulator, client: StreamSpace) -> None:
    agent, ref = pending(emulator), client.agents.ref(NEW)
    made = await ref.generate_key()
    assert (made.api_key, made.created_at is None) == (agent.key, False)
    rotated = await ref.rotate_key()
    assert rotated.api_key == agent.key != made.api_key


async def test_command_needs_a_connected_agent(emulator: Emulator, client: StreamSpace) -> None:
    agent = pending(emulator)
    with pytest.raises(CapacityError) as caught:
        await client.agents.ref(NEW).command("stop_session", "s", payload={"sessionId": "s"})
    assert (caught.value.code, caught.value.outcome_unknown) == ("AGENT_OFFLINE", False)

    agent.remote, agent.status = False, "online"
    sent = await client.agents.ref(NEW).command(AgentAction.STOP_SESSION, "s", payload={"a": 1})
    assert (sent.agent_id, sent.session_id, sent.action) == (NEW, "s", AgentAction.STOP_SESSION)
    [kept] = emulator.published_streamspace.commands
    assert (kept.command_id, kept.payload) == (sent.command_id, {"a": 1})
    assert (await client.agents.ref(NEW).command("wake_session")).session_id is None


async def test_agent_is_deleted_unless_sessions_refer_to_it(
    emulator: Emulator, client: StreamSpace
) -> None:
    pending(emulator)
    await client.agents.ref(NEW).delete()
    assert NEW not in emulator.published_streamspace.agents
    with pytest.raises(NotFoundError):
        await client.agents.ref(NEW).delete()

    session = emulator.published_streamspace.add_session()
    with pytest.raises(ConflictError, match="others still refer to it") as caught:
        await client.agents.ref(session.agent_id).delete()
    assert not caught.value.outcome_unknown


async def test_agents_are_filtered_by_the_server(emulator: Emulator, client: StreamSpace) -> None:
    pending(emulator)
    for filters, count in (
        ({}, 2),
        ({"region": "eu-west-1"}, 1),
        ({"status": AgentStatus.OFFLINE}, 1),
        ({"platform": "docker"}, 0),
        ({"region": ""}, 2),
    ):
        assert len(await client.agents.list(**filters).all()) == count
    pages = [page async for page in client.agents.list(limit=1).pages()]
    assert [len(page.items) for page in pages] == [1, 1]


async def test_users_and_operators_have_no_agents(emulator: Emulator) -> None:
    emulator.published_streamspace.add_user("opal", "Passw0rd!xyz", role="operator")
    url = emulator.endpoints()["streamspace"].base_url
    assert url is not None
    async with StreamSpace(url, auth=BearerAuth.login("opal", "Passw0rd!xyz")) as client:
        assert (await client.users.me()).username == "opal"
        with pytest.raises(PermissionDeniedError) as caught:
            await client.agents.list().all()
        assert caught.value.code == "AUTH_INSUFFICIENT_PERMISSIONS"
        with pytest.raises(PermissionDeniedError):
            await client.agents.ref("a").approve()


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.agents.ref(NEW).approve(),
        lambda c: c.agents.ref(NEW).generate_key(),
        lambda c: c.agents.ref(NEW).rotate_key(),
    ],
)
@pytest.mark.parametrize("apiKey", [KEY, None, []])
async def test_key_is_shown_nowhere(
    call: Callable[[StreamSpace], Awaitable[Any]],
    apiKey: object,  # noqa: N803 - as the server spells it
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    body = {"agentId": NEW, "apiKey": apiKey, "message": "SAVE THIS", "usage": {"value": KEY}}
    async with published(lambda asked: (200, body)) as (client, _):
        if apiKey == KEY:
            key = await call(client)
            assert key.api_key == KEY
            with pytest.raises(TypeError):
                pickle.dumps(key)
            shown = f"{key!r} {key.to_dict()}"
        else:
            with pytest.raises(DecodeError) as caught:
                await call(client)
            assert caught.value.outcome_unknown
            assert (caught.value.body, caught.value.ids) == (None, (NEW,))
            shown = f"{caught.value} {caught.value!r} {caught.value.to_dict()}"
    assert KEY not in shown + caplog.text


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (lambda c: c.agents.list().all(), ("GET", "/admin/agents", None)),
        (lambda c: c.agents.get("k8s-1"), ("GET", "/admin/agents/k8s-1", None)),
        (
            lambda c: c.agents.ref("ä b%").approve(),
            ("POST", "/admin/agents/%C3%A4%20b%25/approve", None),
        ),
        (
            lambda c: c.agents.ref("a").command("stop_session"),
            ("POST", "/admin/agents/a/command", {"action": "stop_session"}),
        ),
        (
            lambda c: c.users.create("u", "u@h.x", "password"),
            (
                "POST",
                "/users",
                {
                    "username": "u",
                    "email": "u@h.x",
                    "password": "password",
                    "role": "user",
                    "fullName": "u",
                },
            ),
        ),
        (
            lambda c: c.templates.create("t", 1, tags=["a"]),
            (
                "POST",
                "/templates",
                {
                    "name": "t",
                    "repository_id": 1,
                    "manifest": {},
                    "display_name": "t",
                    "tags": ["a"],
                },
            ),
        ),
    ],
)
async def test_requests_have_the_servers_own_form(
    call: Call, request_: tuple[str, str, object]
) -> None:
    async with published(lambda asked: (404, {"error": "Agent not found"})) as (client, server):
        with pytest.raises(NotFoundError):
            await call(client)
    [asked] = server.asked
    assert (asked.verb, asked.path, asked.body) == request_


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.agents.ref("a").approve(),
        lambda c: c.agents.ref("a").reject(),
        lambda c: c.agents.ref("a").generate_key(),
        lambda c: c.agents.ref("a").rotate_key(),
        lambda c: c.agents.ref("a").command("stop_session"),
        lambda c: c.templates.create("t", 1),
        lambda c: c.users.create("u", "u@h.x", "password"),
    ],
)
async def test_change_whose_answer_was_lost_is_sent_once(call: Call) -> None:
    async with published(lambda asked: None, attempts=3) as (client, server):
        with pytest.raises(TransportError) as caught:
            await call(client)
    assert caught.value.outcome_unknown
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.agents.stats(), "count what agents.list"),
        (lambda c: c.agents.ref("a").drain(), "AgentWorker.drain"),
        (lambda c: c.agents.ref("a").set_status("online"), "AgentWorker.drain"),
        (lambda c: c.agents.get("a/b"), "list() has it"),
        (lambda c: c.agents.ref("a..b").delete(), "list() has it"),
        (lambda c: c.agents.list(region="my--region").all(), "each agent's region"),
        (lambda c: c.agents.list(page=2).all(), "comes whole"),
        (lambda c: c.templates.list(category="R&D").all(), "each template's category"),
        (lambda c: c.templates.list(page=1).first(), "comes whole"),
        (lambda c: c.templates.get("a/b"), "list() has it"),
        (lambda c: c.users.list(role=UserRole("a;b")).all(), "each user's role"),
        (lambda c: c.users.list(page=1).all(), "comes whole"),
        (lambda c: c.sessions.ref("s").logs(), "status.pod_name"),
        (lambda c: anext(c.sessions.ref("s").logs(follow=True)), "status.pod_name"),
    ],
)
async def test_what_the_server_has_no_way_for_is_refused_before_it_is_sent(
    call: Call, says: str
) -> None:
    async with published(lambda asked: (500, {})) as (client, server):
        with pytest.raises(UnsupportedError) as caught:
            await call(client)
        said = str(caught.value)
        assert server.asked == []
        assert says in said
        assert f"{server.url} is StreamSpace's published server" in said


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.agents.ref("a").approve(),
        lambda c: c.agents.ref("a").reject(),
        lambda c: c.agents.ref("a").generate_key(),
        lambda c: c.agents.ref("a").rotate_key(),
        lambda c: c.agents.ref("a").command("stop_session"),
        lambda c: c.agents.ref("a").delete(),
        lambda c: c.templates.create("t", 1),
        lambda c: c.users.me(),
        lambda c: c.users.create("u", "u@h.x", "password", full_name="U"),
    ],
)
async def test_what_only_that_server_has_is_refused_by_the_document(call: Call) -> None:
    endpoint = Endpoint("https://nowhere.example/api/v1", auth=BearerAuth("token"))
    async with StreamSpace(endpoint, dialect="documented") as client:
        with pytest.raises(UnsupportedError, match="as StreamSpace's API document says"):
            await call(client)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda c: c.agents.ref("a").command("dance"), "action"),
        (lambda c: c.agents.ref("a").command("stop_session", " "), "session"),
        (lambda c: c.agents.ref("a").command("stop_session", "s" * 101), "session"),
        (lambda c: c.agents.ref("a").command("stop_session", payload=[1]), "payload"),
        (lambda c: c.templates.create(" ", 1), "name"),
        (lambda c: c.templates.create("t", "1"), "repository_id"),
        (lambda c: c.templates.create("t", True), "repository_id"),
        (lambda c: c.templates.create("t", 1, manifest="{}"), "manifest"),
        (lambda c: c.templates.create("t", 1, tags="a"), "tags"),
        (lambda c: c.users.create("u", "e", "p", full_name=""), "full_name"),
    ],
)
async def test_wrong_arguments_are_named_and_nothing_is_sent(
    call: Callable[[Any], Awaitable[object]], argument: str
) -> None:
    async with published(lambda asked: (500, {})) as (client, server):
        with pytest.raises(InvalidArgumentError, match=argument):
            await call(client)
        assert server.asked == []


# -- templates and users --------------------------------------------------------------------------


async def test_template_is_created_and_read_back(emulator: Emulator, client: StreamSpace) -> None:
    manifest = {"spec": {"baseImage": "own/image", "ports": [{"containerPort": 5900}]}}
    made = await client.templates.create(
        "paint", 1, manifest=manifest, category="Art", tags=["a", "b"], description="Draw"
    )
    assert (made.name, made.display_name, made.repository_id) == ("paint", "paint", 1)
    for found in (
        await client.templates.get("paint"),
        (await client.templates.list(category="Art").all())[0],
    ):
        assert (found.id, found.category, found.tags) == (made.id, "Art", ("a", "b"))
        assert (found.manifest, found.description) == (manifest, "Draw")
        assert (found.base_image, found.install_count) == (None, 0)
    session = await client.sessions.create(emulator.published_streamspace.admin, "paint")
    assert session.template == "paint"


async def test_template_of_a_taken_name_or_no_repository_is_refused(client: StreamSpace) -> None:
    await client.templates.create("paint", 1)
    with pytest.raises(ConflictError, match="one of the same name") as caught:
        await client.templates.create("paint", 1)
    assert not caught.value.outcome_unknown
    with pytest.raises(InvalidRequestError, match="does not exist"):
        await client.templates.create("draw", 999)


async def test_templates_of_a_server_without_any_are_an_empty_list() -> None:
    body: dict[str, Any] = {"templates": None, "total": 0, "categories": {}, "filters": {}}
    async with published(lambda asked: (200, body)) as (client, _):
        assert await client.templates.list().all() == []


async def test_template_is_read_past_the_cache() -> None:
    body = {"id": 1, "name": "t", "tags": None, "manifest": {}, "created_at": AT}

    def answer(asked: Asked) -> tuple[Any, ...]:
        return 200, body, {"X-Cache": "MISS" if asked.query else "HIT"}

    async with published(answer) as (client, server):
        for _ in range(2):
            await client.templates.get("t")
    queries = [tuple(asked.query.values()) for asked in server.asked]
    assert queries[0] == ()
    assert len(set(queries)) == len(queries) == 3


async def test_user_who_is_logged_in_has_a_quota_and_groups(client: StreamSpace) -> None:
    me = await client.users.me()
    assert (me.username, me.role, me.provider) == ("admin", UserRole.ADMIN, "local")
    assert me.quota is not None
    assert (me.quota.max_sessions is None, me.quota.used_sessions) == (False, 0)
    assert me.groups == ("all-users",)
    listed = await client.users.list(role="admin").first()
    assert listed is not None
    assert (listed.quota, listed.groups, listed.full_name) == (None, (), me.full_name)


@pytest.mark.parametrize(("full_name", "kept"), [(None, "maria"), ("Maria M.", "Maria M.")])
async def test_user_has_a_full_name(
    emulator: Emulator, client: StreamSpace, full_name: str | None, kept: str
) -> None:
    made = await client.users.create(
        "maria", "maria@example.com", "Passw0rd!xyz", full_name=full_name, role="operator"
    )
    assert (made.full_name, made.role, made.active) == (kept, UserRole.OPERATOR, True)
    with pytest.raises(ConflictError, match="one of the same name") as caught:
        await client.users.create("maria", "maria@example.com", "Passw0rd!xyz")
    assert not caught.value.outcome_unknown
