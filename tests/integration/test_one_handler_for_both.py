"""One handler serves both kinds of StreamSpace: the same mistakes end in the same errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.integration.published_server import Asked, published
from vcloud import (
    APIError,
    AuthenticationError,
    CapacityError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
)
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streamspace import (
    InvalidTransitionError,
    SessionState,
    StreamSpace,
    StreamSpaceCode,
)

C = StreamSpaceCode
TEMPLATE = "firefox-browser"
Mistake = Callable[[StreamSpace, Any, str], Awaitable[object]]


@pytest.fixture(params=["documented", "published"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[tuple[StreamSpace, Any, str]]:
    """A client, the state of its service, and a user who can have sessions there."""
    async with Emulator(streamspace=request.param, clock=Clock.stopped()) as emulator:
        if request.param == "documented":
            state: Any = emulator.streamspace
            user = "john.doe"
        else:
            state = emulator.published_streamspace
            user = state.admin
        async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
            yield client, state, user


async def no_agent(client: StreamSpace, state: Any, user: str) -> None:
    for agent in state.agents.values():
        agent.status = "offline"
        agent.remote = True
    await client.sessions.create(user, TEMPLATE)


MISTAKES: dict[str, tuple[Mistake, type[APIError], StreamSpaceCode]] = {
    "no session": (
        lambda client, state, user: client.sessions.get("770e8400-e29b-41d4-a716-446655440002"),
        NotFoundError,
        C.SESSION_NOT_FOUND,
    ),
    "no template": (
        lambda client, state, user: client.templates.get("none"),
        NotFoundError,
        C.TEMPLATE_NOT_FOUND,
    ),
    "a session of no template": (
        lambda client, state, user: client.sessions.create(user, "none"),
        NotFoundError,
        C.TEMPLATE_NOT_FOUND,
    ),
    "no agent of that id": (
        lambda client, state, user: client.agents.get("none"),
        NotFoundError,
        C.AGENT_NOT_FOUND,
    ),
    "no agent at all": (no_agent, CapacityError, C.NO_AGENTS_AVAILABLE),
    "a wrong password": (
        lambda client, state, user: client.login("admin", "wrong"),
        AuthenticationError,
        C.AUTH_INVALID_CREDENTIALS,
    ),
    "terminated twice": (
        lambda client, state, user: client.sessions.ref(
            state.add_session(state="terminating").id
        ).terminate(),
        ConflictError,
        C.SESSION_TERMINATING,
    ),
    "awake already": (
        lambda client, state, user: client.sessions.ref(
            state.add_session(state="pending").id
        ).wake(),
        InvalidTransitionError,
        C.INVALID_STATE_TRANSITION,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_mistake_ends_in_the_same_error(
    name: str, both: tuple[StreamSpace, Any, str]
) -> None:
    mistake, kind, code = MISTAKES[name]
    with pytest.raises(kind) as caught:
        await mistake(*both)
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert not caught.value.outcome_unknown
    if isinstance(caught.value, InvalidTransitionError):
        states = (caught.value.from_state, caught.value.to_state)
        assert states == (SessionState.PENDING, SessionState.RUNNING)


@pytest.fixture
async def server() -> AsyncIterator[tuple[StreamSpace, Any]]:
    async with (
        Emulator(streamspace="published", clock=Clock.stopped()) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
    ):
        yield client, emulator.published_streamspace


async def test_quota_is_a_lack_of_room(server: tuple[StreamSpace, Any]) -> None:
    client, state = server
    for _ in range(5):
        state.add_session(state="running")
    with pytest.raises(CapacityError, match="quota exceeded") as caught:
        await client.sessions.create(state.admin, TEMPLATE)
    assert (caught.value.status, caught.value.outcome_unknown) == (403, False)


async def test_only_the_administrator_can_have_sessions(server: tuple[StreamSpace, Any]) -> None:
    client, state = server
    user = state.add_user("maria", "Passw0rd!xyz")
    with pytest.raises(InvalidRequestError, match="only its built-in administrator") as caught:
        await client.sessions.create("maria", TEMPLATE)
    assert (caught.value.status, caught.value.outcome_unknown) == (500, False)
    for name in (user.id, "nobody"):
        with pytest.raises(NotFoundError, match="looks for the user by name"):
            await client.sessions.create(name, TEMPLATE)


async def test_path_that_the_server_lacks_is_no_thing_that_is_gone() -> None:
    async with published(lambda asked: (404, {})) as (client, _):
        for call in (client.sessions.get("s"), client.sessions.ref("s").delete()):
            with pytest.raises(InvalidRequestError, match="has no such path"):
                await call


IN_USE = 'pq: update or delete on table "agents" violates foreign key constraint "x"'
TAKEN = 'pq: duplicate key value violates unique constraint "x"'


@pytest.mark.parametrize("words", [IN_USE, TAKEN])
async def test_cause_that_the_database_states_ends_a_call_at_once(words: str) -> None:
    async with published(lambda asked: (500, {"error": words}), attempts=3) as (client, server):
        with pytest.raises(ConflictError) as caught:
            await client.agents.ref("a").delete()
    assert not caught.value.outcome_unknown
    assert len(server.asked) == 1


@pytest.mark.parametrize("words", [IN_USE, TAKEN])
async def test_after_a_lost_answer_it_may_be_the_doing_of_the_call_itself(words: str) -> None:
    answers = iter([None, (500, {"error": words})])

    def answer(asked: Asked) -> tuple[Any, ...] | None:
        return next(answers)

    async with published(answer, attempts=3) as (client, server):
        with pytest.raises(ConflictError) as caught:
            await client.agents.ref("a").delete()
    assert caught.value.outcome_unknown
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (408, {"error": "Request timeout", "message": "The request took too long to process"}),
        (500, {"error": "Failed to create agent command", "message": "pq: x"}),
        (500, {"error": "Failed to create session", "message": "pq: connection refused"}),
        (500, {"error": "Failed to create session"}),
        (502, {"error": "Proxy error", "message": "x"}),
    ],
)
async def test_create_that_fails_without_its_cause_is_sent_once_and_unknown(
    status: int, body: dict[str, str]
) -> None:
    async with published(lambda asked: (status, body), attempts=3) as (client, server):
        with pytest.raises(APIError) as caught:
            await client.sessions.create("admin", TEMPLATE)
    assert caught.value.outcome_unknown
    assert len(server.asked) == 1
