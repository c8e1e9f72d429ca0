"""The published server's answers: both decoders give equal objects, and no field is lost."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any, Final

import attrs
import msgspec
import pytest

from tests.contract.contract_harness import DOCUMENTS
from vcloud._core.codec import Codec
from vcloud._core.decoding.shape import Shape
from vcloud._core.decoding.spelled import Spelled, spelled
from vcloud.errors import DecodeError
from vcloud.providers.streamspace import Session
from vcloud.providers.streamspace.dialects import published
from vcloud.providers.streamspace.models import Resources

DOCUMENT: Final[dict[str, Any]] = json.loads(
    (DOCUMENTS / "streamspace-published.json").read_text(encoding="utf-8")
)
SHAPES: Final[dict[str, Shape[Any, Any]]] = {
    "agents.list": published.agents.AGENTS,
    "agents.get": published.agents.AGENT,
    "sessions.list": published.sessions.SESSIONS,
    "sessions.create": published.sessions.CREATED,
    "sessions.get": published.sessions.SESSION,
    "sessions.hibernate": published.sessions.COMMAND,
    "sessions.wake": published.sessions.COMMAND,
    "sessions.delete": published.sessions.COMMAND,
    "templates.list": published.templates.TEMPLATES,
    "templates.get": published.templates.TEMPLATE,
    "templates.create": published.templates.TEMPLATE,
    "users.list": published.users.USERS,
    "users.me": published.users.USER,
    "users.create": published.users.USER,
}
ANSWERS: Final = [
    pytest.param(
        SHAPES[operation["id"]], answer["body"], id=f"{operation['id']}-{answer['status']}-{number}"
    )
    for operation in DOCUMENT["operations"]
    if operation["id"] in SHAPES
    for number, answer in enumerate(operation["responses"])
    if answer["status"] < 300
]
SESSION: Final[dict[str, Any]] = next(
    operation["responses"][0]["body"]
    for operation in DOCUMENT["operations"]
    if operation["id"] == "sessions.get"
)
CODEC: Final = Codec()
#: What is read, and is a field of another model.
NOT_KEPT: Final[dict[type[Spelled], set[str]]] = {
    published.sessions.StatusAnswer: {"last_activity"},  # is the session's
    published.agents.AgentAnswer: {"approval"},
    published.agents.SentCommand: {"kept_under"},
}


def fields(value: Any) -> Any:
    """An object as plain values, lists among them without their answer."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return attrs.asdict(value) if attrs.has(type(value)) else value


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


def session(**changes: object) -> bytes:
    return body_of(SESSION | changes)


def decoded(body: bytes) -> Session:
    return CODEC.decode(body, published.sessions.SESSION.wire)


def spellings(kind: type[Spelled] = Spelled) -> list[type[Spelled]]:
    return [
        found
        for below in kind.__subclasses__()
        for found in (below, *spellings(below))
        if below.__module__.startswith(published.__name__)
    ]


@pytest.mark.parametrize(("shape", "answer"), ANSWERS)
def test_the_fast_the_lenient_and_the_strict_decoder_give_equal_objects(
    shape: Shape[Any, Any], answer: Any
) -> None:
    body = body_of(answer)
    fast = CODEC.decode_fast(body, shape.wire)
    assert fields(fast) == fields(CODEC.decode_leniently(body, shape.wire))
    assert fields(fast) == fields(Codec(strict=True).decode(body, shape.wire))
    model = shape.wire.model
    assert model is None or type(fast) is model


@pytest.mark.parametrize(("shape", "answer"), ANSWERS)
def test_the_strict_decoder_refuses_what_the_document_does_not_say(
    shape: Shape[Any, Any], answer: dict[str, Any]
) -> None:
    strict = Codec(strict=True)
    with pytest.raises(DecodeError, match="unheardOf are not known"):
        strict.decode(body_of(answer | {"unheardOf": 1}), shape.wire)
    wire: Any = shape.wire
    demanded = [
        field.encode_name
        for field in msgspec.structs.fields(wire)
        if field.default is not msgspec.UNSET and field.name not in wire.optional
    ]
    for name in demanded:
        with pytest.raises(DecodeError, match=f"the documented {name} is absent"):
            strict.decode(
                body_of({key: value for key, value in answer.items() if key != name}), wire
            )


@pytest.mark.parametrize("kind", [kind for kind in spellings() if kind.model is not None])
def test_every_attribute_of_an_answer_is_a_field_of_its_model(kind: type[Spelled]) -> None:
    assert kind.model is not None
    known = {field.name for field in attrs.fields(kind.model)}
    read = {field.name for field in msgspec.structs.fields(kind)} - {"documented"}
    assert read - known == NOT_KEPT.get(kind, set())


def test_a_session_has_what_the_server_says() -> None:
    found = decoded(session())
    assert (found.id, found.name) == (SESSION["name"], SESSION["name"])
    assert (found.state, found.platform) == ("running", "kubernetes")
    assert found.resources == Resources(cpu="1000m", memory="2Gi")
    assert (found.persistent_home, found.idle_timeout) == (True, timedelta(minutes=30))
    assert found.status is not None
    assert (found.status.phase, found.status.pod_name) == ("Running", "pod-552afe2e")
    assert found.last_activity is not None
    assert found.last_activity.isoformat() == "2026-11-27T07:51:51.167153+00:00"
    # The server has no such fields; a list of a document is empty, not None.
    assert (found.agent_id, found.tags, found.platform_metadata, found.updated_at) == (
        None,
        (),
        {},
        None,
    )


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"idleTimeout": ""}, "idle_timeout", None),
        ({"idleTimeout": None}, "idle_timeout", None),
        ({"status": None}, "last_activity", None),
        ({"status": {"phase": "Pending"}}, "last_activity", None),
        ({"persistentHome": "true"}, "persistent_home", True),
        ({"name": 7}, "id", "7"),
        ({"state": "odd"}, "state", "odd"),
    ],
)
def test_values_that_are_empty_or_of_another_type(
    changes: dict[str, object], field: str, value: object
) -> None:
    assert getattr(decoded(session(**changes)), field) == value


def test_a_wrong_value_is_named_by_the_server_s_name_of_the_field() -> None:
    with pytest.raises(DecodeError, match=r"expected a duration .* @ SessionAnswer.idleTimeout"):
        decoded(session(idleTimeout="soon"))
    with pytest.raises(DecodeError, match=r"required field missing @ SessionAnswer.name"):
        decoded(body_of({"state": "running"}))


def test_a_list_is_read_without_its_broken_sessions() -> None:
    items = [SESSION, SESSION | {"name": None}, SESSION | {"createdAt": 5}, SESSION]
    wire: Any = published.sessions.SESSIONS.wire
    answer, broken = CODEC.decode_items(body_of({"sessions": items, "total": 4}), wire)
    assert [one.id for one in answer.sessions] == [SESSION["name"]] * 2
    assert (broken["sessions"].positions, broken["sessions"].count) == ((0, 3), 2)
    assert broken["sessions"].reason.endswith("1 more of its items were not read")


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (published.sessions.SESSION, SESSION | {"id": "770e8400-e29b-41d4-a716-446655440002"}),
        (published.sessions.SESSIONS, {"sessions": [], "pagination": {"page": 1}}),
        (published.sessions.SESSIONS, {"sessions": None, "pagination": None}),
        (published.users.USER, {"id": "7", "created_at": "2026-11-27T07:51:51Z"}),
    ],
)
def test_an_answer_in_the_other_dialect_names_the_argument(
    shape: Shape[Any, Any], body: object
) -> None:
    for decode in (CODEC.decode, CODEC.decode_leniently, CODEC.decode_items):
        with pytest.raises(DecodeError, match='give dialect="documented"'):
            decode(body_of(body), shape.wire)


def test_a_client_s_own_words_for_the_other_dialect_go_first() -> None:
    codec = Codec()
    codec.explain = lambda body: DecodeError("in the client's own words")
    with pytest.raises(DecodeError, match="in the client's own words"):
        codec.decode(session(id="770e8400"), published.sessions.SESSION.wire)
    assert codec.decode(session(), published.sessions.SESSION.wire).id == SESSION["name"]


def test_a_fetched_session_has_its_answer_and_can_be_pickled() -> None:
    body = session(newField=1)
    found = published.sessions.SESSION.open(decoded(body), None, body)
    assert found.raw == SESSION | {"newField": 1}
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert again.raw == found.raw


def test_a_spelling_of_another_model_is_refused() -> None:
    with pytest.raises(TypeError, match="SessionAnswer is no spelling of Resources"):
        spelled(Resources, published.sessions.SessionAnswer)
