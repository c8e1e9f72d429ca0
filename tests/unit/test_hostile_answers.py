"""Any answer gives a result or one of our errors, and both can be printed."""

from __future__ import annotations

import asyncio
import importlib
import json
import pickle
import pkgutil
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vcloud.providers
from tests.contract.contract_harness import PROVIDERS
from tests.unit.fields import fields
from tests.unit.hostile import HEADERS, RUBBISH, STATUSES, STEADY, Case, answered, cases, spoiled
from vcloud import (
    APIError,
    BearerAuth,
    DecodeError,
    InvalidArgumentError,
    Request,
    Response,
    VCloudError,
)
from vcloud._core.client import session_of
from vcloud._core.codec import Codec
from vcloud._core.decoding.plain_json import MAX_DEPTH
from vcloud._core.decoding.shape import Shape
from vcloud._core.decoding.spelled import is_spelled
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.request import json_body
from vcloud._core.resource import Handle
from vcloud.providers.streams.models import IdleDuration

Run = Callable[[Awaitable[object]], object]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:

        async def outcome(call: Awaitable[object]) -> object:
            try:
                return await call
            except VCloudError as error:
                return error

        yield lambda call: runner.run(outcome(call))


def look(got: Any) -> None:
    """What a person does with what came of a call. None of it may fail."""
    for one in got if isinstance(got, list | tuple) else [got]:
        shown = repr(one), str(one)
        if isinstance(one, VCloudError):
            assert max(map(len, shown)) < 5000, "an error stands in logs"
        if isinstance(one, Handle):
            for name in dir(type(one)):
                if isinstance(getattr(type(one), name), property) and not name.startswith("_"):
                    # A service may send an id or an address that is none, or what Python has no
                    # value for.
                    try:
                        getattr(one, name)
                    except (DecodeError, InvalidArgumentError):
                        assert name in ("raw", "vnc_url")
        if not isinstance(one, Secretive):
            assert repr(pickle.loads(pickle.dumps(one))) == shown[0]


@pytest.mark.parametrize("api", PROVIDERS)
def test_a_spoiled_document_is_a_result_or_an_error_of_ours(api: str, run: Run) -> None:
    @settings(STEADY, max_examples=120)
    @given(
        st.sampled_from(cases(api)).flatmap(
            lambda case: st.tuples(st.just(case), st.sampled_from(case.answers).flatmap(spoiled))
        )
    )
    def check(given: tuple[Case, bytes]) -> None:
        case, body = given
        client, _ = answered(case.provider, 200, {}, body, max_pages=20)
        look(run(case.call(client)))

    check()


@pytest.mark.parametrize("api", PROVIDERS)
def test_any_status_headers_and_body_are_a_result_or_an_error_of_ours(api: str, run: Run) -> None:
    @settings(STEADY, max_examples=100)
    @given(st.sampled_from(cases(api)), STATUSES, HEADERS, RUBBISH)
    def check(case: Case, status: int, headers: dict[str, str], body: bytes) -> None:
        client, _ = answered(case.provider, status, headers, body, max_pages=20)
        got = run(case.call(client))
        look(got)
        if status >= 300:
            assert isinstance(got, APIError)
            assert got.status == status

    check()


@pytest.mark.parametrize("api", PROVIDERS)
def test_a_provider_finds_a_refusal_or_none_or_a_decode_error(api: str) -> None:
    client, _ = answered(PROVIDERS[api], 200, {}, b"")
    documents = [answer for case in cases(api) for answer in case.answers]
    request = Request("POST", "/x", body=b'{"password":"hush","text":["error"]}', sensitive=True)

    @settings(STEADY, max_examples=120)
    @given(STATUSES, HEADERS, RUBBISH | st.sampled_from(documents).flatmap(spoiled), st.booleans())
    def check(status: int, headers: dict[str, str], body: bytes, sensitive: bool) -> None:
        asked = request if sensitive else Request("GET", "/x")
        try:
            error: VCloudError | None = session_of(client).service.error(
                asked, Response(status, headers, body), "https://h/x", now=1.8e9
            )
        except DecodeError as failure:
            assert 200 <= status < 300
            error = failure
        look(error)

    check()


# -- every class that answers are decoded into -----------------------------------------------------


def modules() -> list[ModuleType]:
    return [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(vcloud.providers.__path__, "vcloud.providers.")
    ]


class Noting(Codec):
    """Keeps what is to be decoded, and decodes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: set[type[Any]] = set()

    def decode(self, body: bytes, wire: type[Any], *, sensitive: bool = False) -> Any:
        self.wires.add(wire)
        raise DecodeError("noted")


def wires(case: Case, run: Run) -> set[type[Any]]:
    codec = Noting()
    client, _ = answered(case.provider, 200, {}, b'{"client_code":200}', codec=codec)
    run(case.call(client))
    return codec.wires


def parts(kind: Any, found: set[type[Any]]) -> set[type[Any]]:
    """The classes that a value of this one is made of."""
    for inner in get_args(kind):
        parts(inner, found)
    origin = get_origin(kind) or kind
    if is_spelled(origin) and origin.model is not None:
        parts(origin.model, found)
    if isinstance(origin, type) and attrs.has(origin) and origin not in found:
        found.update(base for base in origin.__mro__ if attrs.has(base))
        for inner in (
            *get_type_hints(origin, include_extras=True).values(),
            *getattr(origin, "__orig_bases__", ()),
        ):
            parts(inner, found)
    return found


#: Models of which no answer consists.
NOT_DECODED: Final = {
    "computers.models.BaseImage",  # made here, of what was decoded
    "computers.models.Software",
    "computers.tasks.TaskActivation",
    "desktops.errors._Refusal",  # of a refusal
    "desktops.models.ActionResult",
    "desktops.models.Screenshot",
    "streams.machines.Assignment",
    "streams.models.Capacity",  # sent
    "streams.connect_undo.ConnectUndo",  # of our own machines
    "streamspace.agent.hooks.AgentHooks",  # given by the user
    "streamspace.agent.choosing.LinkOptions",
    "streamspace.agent.options.AgentOptions",
    "streamspace.agent.published.approval.Approval",  # waits for one
    "streamspace.realtime.vnc_relay.RelayProgress",  # what came of a relay
    "streamspace.spelling._Known",  # about the models
    "vagon._Refusal",  # of a refusal
}


#: A ping sends a request of its own where no call of the document will do.
PINGS: Final = [Case(PROVIDERS["streamspace-published"], "ping", lambda c: c.ping(), [{}])]


def test_no_class_that_answers_are_decoded_into_is_forgotten(run: Run) -> None:
    tested = {wire for case in [*cases(*PROVIDERS), *PINGS] for wire in wires(case, run)}
    shapes = {
        shape.wire
        for module in modules()
        for shape in vars(module).values()
        if isinstance(shape, Shape)
    }
    assert shapes <= tested
    made_of: set[type[Any]] = set()
    for wire in tested:
        parts(wire, made_of)
    models = {
        f"{module.__name__.removeprefix('vcloud.providers.')}.{model.__name__}"
        for module in modules()
        for model in vars(module).values()
        if isinstance(model, type)
        and attrs.has(model)
        and model.__module__ == module.__name__
        and model not in made_of
    }
    not_from_answers = {
        name
        for name in models
        if name.startswith(
            (
                "desktops.actions.",
                "streamspace.agent.messages.",
                "streamspace.agent.published.vnc_messages.",
            )
        )
    }  # actions are sent, and messages come on a socket: they have tests of their own
    assert models - not_from_answers == NOT_DECODED


@pytest.mark.parametrize("api", PROVIDERS)
def test_where_both_ways_of_decoding_succeed_they_agree(api: str, run: Run) -> None:
    known = [
        (wire, case.answers) for case in cases(api) for wire in sorted(wires(case, run), key=repr)
    ]
    codec = Codec()

    @settings(STEADY, max_examples=120)
    @given(
        st.sampled_from(known).flatmap(
            lambda one: st.tuples(
                st.just(one[0]), st.sampled_from(one[1]).flatmap(spoiled) | RUBBISH
            )
        )
    )
    def check(given: tuple[type[Any], bytes]) -> None:
        wire, body = given
        value, lenient = (
            decoded(decode, body, wire) for decode in (codec.decode, codec.decode_leniently)
        )
        try:
            fast = codec.decode_fast(body, wire)
        except Exception:
            # What only the lenient way reads, or none.
            assert type(value) is type(lenient)
            assert isinstance(value, DecodeError) or repr(fields(value)) == repr(fields(lenient))
            return
        assert repr(fields(value)) == repr(fields(fast))
        if isinstance(lenient, DecodeError):
            # What the models do not know is not looked at by the fast way.
            assert "not JSON" in str(lenient) or "levels deep" in str(lenient)
        else:
            assert repr(fields(lenient)) == repr(fields(fast))

    check()


def decoded(decode: Callable[[bytes, type[Any]], Any], body: bytes, wire: type[Any]) -> Any:
    try:
        return decode(body, wire)
    except DecodeError as error:
        assert max(map(len, (repr(error), str(error)))) < 5000  # noqa: PT017 - only its text
        return error


# -- what was found once ---------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [MAX_DEPTH - 10, 480, 900, 100_000])
def test_details_that_are_nested_too_deep_to_be_printed_are_left_out(levels: int, run: Run) -> None:
    for nested in (b"[" * levels + b"]" * levels, b'{"a":' * levels + b"1" + b"}" * levels):
        for case in cases(*PROVIDERS):
            for body in (
                b'{"error":"no","details":%s}' % nested,
                b'{"success":false,"error":{"issues":%s}}' % nested,
            ):
                got = run(case.call(answered(case.provider, 400, {}, body)[0]))
                assert isinstance(got, APIError)
                look(got)
                pickle.dumps(got.details)


def test_the_services_words_are_cut(run: Run) -> None:
    body = b'{"error":"%s","message":"%s","code":"%s","request_id":"%s"}' % ((b"x" * 100_000,) * 4)
    for case in cases(*PROVIDERS):
        got = run(case.call(answered(case.provider, 400, {"X-Request-Id": "x" * 8000}, body)[0]))
        assert isinstance(got, APIError)
        assert len(got.message) < 1100
        assert len(str(got)) + len(repr(got)) < 5000


@pytest.mark.parametrize("value", ["1e999", "9" * 5000, "[" * 300 + "]" * 300])
def test_a_value_that_python_cannot_hold_only_affects_raw(value: str, run: Run) -> None:
    body = f'{{"id":"d","status":"pending","more":{value},"other":7}}'.encode()
    desktop = run(answered(PROVIDERS["desktops"], 200, {}, body)[0].launch())
    assert isinstance(desktop, Handle)
    again = pickle.loads(pickle.dumps(desktop))
    assert again == desktop
    for one in (desktop, again):
        if value.startswith("["):
            assert one.raw["other"] == 7
        else:
            with pytest.raises(DecodeError, match="LaunchedDesktop cannot be read as a whole"):
                _ = one.raw


async def test_on_a_list_such_a_value_spoils_one_raw_and_no_other() -> None:
    example = next(
        case for case in cases("computers") if case.operation == "machines.list"
    ).answers[0]
    first, second = example["machines"]
    first["attributes"] |= {"more": "@"}
    body = (
        json.dumps({**example, "machines": [first, second], "next_page": None})
        .replace('"@"', "1e999")
        .encode()
    )
    machines = await answered(PROVIDERS["computers"], 200, {}, body)[0].machines.list().all()
    assert pickle.loads(pickle.dumps(machines)) == machines
    assert machines[1].raw == second
    with pytest.raises(DecodeError, match="cannot be read as a whole"):
        _ = machines[0].raw


async def test_an_empty_list_may_stand_beside_such_a_value() -> None:
    body = b'{"templates":null,"more":1e999}'
    assert await answered(PROVIDERS["streamspace"], 200, {}, body)[0].templates.list().all() == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"error": {"issues": [{"path": 7, "message": "no"}, 3, {"path": {"a": 1}}]}},
            "no; 3; None",
        ),
        ({"error": f"Command failed with code {'9' * 5000}"}, "Command failed"),
        ({"error": "Command failed with code \u0663"}, "Command failed"),
    ],
)
async def test_a_desktops_refusal_of_any_shape_is_read_as_far_as_it_goes(
    body: object, said: str
) -> None:
    client, _ = answered(PROVIDERS["desktops"], 400, {}, json.dumps(body).encode())
    with pytest.raises(APIError, match=said) as caught:
        await client.get("x")
    assert "exit_code" not in repr(caught.value.details)


@pytest.mark.parametrize(
    "text", ["9" * 4500 + "_min", "9" * 12 + "_hour", "\u0663_min", "_min", "-1_min", "2_min"]
)
def test_an_invalid_duration_becomes_none(text: str) -> None:
    assert IdleDuration(text).duration == {
        "\u0663_min": timedelta(minutes=3),
        "2_min": timedelta(minutes=2),
    }.get(text)


@pytest.mark.parametrize("token", ["", " ", "a\r\nX-Injected: 1", "tok\x00en", "t\u00f6ken"])
def test_a_token_that_cannot_be_one_is_the_services_mistake(token: str, run: Run) -> None:
    auth = BearerAuth.login("admin", "password")
    answer = Response(
        200, {}, json_body({"token": token, "expires_at": "9999-12-31T23:59:59-14:00"})
    )

    async def send(request: Request) -> Response:
        return answer

    got = run(auth.acquire(send, now=0.0))
    assert isinstance(got, DecodeError)
    assert token.strip() == "" or token not in str(got)


def test_the_end_of_a_token_may_be_beyond_the_calendar(run: Run) -> None:
    auth = BearerAuth.login("admin", "password")

    async def send(request: Request) -> Response:
        return Response(
            200, {}, json_body({"token": "t", "expires_at": "9999-12-31T23:59:59-14:00"})
        )

    run(auth.acquire(send, now=0.0))
    assert auth.ready(0.0)
    assert auth.expires_at is not None
    assert auth.expires_at.year == 9999
