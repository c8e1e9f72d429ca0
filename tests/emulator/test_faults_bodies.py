"""Faults in the body of an answer, over a real socket: wrong bytes and wrong JSON."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.emulator.faults_raw import Answer, Caller, calling, until
from vcloud.emulator import Fault
from vcloud.emulator.faults.fault import ENUMERATED


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with calling(machines=5) as made:
        yield made


# -- the body --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_truncated_body_ends_early(caller: Caller, chunked: bool) -> None:
    caller.emu.faults.add("POST *", Fault.truncate(9, chunked=chunked))
    async with caller.wire() as reader:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert (b"chunked" in head, b"Content-Length" in head) == (chunked, not chunked)
    assert len(body) == (len(b"9\r\n") + 9 + len(b"\r\n") if chunked else 9), (
        "no end of the chunks either"
    )
    assert caller.last == (200, True, "truncate")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_huge_body_is_the_answer_after_white_space(caller: Caller, chunked: bool) -> None:
    caller.emu.faults.add("POST *", Fault.huge_body(5_000_001, chunked=chunked))
    answer = await caller.launch()
    assert len(answer.body) == 5_000_001
    assert ("Content-Length" in answer.headers) is not chunked
    assert answer.json["status"] == "pending"
    caller.emu.faults.add("POST *", Fault.huge_body(3))
    assert (await caller.launch()).json["status"] == "pending"


async def test_a_huge_body_is_sent_no_faster_than_it_is_read(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.huge_body())
    async with caller.wire() as reader:
        await reader.readuntil(b"\r\n\r\n")
        # Beyond 64 KiB, which is asyncio's mark, writing is paused.
        await until(lambda: caller.emu.stats().unsent > 64 * 1024)
        assert caller.emu.stats().connections == 1
        assert caller.emu.stats().unsent < 4 * 2**20


@pytest.mark.parametrize("size", [10, 2**20, 3 * 2**20 + 5])
async def test_a_gzip_bomb_is_good_gzip_of_the_answer_after_white_space(
    caller: Caller, size: int
) -> None:
    caller.emu.faults.add("POST *", Fault.gzip_bomb(size))
    answer = await caller.launch()
    assert answer.headers["Content-Encoding"] == "gzip"
    expanded = gzip.decompress(answer.body)
    assert len(expanded) == max(size, len(expanded.lstrip()))
    assert json.loads(expanded)["status"] == "pending"


async def test_a_gigabyte_is_sent_in_a_thousandth(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.gzip_bomb())
    body = (await caller.launch()).body
    assert len(body) < 1_100_000
    assert int.from_bytes(body[-4:], "little") == 10**9
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decompressor.decompress(body, 1000).isspace()


@pytest.mark.parametrize(
    ("fault", "status", "kind", "check"),
    [
        (Fault.content_type("text/plain"), 200, "text/plain", lambda body: b'"status"' in body),
        (Fault.empty(), 200, "application/json", lambda body: body == b""),
        (Fault.empty(204), 204, None, lambda body: body == b""),
        (
            Fault.invalid_json(),
            200,
            "application/json",
            lambda body: body[:1] == b"{" and body[-1:] == b'"',
        ),
        (Fault.not_utf8(), 200, "application/json", lambda body: b"\xff" in body),
        (
            Fault.not_an_object(),
            200,
            "application/json",
            lambda body: set(json.loads(body)[0]) == {"id", "status"},
        ),
        (
            Fault.deep(5),
            200,
            "application/json",
            lambda body: body.count(b"{") == body.count(b"}") == 5,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_an_invalid_body(
    caller: Caller, fault: Fault, status: int, kind: str | None, check: Callable[[bytes], bool]
) -> None:
    caller.emu.faults.add("POST *", fault)
    answer = await caller.launch()
    assert answer.status == status
    assert kind is None or answer.headers["Content-Type"] == kind
    assert check(answer.body)
    assert caller.last == (status, True, fault.name)


# -- what the answer says --------------------------------------------------------------------------


async def test_fields_become_null_or_missing_or_another_type_at_any_depth(caller: Caller) -> None:
    async def first(fault: Fault) -> Any:
        caller.emu.faults.add("GET *", fault)
        return (await caller.machines()).json["machines"][0]

    machine = await first(Fault.nulls("name", "permissions"))
    assert (machine["id"], machine["attributes"]["name"], machine["attributes"]["permissions"]) == (
        "100",
        None,
        None,
    )
    machine = await first(Fault.nulls())
    assert (
        machine["id"]
        is machine["attributes"]["region"]
        is machine["attributes"]["permissions"]["screen_recording_enabled"]
        is None
    )
    machine = await first(Fault.missing("region"))
    assert "region" not in machine["attributes"]
    assert machine["attributes"]["name"]
    assert (await first(Fault.missing()))["attributes"].keys() == {"permissions", "task", "user"}
    machine = await first(Fault.wrong_types("disk_size"))
    assert machine["attributes"]["disk_size"].keys() == {"was"}


async def test_enumerated_values_become_unknown(caller: Caller) -> None:
    caller.emu.faults.add("GET *", Fault.unknown_values())
    attributes = (await caller.machines()).json["machines"][0]["attributes"]
    assert (
        {name for name, value in attributes.items() if value == "never_heard_of"}
        == {name for name in ENUMERATED if isinstance(attributes.get(name), str)}
        >= {"friendly_status", "region"}
    )
    caller.emu.faults.add("GET *", Fault.unknown_values("name", value="x"))
    attributes = (await caller.machines()).json["machines"][0]["attributes"]
    assert (attributes["name"], attributes["friendly_status"]) == ("x", "off")


def ids(answer: Answer) -> list[str]:
    return [machine["id"] for machine in answer.json["machines"]]


async def test_duplicate_pages_repeat_the_first_and_end(caller: Caller) -> None:
    caller.emu.faults.add("GET *", Fault.duplicate_pages(), None)
    pages = [await caller.machines(f"per_page=2&page={number}") for number in (1, 2, 3, 4)]
    assert [ids(page) for page in pages] == [["100", "101"]] * 3 + [[]]
    assert [(page.json["page"], page.json["next_page"]) for page in pages] == [
        (1, 2),
        (2, 3),
        (3, None),
        (4, None),
    ]
    assert [call.fault for call in caller.emu.calls] == [None, *["duplicate_pages"] * 3]


@pytest.mark.parametrize("empty", [False, True])
async def test_endless_pages_always_point_to_another(caller: Caller, empty: bool) -> None:
    caller.emu.faults.add("GET *", Fault.endless_pages(empty=empty), None)
    for number in (1, 2, 50):
        page = await caller.machines(f"per_page=2&page={number}")
        assert ids(page) == ([] if empty else ["100", "101"])
        assert (page.json["page"], page.json["next_page"]) == (number, number + 1)
        assert page.json["count"] > number * 2


async def test_wrong_pages_of_streamspace_have_its_own_form(caller: Caller) -> None:
    emu = caller.emu
    token = emu.streamspace.tokens.issue(emu.streamspace.users["admin"])[0]

    async def users(fault: Fault, page: int) -> Any:
        emu.faults.add("GET *", fault)
        return (
            await caller.ask(
                "GET",
                f"/api/v1/users?limit=1&page={page}",
                headers={"Authorization": f"Bearer {token}"},
            )
        ).json

    first = await users(Fault.clock(0), 1)
    again = await users(Fault.duplicate_pages(), 2)
    assert (again["users"], again["pagination"]) == (
        first["users"],
        {**first["pagination"], "page": 2},
    )
    endless = await users(Fault.endless_pages(), 7)
    assert (
        endless["users"],
        endless["pagination"]["page"],
        endless["pagination"]["total_pages"],
    ) == (first["users"], 7, 8)
    lying = await users(Fault.wrong_totals(-1), 1)
    assert (lying["pagination"]["total"], lying["pagination"]["total_pages"]) == (-1, -1)


async def test_totals_can_be_wrong(caller: Caller) -> None:
    caller.emu.faults.add("GET *", Fault.wrong_totals(7))
    assert (await caller.machines()).json["count"] == 7


async def test_clock_skew_refuses_the_signature_of_that_request_only(
    caller: Caller,
) -> None:
    caller.emu.faults.add("GET *", Fault.clock(7200))
    refused = await caller.machines()
    assert (refused.status, caller.last) == (401, (401, True, "clock"))
    assert "-7200 s off" in refused.json["message"]
    assert parsedate_to_datetime(
        refused.headers["Date"]
    ).timestamp() - time.time() == pytest.approx(7200, abs=5)
    answer = await caller.machines()
    assert answer.status == 200
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time() == pytest.approx(
        0, abs=5
    )
