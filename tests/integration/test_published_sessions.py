"""Sessions of StreamSpace's published server, over sockets: changes, waits, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.published_server import Asked, accepted, created, published, session
from vcloud import (
    APIError,
    ConflictError,
    DecodeError,
    InstanceState,
    NotFoundError,
    TransportError,
    UnsupportedError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.providers.streamspace import (
    Platform,
    Resources,
    SessionState,
    SessionUpdate,
    StreamingProtocol,
    StreamSpace,
)

NAME = "admin-firefox-552afe2e"
GONE = (404, {"error": "Session not found", "message": f"No session found with ID: {NAME}"})
ENDING = (
    409,
    {"error": "Session already terminating", "message": "Session is already in terminating state"},
)


def always(*answer: Any) -> Callable[[Asked], tuple[Any, ...]]:
    return lambda asked: answer


# -- creating --------------------------------------------------------------------------------------


async def test_create_sends_what_the_server_reads() -> None:
    given = created(idleTimeout="30m", maxSessionDuration="8h0m0s", persistentHome=False)
    async with published(always(202, given)) as (client, server):
        made = await client.sessions.create(
            "admin",
            "firefox",
            resources=Resources(cpu="1000m", memory="2Gi"),
            persistent_home=False,
            idle_timeout=timedelta(minutes=30),
            max_session_duration=timedelta(hours=8),
        )
    [asked] = server.asked
    assert (asked.verb, asked.path) == ("POST", "/sessions")
    assert asked.body == {
        "user": "admin",
        "template": "firefox",
        "resources": {"cpu": "1000m", "memory": "2Gi"},
        "persistentHome": False,
        "idleTimeout": "30m",
        "maxSessionDuration": "8h",
    }
    assert (made.id, made.name, made.state) == (NAME, NAME, SessionState.PENDING)
    assert (made.idle_timeout, made.max_session_duration) == (
        timedelta(minutes=30),
        timedelta(hours=8),
    )
    # What the answer lacks.
    assert (made.created_at, made.platform, made.streaming_protocol) == (None, None, None)
    assert made.tags == ()


async def test_tags_of_a_create_are_set_after_it() -> None:
    def answer(asked: Asked) -> tuple[Any, ...]:
        if asked.verb == "POST":
            return 202, created(tags=asked.body["tags"])
        return 200, {"id": NAME, "user_id": "admin", "template_name": "firefox", **asked.body}

    async with published(answer) as (client, server):
        made = await client.sessions.create("admin", "firefox", tags=["a", "b"])
        assert made.tags == ("a", "b")
        assert await made.set_tags([]) == ()
    assert server.calls() == [
        ("POST", "/sessions"),
        ("PATCH", f"/sessions/{NAME}/tags"),
        ("PATCH", f"/sessions/{NAME}/tags"),
    ]
    assert [one.body.get("tags") for one in server.asked] == [["a", "b"], ["a", "b"], []]


@pytest.mark.parametrize("lost", [True, False])
async def test_error_of_the_tags_carries_the_session(lost: bool) -> None:
    def answer(asked: Asked) -> tuple[Any, ...] | None:
        if asked.verb == "POST":
            return 202, created(tags=asked.body["tags"])
        return None if lost else (403, {"error": "Insufficient permissions"})

    async with published(answer) as (client, _):
        with pytest.raises(TransportError if lost else APIError) as caught:
            await client.sessions.create("admin", "firefox", tags=["a"])
        error = caught.value
        assert error.created.id == NAME
        assert error.created.tags == ("a",)
        assert error.to_dict()["created"]["id"] == NAME
        assert pickle.loads(pickle.dumps(error)).created == error.created


async def test_other_errors_carry_nothing() -> None:
    async with published(always(503, {"error": "No agents available"})) as (client, _):
        with pytest.raises(APIError) as caught:
            await client.sessions.create("admin", "firefox", tags=["a"])
        assert caught.value.created is None


# -- what it has no way for ------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[StreamSpace], Awaitable[object]], str]] = {
    "platform": (lambda c: c.sessions.create("admin", "t", platform="docker"), "platform="),
    "state": (lambda c: c.sessions.create("admin", "t", state="running"), "state="),
    "force": (lambda c: c.sessions.ref(NAME).delete(force=True), "force="),
    "at once": (lambda c: c.sessions.ref(NAME).force_terminate(), "at once"),
    "slash": (lambda c: c.sessions.ref("a/b").refresh(), "a/b"),
    "climbing": (lambda c: c.sessions.ref("a/../b").hibernate(), "a/../b"),
    "agent": (lambda c: c.sessions.list(agent_id="a").first(), "agent_id="),
    "tags": (lambda c: c.sessions.list(tags=["a"]).first(), "tags="),
    "page": (lambda c: c.sessions.list(page=2).first(), "page="),
    "page one": (lambda c: c.sessions.list(page=1).all(), "page="),
    "sort": (lambda c: c.sessions.list(sort="updated_at").first(), "updated_at"),
    "comment": (lambda c: c.sessions.list(user="a--b").first(), "a--b"),
    "shell": (lambda c: c.sessions.list(user="a;b").first(), "a;b"),
    "nobody": (lambda c: c.sessions.list(user="").first(), "user=''"),
}


@pytest.mark.parametrize(("call", "word"), REFUSED.values(), ids=REFUSED)
async def test_what_it_has_no_way_for_is_refused_before_it_is_sent(
    call: Callable[[StreamSpace], Awaitable[object]], word: str
) -> None:
    async with published(always(500, {})) as (client, server):
        with pytest.raises(UnsupportedError) as caught:
            await call(client)
        assert word in str(caught.value)
        assert "published server" in str(caught.value)
        assert server.url in str(caught.value)
        assert not caught.value.outcome_unknown
    assert server.asked == []


async def test_nothing_is_refused_before_the_first_await() -> None:
    async with published(always(200, {"sessions": [], "total": 0})) as (client, _):
        client.sessions.list(page=2, tags=["a"])


# -- changes ---------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, str, SessionState]] = {
    "hibernate": ("PUT", f"/sessions/{NAME}/hibernate", SessionState.HIBERNATING),
    "wake": ("PUT", f"/sessions/{NAME}/wake", SessionState.WAKING),
    "start": ("PUT", f"/sessions/{NAME}/wake", SessionState.WAKING),
    "terminate": ("DELETE", f"/sessions/{NAME}", SessionState.TERMINATING),
    "stop": ("DELETE", f"/sessions/{NAME}", SessionState.TERMINATING),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_changes_use_the_paths_that_act(name: str) -> None:
    verb, path, state = CHANGES[name]
    async with published(always(202, accepted())) as (client, server):
        update = await getattr(client.sessions.ref(NAME), name)()
    assert server.calls() == [(verb, path)]
    assert update == SessionUpdate(
        id=NAME,
        state=state,
        status=None,
        updated_at=None,
        command_id="cmd-31a6f5a9",
        message="requested",
    )


@pytest.mark.parametrize("name", CHANGES)
async def test_change_is_not_repeated_after_a_lost_answer(name: str) -> None:
    async with published(lambda asked: None, attempts=3) as (client, server):
        with pytest.raises(TransportError) as caught:
            await getattr(client.sessions.ref(NAME), name)()
    assert caught.value.outcome_unknown
    assert len(server.asked) == 1


async def test_deleting_again_is_quiet() -> None:
    answers: list[tuple[Any, ...] | None] = [(202, accepted()), ENDING, None, ENDING]
    async with published(lambda asked: answers.pop(0), attempts=2) as (client, server):
        ref = client.sessions.ref(NAME)
        await ref.delete()
        await ref.delete()
        # The answer is lost, and the repetition finds it ending.
        await ref.delete()
    assert server.calls() == [("DELETE", f"/sessions/{NAME}")] * 4


async def test_terminating_again_is_a_conflict() -> None:
    async with published(always(*ENDING)) as (client, _):
        with pytest.raises(ConflictError):
            await client.sessions.ref(NAME).terminate()


async def test_deleting_what_no_agent_has_is_an_error() -> None:
    refusal = {"error": "Session not ready", "message": "Session has no agent assigned"}
    async with published(always(409, refusal)) as (client, _):
        with pytest.raises(ConflictError, match="no agent"):
            await client.sessions.ref(NAME).delete()


async def test_deleting_what_is_not_there_is_an_error() -> None:
    async with published(always(*GONE)) as (client, _):
        with pytest.raises(NotFoundError):
            await client.sessions.ref(NAME).delete()


# -- fetching --------------------------------------------------------------------------------------


async def test_get_reads_every_field() -> None:
    async with published(always(200, session(maxSessionDuration="8h"))) as (client, _):
        got = await client.sessions.get(NAME)
    at = datetime(2026, 11, 27, 7, 51, 51, 112514, tzinfo=UTC)
    assert (got.id, got.name, got.user, got.template) == (NAME, NAME, "admin", "firefox")
    assert (got.platform, got.state) == (Platform.KUBERNETES, SessionState.RUNNING)
    assert (got.idle_timeout, got.max_session_duration) == (
        timedelta(minutes=30),
        timedelta(hours=8),
    )
    assert (got.created_at, got.last_activity) == (at, at)
    assert got.streaming_protocol is StreamingProtocol.VNC
    assert got.status is not None
    assert (got.status.phase, got.status.pod_name) == ("Running", "pod-1")
    assert got.raw["activeConnections"] == 0


async def test_answer_of_a_cache_is_asked_for_again() -> None:
    old, new = session(state="pending"), session()

    def answer(asked: Asked) -> tuple[Any, ...]:
        return (200, new) if asked.query else (200, old, {"X-Cache": "HIT"})

    async with published(answer) as (client, server):
        for _ in range(3):
            assert (await client.sessions.get(NAME)).state is SessionState.RUNNING
        assert (await client.sessions.ref(NAME).wait_until("running")).state == "running"
        # Another view of the same client knows it too.
        await client.with_options(timeout=5).sessions.get(NAME)
    # Only the first answer came from the cache.
    assert [bool(one.query) for one in server.asked] == [False, True, True, True, True, True]
    queries = [str(one.query) for one in server.asked[1:]]
    assert len(set(queries)) == len(queries)


async def test_query_does_not_vary_without_a_cache() -> None:
    async with published(always(200, session())) as (client, server):
        await client.sessions.get(NAME)
        await client.sessions.get(NAME)
    assert [one.query for one in server.asked] == [{}, {}]


@pytest.mark.parametrize(
    ("name", "sent"), [("a%b c", "a%25b%20c"), ("ü", "%C3%BC"), ("a?b#c", "a%3Fb%23c")]
)
async def test_names_are_quoted(name: str, sent: str) -> None:
    async with published(always(200, session(name))) as (client, server):
        assert (await client.sessions.get(name)).id == name
    assert server.calls() == [("GET", f"/sessions/{sent}")]


@pytest.mark.parametrize(
    "answer",
    [{}, {"state": "running"}, {**session(), "name": None}, {**session(), "createdAt": "soon"}, []],
)
async def test_answer_that_is_no_session_is_an_error(answer: object) -> None:
    async with published(always(200, answer)) as (client, _):
        with pytest.raises(DecodeError):
            await client.sessions.get(NAME)


async def test_numbers_as_text_are_read() -> None:
    given = {**session(createdAt="2026-11-27T07:51:51"), "name": 12}
    async with published(always(200, given)) as (client, _):
        got = await client.sessions.get("12")
    assert (got.id, got.created_at) == ("12", datetime(2026, 11, 27, 7, 51, 51, tzinfo=UTC))


async def test_find_asks_for_the_name() -> None:
    def answer(asked: Asked) -> tuple[Any, ...]:
        if asked.path == "/sessions":
            return 200, {"sessions": [session(), session("a/b")], "total": 2}
        return (200, session()) if asked.path.endswith(NAME) else GONE

    async with published(answer) as (client, server):
        found = await client.sessions.find(NAME)
        assert found is not None
        assert found.id == NAME
        assert await client.sessions.find("other") is None
        listed = await client.sessions.find("a/b")
        assert listed is not None
        assert listed.id == "a/b"
        assert await client.sessions.find("..") is None
    assert [path for _, path in server.calls()] == [
        f"/sessions/{NAME}",
        "/sessions/other",
        "/sessions",
        "/sessions",
    ]


# -- waiting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["hibernating", "waking", "terminating"])
@pytest.mark.parametrize("timeout", [0, 0.05])
async def test_wait_says_that_the_agent_may_not_report(state: str, timeout: float) -> None:
    async with published(always(200, session(state=state))) as (client, _):
        with pytest.raises(WaitTimeout, match="StreamSpace's own agents do not") as caught:
            await client.sessions.ref(NAME).wait_until("running", timeout=timeout, poll=0.01)
        assert caught.value.last == state
        shared = client.sessions.ref(NAME).as_instance()
        with pytest.raises(WaitTimeout, match=f"the end of {state}"):
            await shared.wait_until(InstanceState.RUNNING, timeout=0)


async def test_wait_says_nothing_of_other_states() -> None:
    async with published(always(200, session(state="pending"))) as (client, _):
        with pytest.raises(WaitTimeout) as caught:
            await client.sessions.ref(NAME).wait_until("running", timeout=0)
        assert "own agents" not in str(caught.value)


async def test_failed_session_ends_a_wait_at_once() -> None:
    async with published(always(200, session(state="failed"))) as (client, server):
        with pytest.raises(WaitFailed) as caught:
            await client.sessions.ref(NAME).wait_until("running", timeout=60)
        assert caught.value.last == "failed"
    assert len(server.asked) == 1


SHARED = {
    "pending": InstanceState.STARTING,
    "starting": InstanceState.STARTING,
    "running": InstanceState.RUNNING,
    "hibernating": InstanceState.STOPPING,
    "hibernated": InstanceState.HIBERNATED,
    "waking": InstanceState.STARTING,
    "terminating": InstanceState.STOPPING,
    "terminated": InstanceState.STOPPED,
    "failed": InstanceState.FAILED,
    "a state of tomorrow": InstanceState.UNKNOWN,
}


@pytest.mark.parametrize(("state", "shared"), SHARED.items())
async def test_every_state_has_its_place(state: str, shared: InstanceState) -> None:
    async with published(always(200, session(state=state))) as (client, _):
        got = await client.sessions.get(NAME)
        assert got.as_instance().state is shared
        assert (await got.as_instance().refresh()).state is shared
