"""StreamSpace's models: both ways of decoding, both spellings."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fields import fields
from tests.unit.streamspace_samples import (
    AGENT,
    BODIES,
    CODEC,
    ID,
    MOMENT,
    SESSION,
    camel,
    client,
    encoded,
)
from vcloud import (
    ConfigurationError,
    DecodeError,
)
from vcloud._core.codec import Codec
from vcloud._core.scalars import GoDuration
from vcloud.providers.streamspace import (
    Agent,
    Session,
    SessionState,
)


@pytest.mark.parametrize(
    ("model", "body"), BODIES, ids=lambda value: getattr(value, "__name__", "")
)
def test_both_ways_of_decoding_and_both_spellings_give_equal_objects(
    model: type[Any], body: dict[str, Any]
) -> None:
    fast = fields(CODEC.decode_fast(encoded(body), model))
    assert fields(CODEC.decode_leniently(encoded(body), model)) == fast
    assert fields(Codec(strict=True).decode(encoded(body), model)) == fast
    assert fields(CODEC.decode(encoded(camel(body)), model)) == fast


OPTIONAL = sorted(
    SESSION.keys()
    & {"namespace", "persistent_home", "idle_timeout", "tags", "platform_metadata", "last_activity"}
)
TEXT = st.text(max_size=20)
SESSIONS = st.builds(
    lambda given, dropped: {
        key: value for key, value in {**SESSION, **given}.items() if key not in dropped
    },
    st.fixed_dictionaries(
        {
            "name": TEXT,
            "state": st.sampled_from([*SessionState, "melting"]),
            "agent_id": st.none() | TEXT,
            "tags": st.lists(TEXT, max_size=3),
            "persistent_home": st.none() | st.booleans(),
            "idle_timeout": st.none()
            | st.sampled_from(["30m", "1h30m", "10s", "1.5h", "250ms", "0"]),
            "platform_metadata": st.dictionaries(
                TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=3
            ),
            "created_at": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
            "status": st.fixed_dictionaries(
                {"phase": st.none() | TEXT, "message": st.none() | TEXT}, optional={"vnc_url": TEXT}
            ),
            "new_in_2027": st.integers(),
        }
    ),
    st.sets(st.sampled_from(OPTIONAL)),
)


@settings(deadline=None)
@given(SESSIONS)
def test_any_session_is_the_same_both_ways(body: dict[str, Any]) -> None:
    raw = encoded(body)
    assert CODEC.decode_leniently(raw, Session) == CODEC.decode_fast(raw, Session)


def test_session_of_the_published_server_has_its_name_as_its_id_and_none_for_missing_fields() -> (
    None
):
    body = {
        "name": "admin-firefox",
        "namespace": "streamspace",
        "user": "admin",
        "template": "firefox-browser",
        "state": "waking",
        "resources": {"memory": "2Gi"},
        "persistentHome": True,
        "idleTimeout": "",
        "tags": None,
        "status": {"phase": "Running", "podName": "pod-1", "url": "http://somewhere"},
        "createdAt": "2025-11-22T10:45:00.123456789Z",
    }
    session = CODEC.decode(encoded(body), Session)
    assert (session.id, session.state, session.persistent_home) == (
        "admin-firefox",
        SessionState.WAKING,
        True,
    )
    assert (session.idle_timeout, session.tags, session.platform, session.updated_at) == (
        None,
        (),
        None,
        None,
    )
    assert session.status is not None
    assert (session.status.pod_name, session.status.message) == ("pod-1", None)
    assert session.created_at == MOMENT.replace(microsecond=123457)


async def test_lists_of_the_published_server_are_one_page_under_any_of_its_names() -> None:
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        ("published", {"sessions": [camel({**SESSION, "name": ID})], "total": 1}),
        ("documented", {"items": [SESSION], "total": 1}),
    )
    for dialect, body in bodies:
        made, transport = client(body, dialect=dialect)
        (page,) = [page async for page in made.sessions.list().pages()]
        assert (page.total, page.next) == (1, None)
        assert page.items[0].id == ID
        assert page.items[0].raw == next(iter(body.values()))[0]
        assert len(transport.asked) == 1
    made, _ = client({"items": [camel(SESSION)], "total": 1})
    with pytest.raises(DecodeError, match='dialect="published"'):
        await made.sessions.list().all()
    made, _ = client({"templates": None, "total": 0})
    assert await made.templates.list().all() == []


async def test_an_answer_that_is_not_a_list_is_a_decode_error() -> None:
    bodies: tuple[object, ...] = (
        {},
        {"error": "x"},
        [],
        "text",
        {"sessions": "abc"},
        {"sessions": [1]},
    )
    for body in bodies:
        made, _ = client(body)
        with pytest.raises(DecodeError):
            await made.sessions.list().all()


def test_documented_spelling_wins_over_the_other() -> None:
    body = {**SESSION, "agentId": "other"}
    del body["updated_at"]
    assert CODEC.decode(encoded(body), Session).agent_id == "k8s-prod-us-east-1"


def test_strict_decoding_refuses_the_other_spelling() -> None:
    with pytest.raises(DecodeError):
        Codec(strict=True).decode(encoded(camel(SESSION)), Session)


@pytest.mark.parametrize("text", ["", "m", "30", "30 m", "1h-2m", "3d", None, 30, "9" * 75 + "h"])
def test_duration_that_is_none_is_refused_both_ways(text: object) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(encoded({"at": text}), dict[str, GoDuration])


def test_capacity_that_an_agent_does_not_measure_is_none() -> None:
    agent = CODEC.decode(
        encoded({**AGENT, "capacity": {"max_sessions": 50, "current_sessions": 5}}), Agent
    )
    assert agent.capacity is not None
    assert (agent.capacity.max_cpu, agent.capacity.max_sessions) == (None, 50)


async def test_resources_can_be_hashed_pickled_and_show_what_the_service_sent() -> None:
    made, _ = client({**SESSION, "new": 1})
    session = await made.sessions.get(ID)
    assert len({session, session}) == 1
    back = pickle.loads(pickle.dumps(session))
    assert back == session
    assert back.raw["new"] == 1
    with pytest.raises(ConfigurationError, match="belongs to no client"):
        await back.hibernate()
