"""Lists of StreamSpace's published server, over sockets: they come whole, and are cut here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.published_server import Asked, accepted, published, session
from vcloud import DecodeError, InstanceState, Pager, ServerError, VCloud
from vcloud.providers.streamspace import Session, SessionState
from vcloud.providers.streamspace.agents import AgentRef

AGO = [f"2026-11-27T07:51:{second:02}.000000Z" for second in range(60)]


def fleet() -> list[dict[str, Any]]:
    """Newest first, as the server lists them."""
    return [
        session("c", createdAt=AGO[30], user="bob", state="terminated"),
        session("b", createdAt=AGO[20], user="ann", state="running", template="gimp"),
        session("a", createdAt=AGO[10], user="bob", state="failed", platform="docker"),
        session("0", createdAt=AGO[5], user="ann", state="hibernated"),
    ]


def whole(asked: Asked) -> tuple[Any, ...]:
    found = [one for one in fleet() if one["user"] == asked.query.get("user", one["user"])]
    return 200, {"sessions": found, "total": len(found)}


def ids(sessions: list[Session] | tuple[Session, ...]) -> str:
    return "".join(one.id for one in sessions)


async def pages(pager: Pager[Session]) -> list[str]:
    return [ids(page.items) async for page in pager.pages()]


async def test_list_is_one_page_without_a_limit() -> None:
    async with published(whole) as (client, server):
        pager = client.sessions.list()
        [page] = [page async for page in pager.pages()]
        assert (ids(page.items), page.number, page.total, page.next) == ("cba0", 1, 4, None)
        assert page.items[0].created_at is not None
        # Each iteration reads the list anew.
        assert ids(await pager.all()) == "cba0"
    assert [(one.verb, one.path, one.query) for one in server.asked] == [
        ("GET", "/sessions", {}),
        ("GET", "/sessions", {}),
    ]


@pytest.mark.parametrize(
    ("limit", "cut"),
    [
        (1, ["c", "b", "a", "0"]),
        (2, ["cb", "a0"]),
        (3, ["cba", "0"]),
        (4, ["cba0"]),
        (100, ["cba0"]),
    ],
)
@pytest.mark.parametrize("ahead", [0, 3])
async def test_limit_is_the_size_of_pages(limit: int, cut: list[str], ahead: int) -> None:
    async with published(whole) as (client, server):
        pager = client.sessions.list(limit=limit)
        if ahead:
            pager = pager.prefetch(ahead)
        found = [page async for page in pager.pages()]
        assert [ids(page.items) for page in found] == cut
        assert [page.number for page in found] == list(range(1, len(cut) + 1))
        assert [page.next for page in found] == [*range(2, len(cut) + 1), None]
        assert {page.total for page in found} == {4}
        assert {page.last for page in found} == {len(cut)}
    # One request, and the server reads no limit.
    assert [one.query for one in server.asked] == [{}]


@pytest.mark.parametrize(
    ("filters", "found", "sent"),
    [
        ({"user": "ann"}, "b0", {"user": "ann"}),
        ({"user": "nobody"}, "", {"user": "nobody"}),
        ({"state": "terminated"}, "c", {}),
        ({"state": SessionState.FAILED, "user": "bob"}, "a", {"user": "bob"}),
        ({"state": SessionState("tomorrow")}, "", {}),
        ({"template": "gimp"}, "b", {}),
        ({"platform": "docker"}, "a", {}),
        ({"platform": "docker", "state": "running"}, "", {}),
        ({"sort": "created_at"}, "cba0", {}),
        ({"sort": "created_at", "order": "asc"}, "0abc", {}),
        ({"order": "asc"}, "0abc", {}),
        ({"order": "desc"}, "cba0", {}),
        ({"sort": "user"}, "cab0", {}),
        ({"sort": "user", "order": "asc"}, "b0ca", {}),
        ({"sort": "state", "order": "asc"}, "a0bc", {}),
        ({"sort": "state", "state": "running", "template": "gimp"}, "b", {}),
    ],
)
async def test_filters_and_the_order_are_applied_here(
    filters: dict[str, Any], found: str, sent: dict[str, str]
) -> None:
    async with published(whole) as (client, server):
        assert ids(await client.sessions.list(**filters).all()) == found
        # Filtered before it is cut, so every page but the last is full.
        cut = await pages(client.sessions.list(**filters, limit=2))
        assert cut == ([found[:2], found[2:]] if len(found) > 2 else [found])
    assert [one.query for one in server.asked] == [sent, sent]


async def test_sessions_without_a_value_come_as_the_least() -> None:
    listed = [session("b", createdAt=AGO[20]), session("?", createdAt=None), session("a")]
    async with published(lambda asked: (200, {"sessions": listed})) as (client, _):
        assert ids(await client.sessions.list(sort="created_at", order="asc").all())[0] == "?"
        assert ids(await client.sessions.list(sort="created_at").all())[-1] == "?"


@pytest.mark.parametrize("answer", [{"sessions": None, "total": 0}, {"sessions": [], "total": 0}])
async def test_empty_list(answer: dict[str, Any]) -> None:
    async with published(lambda asked: (200, answer)) as (client, _):
        assert await client.sessions.list().all() == []
        assert await client.sessions.list(limit=2).first() is None
        assert await pages(client.sessions.list(limit=2)) == [""]


@pytest.mark.parametrize("answer", [{}, {"total": 3}, {"sessions": "none"}, [], None])
async def test_answer_that_is_no_list_is_an_error(answer: object) -> None:
    async with published(lambda asked: (200, answer)) as (client, _):
        with pytest.raises(DecodeError):
            await client.sessions.list().all()


async def test_sessions_that_cannot_be_read_are_named_once() -> None:
    broken = {key: value for key, value in session().items() if key != "name"}
    listed = [session("a"), broken, session("b"), session("c")]
    async with published(lambda asked: (200, {"sessions": listed, "total": 4})) as (client, server):
        iteration = client.sessions.list(limit=2).pages()
        with pytest.raises(DecodeError, match=r"sessions\[1\]") as caught:
            await anext(iteration)
        assert ids(caught.value.items) == "ab"
        assert iteration.passed(caught.value)
        second = await anext(iteration)
        assert (ids(second.items), second.number, second.total) == ("c", 2, 4)
        with pytest.raises(StopAsyncIteration):
            await anext(iteration)
        with pytest.raises(DecodeError):
            await client.sessions.list().all()
    assert len(server.asked) == 2


async def test_numbers_as_text_are_read() -> None:
    listed = [{**session("a"), "activeConnections": "0"}, {**session("b"), "name": 7}]
    async with published(lambda asked: (200, {"sessions": listed, "total": "2"})) as (client, _):
        assert ids(await client.sessions.list().all()) == "a7"


async def test_list_is_asked_for_again_after_a_failure() -> None:
    answers: list[tuple[Any, ...]] = [(500, {"error": "Failed to list sessions"})]

    def answer(asked: Asked) -> tuple[Any, ...]:
        return answers.pop() if answers else whole(asked)

    async with published(answer) as (client, _):
        iteration = client.sessions.list(limit=3).pages()
        with pytest.raises(ServerError):
            await anext(iteration)
        assert [ids(page.items) async for page in iteration] == ["cba", "0"]


async def test_iterations_at_once_keep_their_own_lists() -> None:
    turns = iter(range(9))

    def answer(asked: Asked) -> tuple[Any, ...]:
        turn = next(turns)
        return 200, {"sessions": [session(f"{turn}{n}") for n in range(2)], "total": 2}

    async with published(answer) as (client, _):
        pager = client.sessions.list(limit=1)
        one, two = await asyncio.gather(pages(pager), pages(pager))
        assert sorted([one, two]) == [["00", "01"], ["10", "11"]]


async def test_take_and_first() -> None:
    async with published(whole) as (client, server):
        assert ids(await client.sessions.list(limit=2).take(3)) == "cba"
        first = await client.sessions.list().first()
        assert first is not None
        assert first.id == "c"
    assert len(server.asked) == 2


async def test_wrong_limits_are_refused_as_ever() -> None:
    async with published(whole) as (client, server):
        for limit in (0, 101, True, "2"):
            with pytest.raises(ValueError, match="limit"):
                client.sessions.list(limit=limit)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="agent_id"):
            client.sessions.list(agent_id=AgentRef(agent_id=""))
    assert server.asked == []


# -- instances and bulk runs -----------------------------------------------------------------------


async def test_instances_leave_out_what_ended() -> None:
    async with published(whole) as (client, server):
        states = [(one.id, one.state) for one in await client.instances().all()]
        assert states == [
            ("b", InstanceState.RUNNING),
            ("a", InstanceState.FAILED),
            ("0", InstanceState.HIBERNATED),
        ]
        async with VCloud(streamspace=server.endpoint, streamspace_dialect="published") as cloud:
            assert [one.id async for one in cloud.instances()] == ["b", "a", "0"]
            ref = cloud.instance("streamspace/b")
            assert ref.key == "streamspace/b"


async def test_bulk_run_over_published_sessions() -> None:
    ended: set[str] = set()

    def answer(asked: Asked) -> tuple[Any, ...]:
        if asked.verb == "GET":
            return whole(asked)
        name = asked.path.removeprefix("/sessions/").partition("/")[0]
        ended.add(name)
        return 202, accepted(name)

    async def end(found: Session) -> str:
        return (await found.terminate()).id

    async with published(answer) as (_, server):
        async with VCloud(streamspace=server.endpoint, streamspace_dialect="published") as cloud:
            running = cloud.streamspace.sessions.list(state="running", limit=1)
            async with cloud.bulk(running, end) as run:
                outcomes = [one async for one in run]
        assert [one.result for one in outcomes] == ["b"]
        assert ended == {"b"}
    # Each item by its own request: batches there tell no agent.
    assert server.calls() == [("GET", "/sessions"), ("DELETE", "/sessions/b")]
