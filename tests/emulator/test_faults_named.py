"""Faults for other languages: a header for one request, and the emulator's own routes."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulator.faults_raw import DESKTOP, Caller, calling
from vcloud.emulator import Fault
from vcloud.emulator.__main__ import main
from vcloud.emulator.admin.routes import LONGEST_ROUTE, MOST_BYTES, MOST_RULES
from vcloud.emulator.faults.limits import LONGEST_VALUE, MOST_SIZE
from vcloud.emulator.faults.named import HEADER, NAMES, from_header, named
from vcloud.emulator.faults.play import ACTIONS


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with calling() as made:
        yield made


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset_after", Fault.reset_after()),
        (" too_many ; retry_after = 2;form=date ", Fault.too_many(2, "date")),
        ("too_many; retry_after=soon", Fault.too_many("soon")),
        ("too_many; retry_after=null", Fault.too_many(None)),
        ("stall_body; after=3; seconds=0.5", Fault.stall_body(3, 0.5)),
        ("truncate; n=2; chunked=true", Fault.truncate(2, chunked=True)),
        ("nulls; names=id, name", Fault.nulls("id", "name")),
        ("missing", Fault.missing()),
        ("unknown_values; names=state; value=x", Fault.unknown_values("state", value="x")),
        (
            'reply; status=418; body="a;\\"b"; content_type=text/plain',
            Fault.reply(418, 'a;"b', content_type="text/plain"),
        ),
        ("reply; status=418; body=[1, 2]", Fault.reply(418, [1, 2])),
        ("redirect; to=/x; status=308", Fault.redirect("/x", 308)),
    ],
)
def test_a_header_orders_a_fault(text: str, fault: Fault) -> None:
    assert from_header(text) == fault


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no fault is called ''; there are clock,"),
        ("explode", "no fault is called 'explode'"),
        ("edit", "no fault is called 'edit'"),
        (
            "too_many; when=2",
            "too_many: .*unknown field `when`; its arguments are retry_after, form",
        ),
        ("too_many; form=fortnights", "Invalid enum value"),
        ("too_many; form=date; form=body", "form is given twice"),
        ("delay", "required field `seconds`; its arguments are seconds"),
        ("delay; seconds=long", "Expected `float`, got `str`"),
        ("delay; seconds=-1", "at least 0"),
        ("truncate; n=1.5", "Expected `int`, got `float`"),
        ("truncate n=1", "no fault is called 'truncate n=1'"),
        ("truncate; 1", "cannot read '; 1'"),
        ("reset_after; x=1", "its arguments are none"),
    ],
)
def test_a_malformed_header_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_header(text)


def test_every_fault_but_edit_can_be_named_with_its_defaults() -> None:
    needed: dict[str, dict[str, Any]] = {
        "clock": {"offset": 1},
        "delay": {"seconds": 1},
        "reply": {"status": 200},
        "truncate": {"n": 1},
    }
    assert (
        {named(name, needed.get(name, {})).name for name in NAMES}
        == set(NAMES)
        == set(ACTIONS) - {"edit"}
    )


def test_the_body_of_a_reply_may_be_json() -> None:
    given = named("reply", {"status": 401, "body": {"error": "no"}})
    assert given == Fault.reply(401, {"error": "no"})
    with pytest.raises(ValueError, match="reply: Expected `str | object | array`, got `int`"):
        named("reply", {"status": 401, "body": 5})


async def test_the_header_applies_to_its_request_only_and_uses_no_rule(caller: Caller) -> None:
    rule = caller.emu.faults.add("*", Fault.html(), skip=1)
    assert (await caller.launch(**{HEADER: "server_error; status=500"})).status == 500
    assert caller.last == (500, False, "server_error")
    assert rule.seen == 0
    answer = await caller.launch(**{HEADER: "nonsense"})
    assert answer.status == 400
    assert caller.emu.calls[-1].fault is None
    assert not caller.emu.calls[-1].processed
    assert f"{HEADER}: no fault is called 'nonsense'" in answer.json["error"]
    assert (await caller.launch()).status == 200


async def test_the_emulators_own_routes_list_faults_and_routes(caller: Caller) -> None:
    found = (await caller.admin("GET", "")).json
    assert found["faults"].keys() == set(NAMES)
    assert found["faults"]["too_many"]["arguments"] == {"retry_after": 1, "form": "seconds"}
    assert found["faults"]["reply"]["arguments"]["status"] == "required"
    assert found["faults"]["nulls"]["arguments"] == {"names": []}
    assert "POST /_emulator/faults" in found["routes"]
    assert caller.emu.calls == []


async def test_rules_are_added_listed_and_removed(caller: Caller) -> None:
    order = {
        "route": f"POST {DESKTOP}",
        "fault": "too_many",
        "arguments": {"retry_after": 3},
        "times": None,
        "skip": 1,
    }
    made = await caller.admin("POST", "/faults", order)
    assert (made.status, made.json["number"], made.json["every"]) == (201, 1, 1)
    assert [(await caller.launch()).status for _ in range(3)] == [200, 429, 429]
    (rule,) = (await caller.admin("GET", "/faults")).json["faults"]
    assert (rule["seen"], rule["hits"], rule["arguments"]) == (
        3,
        2,
        {"retry_after": 3, "form": "seconds"},
    )
    assert (await caller.admin("GET", "/faults/1")).json == rule
    assert (await caller.admin("DELETE", "/faults/1")).status == 200
    assert (await caller.admin("DELETE", "/faults/1")).status == 404
    assert (await caller.launch()).status == 200
    await caller.admin(
        "POST",
        "/faults",
        {"route": "*", "fault": "reply", "arguments": {"status": 299, "body": "x"}},
    )
    caller.emu.faults.add("*", Fault.edit(lambda answer: answer))
    assert [rule["fault"] for rule in (await caller.admin("GET", "/faults")).json["faults"]] == [
        "reply",
        "edit",
    ]
    assert (await caller.launch()).body == b"x"
    await caller.admin("DELETE", "/faults")
    assert caller.emu.faults.rules == ()


@pytest.mark.parametrize(
    ("method", "route", "body", "status", "said"),
    [
        ("POST", "/faults", {"fault": "html"}, 400, "required field `route`"),
        (
            "POST",
            "/faults",
            {"route": "*", "fault": "html", "time": 1},
            400,
            "unknown field `time`",
        ),
        ("POST", "/faults", {"route": "*", "fault": "explode"}, 400, "there are clock"),
        (
            "POST",
            "/faults",
            {"route": "*", "fault": "html", "times": 0},
            400,
            "times must be at least 1",
        ),
        ("POST", "/faults", [], 400, "Expected `object`"),
        ("POST", "/clock", {"offset": 1e10}, 400, "<= 1000000000"),
        ("POST", "/clock/advance", {"seconds": -1}, 400, ">= 0"),
        ("PUT", "/faults", {}, 405, "only DELETE, GET, POST"),
        ("GET", "/nothing", None, 404, "GET /_emulator lists"),
        ("GET", "/faults/7", None, 404, "no rule has the number 7"),
    ],
)
async def test_invalid_requests_are_refused_with_a_reason(
    caller: Caller, method: str, route: str, body: object, status: int, said: str
) -> None:
    answer = await caller.admin(method, route, body)
    assert answer.status == status
    assert said in answer.json["error"]


async def test_time_is_not_advanced_beyond_the_last_date(caller: Caller) -> None:
    for _ in range(198):
        assert (await caller.admin("POST", "/clock/advance", {"seconds": 1e9})).status == 200
    answer = await caller.admin("POST", "/clock/advance", {"seconds": 1e9})
    assert answer.status == 400
    assert "at most 200000000000" in answer.json["error"]
    # With the latest time of day that can be set.
    assert (await caller.admin("POST", "/clock", {"offset": 1e9})).status == 200
    assert (await caller.ask("GET", "/nowhere")).json["timestamp"].startswith("83")
    await caller.launch()


async def test_content_types_that_a_web_page_could_send_are_refused(caller: Caller) -> None:
    answer = await caller.ask(
        "POST",
        "/_emulator/faults",
        data=b'{"route": "*", "fault": "html"}',
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status == 415
    assert caller.emu.faults.rules == ()
    body = b'{"route": "\xff", "fault": "html"}'
    answer = await caller.ask(
        "POST", "/_emulator/faults", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400


async def test_calls_and_clock_can_be_read_and_set(caller: Caller) -> None:
    await caller.launch()
    (call,) = (await caller.admin("GET", "/calls")).json["calls"]
    assert {**call, "at": 0} == {
        "method": "POST", "path": DESKTOP, "query": "", "status": 200,
        "processed": True, "fault": None, "at": 0,
    }  # fmt: skip
    await caller.admin("DELETE", "/calls")
    assert caller.emu.calls == []
    before = (await caller.admin("GET", "/clock")).json
    after = (await caller.admin("POST", "/clock/advance", {"seconds": 3600})).json
    assert 3600 <= after["now"] - before["now"] < 3660
    assert (
        (await caller.admin("POST", "/clock", {"offset": -5})).json["offset"]
        == caller.emu.clock.offset
        == -5
    )


async def test_faults_do_not_apply_to_the_emulators_own_routes(caller: Caller) -> None:
    caller.emu.faults.add("*", Fault.reset_before(), None)
    assert (await caller.admin("GET", "/calls")).status == 200


async def test_refuse_is_answered_before_connections_are_refused(caller: Caller) -> None:
    await caller.launch()
    assert (await caller.admin("POST", "/refuse", {"seconds": 3600})).status == 202
    with pytest.raises(aiohttp.ClientConnectorError):
        await caller.launch()
    await caller.emu.accept()
    assert (await caller.launch()).status == 200


async def test_requests_to_the_other_host_are_listed_without_credentials(caller: Caller) -> None:
    url = (await caller.admin("GET", "/elsewhere")).json["url"]
    headers = {"Authorization": "Bearer canary", "X-API-Key": "canary", "X-Other": "seen"}
    async with caller.http.post(f"{url}/x?token=canary&a=1", headers=headers, data=b"hello"):
        pass
    answer = await caller.admin("GET", "/elsewhere")
    assert b"canary" not in answer.body
    (arrival,) = answer.json["arrivals"]
    assert (arrival["path"], arrival["query"], arrival["body"]) == ("/x", "token=***&a=1", "hello")
    assert (arrival["headers"]["Authorization"], arrival["headers"]["X-Other"]) == ("***", "seen")
    await caller.admin("DELETE", "/elsewhere")
    assert caller.emu.elsewhere.arrivals == []


def test_the_command_line_help_explains_faults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(
        word in printed
        for word in (HEADER, "/_emulator/faults", "--keep-calls", "--fault-seed", "stall_headers")
    )


# -- what an order may cost ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "huge_body; size=4000000001",
        "gzip_bomb; size=1000000000000000",
        f"gzip_bomb; size={10**30}",
        "deep; levels=1000001",
        "delay; seconds=86401",
        "delay; seconds=1e300",
        "stall_headers; seconds=1e9",
        "stall_body; seconds=1e9",
        "drip; pause=1e9",
        "refuse; seconds=1e9",
        'too_many; retry_after=1000000001; form="date"',
        f'too_many; retry_after={10**30}; form="date"',
        "server_error; retry_after=-1e10",
        "clock; offset=1e300",
    ],
)
async def test_fault_has_a_bounded_size(text: str) -> None:
    async with calling() as caller:
        answer = await caller.launch(**{HEADER: text})
        assert answer.status == 400
        assert caller.last == (400, False, None)
        name, _, arguments = text.partition("; ")
        given = dict(pair.split("=") for pair in arguments.split("; "))
        body = {
            "route": "*",
            "fault": name,
            "arguments": {name: json.loads(value) for name, value in given.items()},
        }
        assert (await caller.admin("POST", "/faults", body)).status == 400
        assert not caller.emu.faults.rules


@pytest.mark.parametrize("name", ["huge_body", "gzip_bomb"])
def test_largest_fault_is_made(name: str) -> None:
    assert named(name, {"size": MOST_SIZE}).arguments["size"] == MOST_SIZE
    with pytest.raises(ValueError, match="size must be at most 4000000000"):
        named(name, {"size": MOST_SIZE + 1})


def test_value_for_every_field_is_bounded() -> None:
    named("unknown_values", {"value": "x" * LONGEST_VALUE})
    with pytest.raises(ValueError, match="value must have at most"):
        named("unknown_values", {"value": "x" * (LONGEST_VALUE + 1)})


async def test_number_of_rules_is_bounded() -> None:
    async with calling() as caller:
        order = {"route": "GET /nowhere", "fault": "html"}
        for _ in range(MOST_RULES):
            caller.emu.faults.add("GET /nowhere", Fault.html())
        refused = await caller.admin("POST", "/faults", order)
        assert refused.status == 400
        assert f"there are {MOST_RULES} rules" in refused.json["error"]
        caller.emu.faults.rules[0].remove()
        assert (await caller.admin("POST", "/faults", order)).status == 201


async def test_route_of_a_rule_is_bounded() -> None:
    async with calling() as caller:
        order = {"route": "*" * (LONGEST_ROUTE + 1), "fault": "html"}
        assert (await caller.admin("POST", "/faults", order)).status == 400
        order["route"] = "*" * LONGEST_ROUTE
        assert (await caller.admin("POST", "/faults", order)).status == 201


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_of_an_order_is_bounded(*, chunked: bool) -> None:
    def body(size: int) -> Any:
        filled = b'{"route": "*", "fault": "reply", "arguments": {"status": 200, "body": "%b"}}'
        raw = filled % (b"x" * (size - len(filled) + 2))
        assert len(raw) == size

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, size, 2**16):
                yield raw[start : start + 2**16]

        return parts() if chunked else io.BytesIO(raw)

    typed = {"Content-Type": "application/json"}
    async with calling() as caller:
        for size, status in ((MOST_BYTES, 201), (MOST_BYTES + 1, 413)):
            answer = await caller.ask("POST", "/_emulator/faults", data=body(size), headers=typed)
            assert answer.status == status
        assert len(caller.emu.faults.rules) == 1


async def test_deeply_nested_order_is_refused() -> None:
    typed = {"Content-Type": "application/json"}
    async with calling() as caller:
        raw = b'{"route": "*", "fault": "html", "arguments": ' + b'{"a":' * 100_000
        answer = await caller.ask("POST", "/_emulator/faults", data=raw, headers=typed)
        assert answer.status == 400
