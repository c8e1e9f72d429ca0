"""Under an HTTP status of success, only the service's own answer is a success."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS
from tests.unit.desktops_wired import ID
from tests.unit.hostile import STEADY, TEXTS, answered, cases
from tests.unit.test_hostile_answers import Run, wires
from vcloud import APIError, DecodeError, InvalidRequestError, ServerError, VCloudError
from vcloud.providers.vagon import Envelope

#: What gateways, status pages and mocks answer with 200.
SOMEBODY_ELSES = (
    b"{}",
    b"[]",
    b"null",
    b"200",
    b'"OK"',
    b'{"error":"service under maintenance"}',
    b'{"status":"error","code":503}',
    b'{"title":"Please log in","redirect":"/login"}',
    b'{"data":{"client_code":200}}',
    b'{"error":null}',
    b'{"success":false}',
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 5000)
    | TEXTS
    | st.sampled_from([200, "200", 200.0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["client_code", "machine", "message"]) | TEXTS, inner, max_size=3
        )
    ),
    max_leaves=6,
)
CODES: st.SearchStrategy[Any] = st.sampled_from(
    [200, "200", 200.0, 480, 4206, 500, 503, 0, -200, None, True, [], {}, "2OO"]
)
#: Objects with an envelope of any code, whose other fields may hold what looks like one.
ENVELOPES = st.lists(
    st.tuples(
        st.sampled_from(
            ["client_code", "message", "timestamp", "machine", "id", "\\u0063lient_code"]
        ),
        VALUES,
    )
    | st.tuples(st.just("client_code"), CODES),
    max_size=5,
)


#: One action of each of Vagon's APIs that is answered with an envelope alone.
VAGONS: dict[str, Callable[[Any], Awaitable[object]]] = {
    "computers": lambda client: client.machines.ref("100").start(),
    "streams": lambda client: client.users.ref("1").delete(),
}


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:

        async def outcome(call: Awaitable[object]) -> object:
            try:
                return await call
            except VCloudError as error:
                return error

        yield lambda call: runner.run(outcome(call))


def written(pairs: list[tuple[str, Any]]) -> bytes:
    """JSON with these keys in this order, some perhaps twice."""
    return ("{" + ",".join(f'"{key}":{json.dumps(value)}' for key, value in pairs) + "}").encode()


def says_200(body: bytes) -> bool:
    """Whether the object itself has the code 200. Of a key that comes twice, the last counts."""
    code = json.loads(body).get("client_code")
    return not isinstance(code, bool) and code in (200, "200")


@settings(STEADY, max_examples=300)
@given(ENVELOPES)
@example([("client_code", 480), ("machine", {"client_code": 200})])
@example([("message", '"client_code":200}'), ("client_code", 4206)])
@example([("client_code", 200), ("client_code", 480)])
@example([("client_code", 480), ("client_code", 200)])
def test_an_action_of_vagons_is_done_only_if_the_envelope_itself_says_so(
    run: Run, pairs: list[tuple[str, Any]]
) -> None:
    body = written(pairs)
    for api, call in VAGONS.items():
        client, _ = answered(PROVIDERS[api], 200, {}, body)
        got = run(call(client))
        assert got is None or isinstance(got, APIError | DecodeError)
        if not says_200(body):
            assert got is not None, body
        elif all(key == "client_code" for key, _ in pairs):
            assert got is None


@pytest.mark.parametrize("api", ["computers", "streams"])
def test_every_answer_of_vagons_is_an_envelope(api: str, run: Run) -> None:
    assert {wire for case in cases(api) for wire in wires(case, run)}
    for case in cases(api):
        for wire in wires(case, run):
            origin = getattr(wire, "__origin__", wire)
            assert issubclass(origin, Envelope)


@pytest.mark.parametrize("body", SOMEBODY_ELSES, ids=bytes.decode)
@pytest.mark.parametrize("api", PROVIDERS)
def test_json_that_is_not_the_services_passes_for_no_answer_of_any_call(
    api: str, body: bytes, run: Run
) -> None:
    for case in cases(api):
        client, transport = answered(case.provider, 200, {}, body)
        got = run(_last(case.call(client)))
        assert isinstance(got, DecodeError | APIError), f"{case.operation}: {got!r}"
        assert got.outcome_unknown is (transport.asked[-1].method != "GET"), case.operation


async def _last(call: Awaitable[object]) -> object:
    return await call


def action(client: Any) -> Awaitable[object]:
    result: Awaitable[object] = client.ref(ID).move(1, 2)
    return result


def stop(client: Any) -> Awaitable[object]:
    result: Awaitable[object] = client.ref(ID).stop()
    return result


def bash(client: Any) -> Awaitable[object]:
    result: Awaitable[object] = client.ref(ID).bash("pwd")
    return result


@pytest.mark.parametrize(
    ("call", "body", "kind"),
    [
        (action, {"output": ""}, None),
        (action, {"output": "", "error": "a warning"}, None),
        (action, {"status": "success", "output": ""}, None),
        (action, {"error": "a warning"}, DecodeError),
        (action, {"status": "error", "output": "", "error": "no"}, ServerError),
        (action, {"success": False, "output": "", "error": {"issues": []}}, InvalidRequestError),
        (stop, {"status": "terminated"}, None),
        (stop, {"status": "stopping, as of next year"}, None),
        (stop, {"status": "running"}, DecodeError),
        (stop, {"status": "error", "error": "no"}, ServerError),
        (stop, {"status": "error", "code": 503}, ServerError),
        (bash, {"status": "success", "output": ""}, None),
        (bash, {"output": ""}, None),
        (bash, {"status": "error", "output": "", "error": "no"}, ServerError),
        (bash, {"status": "error", "id": "x", "output": ""}, DecodeError),
    ],
)
def test_the_answer_decides_whether_a_desktop_action_was_done(
    call: Callable[[Any], Awaitable[object]],
    body: object,
    kind: type[VCloudError] | None,
    run: Run,
) -> None:
    client, _ = answered(PROVIDERS["desktops"], 200, {}, json.dumps(body).encode())
    got = run(call(client))
    assert type(got) is kind if kind is not None else not isinstance(got, VCloudError)


@pytest.mark.parametrize(
    ("body", "done"),
    [
        (b"", True),
        (b'{"name":"s","commandId":"c","message":"Session is being deleted"}', True),
        (b'{"error":"maintenance","message":"come back later"}', False),
        (b'{"error":"maintenance"}', False),
        (b"{}", False),
    ],
)
def test_a_session_is_deleted_only_if_the_server_says_so(body: bytes, done: bool, run: Run) -> None:
    client, _ = answered(PROVIDERS["streamspace"], 202, {}, body)
    got = run(client.sessions.ref("s").delete())
    assert (got is None) is done
    if not done:
        assert isinstance(got, DecodeError)
        assert got.outcome_unknown


@pytest.mark.parametrize("field", ["message", "timestamp"])
@pytest.mark.parametrize("value", [5, [], {"a": 1}, None, "", "yesterday"], ids=repr)
def test_a_refusal_is_one_whatever_else_is_wrong_with_its_envelope(
    field: str, value: object, run: Run
) -> None:
    body = json.dumps({"client_code": 480, field: value}).encode()
    client, _ = answered(PROVIDERS["computers"], 200, {}, body)
    got = run(client.machines.ref("100").start())
    assert isinstance(got, APIError)
    assert got.code == 480
    assert not got.outcome_unknown
