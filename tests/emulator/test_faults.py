"""Faults over a real socket: each has its documented effect, and the list of calls is correct."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from tests.emulator.faults_raw import DESKTOP, Caller, calling, until
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.faults.play import ACTIONS
from vcloud.emulator.faults.published import StreamSpaceFaults
from vcloud.emulator.net import listener

LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with calling() as made:
        yield made


# -- the connection --------------------------------------------------------------------------------


async def test_refuse_resets_all_connections_and_refuses_new_ones_for_a_while(
    caller: Caller,
) -> None:
    async with caller.wire() as idle:
        await idle.readuntil(b"}")
        caller.emu.faults.add(f"POST {DESKTOP}", Fault.refuse(3600))
        with pytest.raises(LOST):
            await caller.launch()
        assert caller.last == (None, False, "refuse")
        with pytest.raises(aiohttp.ClientConnectorError) as caught:
            await caller.launch()
        assert isinstance(caught.value.os_error, ConnectionRefusedError)
        with pytest.raises(ConnectionResetError):
            await idle.read()
    await caller.emu.accept()
    assert (await caller.launch()).status == 200
    assert len(caller.emu.desktops.desktops) == 2


async def test_refusing_refuses_every_connect_while_inside_and_may_be_nested(
    caller: Caller,
) -> None:
    async with caller.emu.refusing():
        async with caller.emu.refusing():
            pass
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.launch()
        assert caller.emu.calls == []
    assert (await caller.launch()).status == 200
    with pytest.raises(RuntimeError, match="async with"), caller.emu.refusing():
        pass


async def test_an_emulator_can_be_closed_while_it_refuses() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="not running"):
        emulator.refusing()
    async with emulator:
        refusing = emulator.refusing()
        await refusing.__aenter__()
        await emulator.refuse_for(60)
    await refusing.__aexit__()


# -- time ------------------------------------------------------------------------------------------


async def test_a_stall_of_the_headers_lasts_until_the_client_goes(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.stall_headers())
    async with caller.wire():
        await until(lambda: caller.emu.calls)
        assert caller.last == (None, True, "stall_headers")
        assert caller.emu.stats().faults == 1
    await until(lambda: not caller.emu.stats().faults)
    assert caller.last == (None, True, "stall_headers")


async def test_a_late_answer_is_recorded_with_its_status(
    caller: Caller,
) -> None:
    caller.emu.faults.add("POST *", Fault.stall_headers(0.02))
    assert (await caller.launch()).status == 200
    assert caller.last == (200, True, "stall_headers")


async def test_a_stall_of_the_body_begins_after_this_many_bytes(caller: Caller) -> None:
    whole = len((await caller.launch()).body)
    caller.emu.faults.add("POST *", Fault.stall_body(7, 0.02))
    assert len((await caller.launch()).body) == whole
    caller.emu.faults.add("POST *", Fault.stall_body(7))
    async with caller.wire() as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Content-Length: {whole}".encode() in head
        assert (await reader.readexactly(7)).startswith(b'{"id":')
        assert caller.last == (200, True, "stall_body")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reader.read(1)


async def test_stalls_end_with_the_emulator_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Requests in flight get this long to finish; a stall must not use it.
    monkeypatch.setattr(listener, "SHUTDOWN", 3600)
    async with calling() as caller:
        faults = [
            Fault.stall_headers(),
            Fault.stall_body(),
            Fault.delay(1000),
            Fault.drip(1000),
            Fault.huge_body(),
        ]
        async with contextlib.AsyncExitStack() as stack:
            for fault in faults:
                caller.emu.faults.add("POST *", fault)
                await stack.enter_async_context(caller.wire())
            await until(lambda: caller.emu.stats().faults == len(faults))
            await caller.emu.aclose()
            assert not caller.emu.stats().faults
    assert [call.processed for call in caller.emu.calls if call.fault == "delay"] == [False]


async def test_a_drip_is_the_whole_answer_in_single_bytes(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.drip(0.001))
    async with caller.wire() as reader:
        first = await reader.read(1000)
        assert 0 < len(first) < 10
        rest = await reader.read()
    head, _, body = (first + rest).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(body)["status"] == "pending"
    assert caller.last == (200, True, "drip")
    caller.emu.faults.add("POST *", Fault.drip(0, size=64))
    assert json.loads((await caller.launch()).body)["status"] == "pending"


async def test_a_delayed_request_is_processed_after_the_client_has_disconnected(
    caller: Caller,
) -> None:
    caller.emu.faults.add("POST *", Fault.delay(0.02))
    async with caller.wire():
        await until(lambda: caller.emu.stats().faults)
    await until(lambda: caller.emu.desktops.desktops)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "header", "text"),
    [
        (Fault.too_many(2), "Retry-After", "2"),
        (Fault.too_many(0.25), "Retry-After", "0.25"),
        (Fault.too_many(10**9), "Retry-After", "1000000000"),
        (Fault.too_many(-5), "Retry-After", "-5"),
        (Fault.too_many("soon"), "Retry-After", "soon"),
        (Fault.too_many(0.5, "milliseconds"), "Retry-After-Ms", "500"),
    ],
)
async def test_too_many_says_when_to_retry(
    caller: Caller, fault: Fault, header: str, text: str
) -> None:
    caller.emu.faults.add("POST *", fault)
    answer = await caller.launch()
    assert (answer.status, answer.headers[header]) == (429, text)
    assert caller.last == (429, False, "too_many")
    assert not caller.emu.desktops.desktops


async def test_too_many_as_a_date_follows_the_services_clock_and_is_not_early(
    caller: Caller,
) -> None:
    caller.emu.clock.offset = 7200
    caller.emu.faults.add("POST *", Fault.too_many(30, "date"))
    before = caller.emu.clock.wall()
    at = parsedate_to_datetime((await caller.launch()).headers["Retry-After"]).timestamp()
    assert before + 30 <= at <= caller.emu.clock.wall() + 31


async def test_too_many_may_give_the_time_in_the_body_or_not_at_all(caller: Caller) -> None:
    for fault, key in (
        (Fault.too_many(3, "body"), "retry_after"),
        (Fault.too_many(3, "body_camel_case"), "retryAfter"),
    ):
        caller.emu.faults.add("POST *", fault)
        answer = await caller.launch()
        assert answer.json[key] == 3
        assert "Retry-After" not in answer.headers
    caller.emu.faults.add("POST *", Fault.too_many(None))
    answer = await caller.launch()
    assert not {"Retry-After", "Retry-After-Ms"} & answer.headers.keys()
    assert not {"retry_after", "retryAfter"} & answer.json.keys()


async def test_refusals_have_the_form_of_each_service(caller: Caller) -> None:
    caller.emu.faults.add("*", Fault.too_many(), None)
    assert (await caller.machines()).json["client_code"] == 429
    assert (await caller.ask("GET", "/app-stream-management/v2/applications")).json[
        "client_code"
    ] == 429
    assert (await caller.launch()).json["status"] == "error"
    assert (await caller.ask("GET", "/api/v1/agents")).json["code"] == "RATE_LIMIT_EXCEEDED"
    assert set((await caller.ask("GET", "/nowhere")).json) == {"error"}
    caller.emu.faults.clear()
    caller.emu.faults.add("*", Fault.server_error(500), None)
    answer = await caller.ask("GET", "/api/v1/agents")
    assert (answer.status, answer.json["error"], "code" in answer.json) == (
        500,
        "Internal Server Error",
        False,
    )


async def test_server_errors_may_come_before_or_after_processing(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.server_error(503, 4), 2)
    caller.emu.faults.add("POST *", Fault.server_error(504, processed=True), skip=2)
    answers = [await caller.launch() for _ in range(4)]
    assert [answer.status for answer in answers] == [503, 503, 504, 200]
    assert [answer.headers.get("Retry-After") for answer in answers] == ["4", "4", None, None]
    assert [call.processed for call in caller.emu.calls] == [False, False, True, True]


@pytest.mark.parametrize(
    ("status", "processed", "words"), [(502, False, "502 Bad Gateway"), (200, True, "log in")]
)
async def test_html_is_a_proxys_page(
    caller: Caller, status: int, processed: bool, words: str
) -> None:
    caller.emu.faults.add("POST *", Fault.html(status, processed=processed))
    answer = await caller.launch()
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html")
    assert words in answer.body.decode()
    assert caller.last == (status, processed, "html")
    assert len(caller.emu.desktops.desktops) == processed


async def test_a_redirect_points_to_another_host_that_keeps_requests(caller: Caller) -> None:
    caller.emu.faults.add("*", Fault.redirect(status=307))
    answer = await caller.ask("POST", f"{DESKTOP}?a=1")
    location = answer.headers["Location"]
    assert answer.status == 307
    assert not location.startswith(caller.emu.url)
    async with caller.http.post(location, data=b"x", headers={"x-api-key": "canary"}) as response:
        assert await response.json() == {}
    (arrival,) = caller.emu.elsewhere.arrivals
    assert (arrival.method, arrival.path, arrival.query, arrival.body) == (
        "POST",
        DESKTOP,
        "a=1",
        b"x",
    )
    assert arrival.headers["X-API-Key"] == "canary"
    assert "canary" not in repr(arrival)
    assert not caller.emu.desktops.desktops
    caller.emu.faults.add("*", Fault.redirect("/moved"))
    assert (await caller.launch()).headers["Location"] == "/moved"


# -- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"message": "\u00e4"}, [1, None]])
async def test_a_reply_may_be_given_as_json(body: dict[str, Any] | list[Any]) -> None:
    async with calling() as caller:
        caller.emu.faults.add("POST *", Fault.reply(418, body))
        answer = await caller.launch()
        assert (answer.status, answer.json) == (418, body)
        assert answer.headers["Content-Type"].startswith("application/json")
    with pytest.raises(TypeError, match="not JSON serializable"):
        Fault.reply(200, {"at": object()})


def test_the_catalogue_has_one_of_each_kind() -> None:
    catalogue = Fault.catalogue()
    of_streamspace = {name for name in vars(StreamSpaceFaults) if not name.startswith("_")}
    assert of_streamspace < set(ACTIONS)
    assert {fault.name for fault in catalogue.values()} == (
        set(ACTIONS) - {"edit", "reply"} - of_streamspace
    )
    assert len({repr(fault) for fault in catalogue.values()}) == len(catalogue)


@pytest.mark.parametrize("name", Fault.catalogue())
async def test_every_fault_is_recorded_once_and_the_next_request_succeeds(name: str) -> None:
    async with calling() as caller:
        caller.emu.faults.add("POST *", Fault.catalogue(seconds=0.01, size=300_000)[name])
        try:
            answer = await caller.launch()
        except (aiohttp.ClientError, asyncio.IncompleteReadError):
            answer = None
        (call,) = caller.emu.calls
        assert call.status == (answer.status if answer else call.status)
        assert call.processed is bool(caller.emu.desktops.desktops)
        assert call.fault == (
            None if "pages" in name or "totals" in name else Fault.catalogue()[name].name
        )
        await until(lambda: caller.emu.stats().addresses)
        assert (await caller.launch()).status == 200


async def test_an_answer_that_a_fault_cannot_change_is_recorded_without_it(caller: Caller) -> None:
    caller.emu.faults.add("POST *", Fault.endless_pages())
    assert (await caller.launch()).status == 200
    assert caller.last == (200, True, None)


async def test_upgrades_can_be_refused_reset_or_delayed(caller: Caller) -> None:
    emu = caller.emu
    token = emu.streamspace.tokens.issue(emu.streamspace.users["admin"])[0]
    path = f"{emu.url}/vnc-viewer/{emu.streamspace.add_session().id}?token={token}"
    for fault, error in (
        (Fault.too_many(), aiohttp.WSServerHandshakeError),
        (Fault.reset_before(), LOST),
    ):
        rule = emu.faults.add("GET /vnc-viewer/*", fault, None)
        with pytest.raises(error):
            await caller.http.ws_connect(path)
        assert emu.calls[-1].fault == fault.name
        rule.remove()
    emu.faults.add("GET /vnc-viewer/*", Fault.stall_headers(0.01))
    async with caller.http.ws_connect(path) as socket:
        assert await socket.receive_bytes() == b"RFB 003.008\n"
    await until(lambda: emu.calls[-1].status == 101)
    assert (emu.calls[-1].status, emu.calls[-1].fault) == (101, "stall_headers")


async def test_the_number_of_kept_calls_can_be_bounded() -> None:
    async with calling(keep_calls=2) as caller:
        for number in range(5):
            await caller.ask("GET", f"/{number}")
        assert [call.path for call in caller.emu.calls] == ["/3", "/4"]
    with pytest.raises(ValueError, match="at least 1"):
        Emulator(keep_calls=0)
