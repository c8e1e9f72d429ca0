"""HTTP by the byte: what other clients and proxies send, and malformed requests."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.emulator.computers_raw import PREFIX, authorization
from tests.emulator.http_raw import (
    BODY,
    CHUNKED,
    END,
    EXPECTING,
    IN_CHUNKS,
    LAUNCH,
    SIZED,
    TYPED,
    Wire,
    fates,
    wired,
)
from tests.emulator.realtime_raw import until
from tests.seeded import SEED
from vcloud.emulator import Emulator, Fault

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    # Two hosts that targets in absolute form name.
    async with Emulator(machines=2, seed=SEED, allow_hosts=["x", "api.vagon.io"]) as running:
        yield running


@pytest.fixture
async def wire(emu: Emulator) -> AsyncIterator[Wire]:
    async with wired(emu) as opened:
        yield opened


# -- invalid and unsupported HTTP ------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no request line": b"hello\r\n\r\n",
    "unknown version": b"GET / HTTP/3.7\r\nHost: localhost\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: localhost\r\n\r\n",
    "no colon": GET + b"Authorization HMAC secret\r\n\r\n",
    "space before the colon": GET + b"A : b\r\n\r\n",
    "folded": GET + b"A: b\r\n c\r\n\r\n",
    "NUL": GET + b"A: \0\r\n\r\n",
    "lines without CR": b"GET / HTTP/1.1\nHost: localhost\n\n",
    "length in words": LAUNCH + b"Content-Length: many\r\n\r\n",
    "two lengths": SIZED + b"Content-Length: 1\r\n\r\n" + BODY,
    "length and chunks": SIZED + b"Transfer-Encoding: chunked\r\n\r\n" + IN_CHUNKS,
    "length of a chunk in words": CHUNKED + b"\r\nzz\r\n",
    "a path without end": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "headers without end": GET + b"A: b\r\n" * 500 + b"\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_refused_without_a_traceback(
    emu: Emulator, wire: Wire, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with caplog.at_level(logging.DEBUG):
        wire.send(MALFORMED[name])
        status, head, why = await wire.answer()
        assert await wire.is_over()
    assert status == 400
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert why
    assert not emu.calls
    assert not emu.desktops.desktops
    ours = [record for record in caplog.records if record.name != "asyncio"]
    assert [(record.levelname, record.exc_info) for record in ours] == [("DEBUG", None)]
    # What was sent is quoted to the sender only.
    assert "secret" not in caplog.text


@pytest.mark.parametrize("rest", [b"zz\r\n", b"5\r\nhelloXX"], ids=["length", "end of a chunk"])
async def test_body_that_becomes_malformed_is_refused(
    emu: Emulator, wire: Wire, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    wire.send(CHUNKED, EXPECTING, END)
    await wire.head()
    wire.send(b"1\r\n{\r\n", rest)
    assert await wire.status() == 400
    assert await wire.is_over()
    assert not emu.desktops.desktops
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"identity", b"x-ours, chunked"])
async def test_unknown_transfer_coding_is_not_implemented(
    emu: Emulator, wire: Wire, coding: bytes
) -> None:
    wire.send(TYPED, b"Transfer-Encoding: ", coding, END, END, IN_CHUNKS)
    assert await wire.status() == 501
    assert await wire.is_over()
    assert not emu.desktops.desktops


@pytest.mark.parametrize("coding", [b"gzip", b"GZip", b"br", b"zstd", b"x-ours", b"identity, gzip"])
async def test_encoded_body_is_unsupported(emu: Emulator, wire: Wire, coding: bytes) -> None:
    wire.send(SIZED, b"Content-Encoding: ", coding, END, END, BODY)
    status, head, _ = await wire.answer()
    assert status == 415
    assert b"Accept-Encoding: identity\r\n" in head
    assert await wire.is_over()
    assert fates(emu) == [(415, False)]


async def test_known_codings_are_decoded(emu: Emulator, wire: Wire) -> None:
    wire.send(TYPED, b"Transfer-Encoding: Chunked\r\n\r\n", IN_CHUNKS)
    assert await wire.status() == 200
    wire.send(SIZED, b"Content-Encoding: identity\r\n\r\n", BODY)
    assert await wire.status() == 200


@pytest.mark.parametrize(("version", "refused"), [(b" HTTP/2.0", 505), (b"", 400)])
async def test_other_versions_of_http_are_not_served(
    emu: Emulator, wire: Wire, version: bytes, refused: int
) -> None:
    wire.send(b"GET /v1/desktop", version, b"\r\nHost: localhost\r\n\r\n")
    status, head, _ = await wire.answer()
    assert (status, head[:9]) == (refused, b"HTTP/1.1 ")
    assert await wire.is_over()
    assert fates(emu) == [(refused, False)]


async def test_refusals_of_the_server_have_the_service_s_time(emu: Emulator, wire: Wire) -> None:
    emu.clock.offset = -86_400 * 400
    wire.send(SIZED, b"Expect: a-miracle\r\n\r\n")
    _, head, _ = await wire.answer()
    year = datetime.fromtimestamp(emu.clock.wall(), UTC).year
    assert re.search(rb"Date: [^\r]*%d " % year, head)


# -- targets in absolute form (RFC 9112, 3.2.2) ----------------------------------------------------


@pytest.mark.parametrize("host", ["http://x", "HTTPS://x:8443", "http://api.vagon.io"])
async def test_target_in_absolute_form_is_served(emu: Emulator, wire: Wire, host: str) -> None:
    path = f"{PREFIX}/machines"
    head = f"GET {host}{path}?page=1 HTTP/1.1\r\nHost: localhost\r\n"
    wire.send(f"{head}Authorization: {authorization('GET', path)}\r\n\r\n".encode())
    status, _, body = await wire.answer()
    assert (status, b'"count":2' in body) == (200, True)
    assert [(call.path, call.query) for call in emu.calls] == [(path, "page=1")]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://x", "/", ""),
        ("http://x?a=/b", "/", "a=/b"),
        ("http://x/a%2fb//c?d=http://y", "/a%2fb//c", "d=http://y"),
        # Already in origin form, whatever its query contains.
        ("/a?next=http://y/z", "/a", "next=http://y/z"),
        ("//x/a", "//x/a", ""),
    ],
)
async def test_path_and_query_stay_as_they_were_sent(
    emu: Emulator, wire: Wire, target: str, path: str, query: str
) -> None:
    wire.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert await wire.status() == 404
    assert [(call.path, call.query) for call in emu.calls] == [(path, query)]


async def test_admin_routes_have_targets_in_absolute_form(emu: Emulator, wire: Wire) -> None:
    wire.send(b"GET http://x/_emulator/clock HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await wire.status() == 200


# -- clients that have closed their sending side ---------------------------------------------------


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("pause", [False, True], ids=["at once", "while it is answered"])
async def test_half_closed_client_gets_its_answers(
    emu: Emulator, wire: Wire, requests: int, *, pause: bool
) -> None:
    if pause:
        emu.faults.add("POST *", Fault.delay(0.05), requests)
    wire.send((SIZED + END + BODY) * requests, end=not pause)
    if pause:
        await asyncio.sleep(0.02)
        wire.send(end=True)
    assert [await wire.status() for _ in range(requests)] == [200] * requests
    assert await wire.is_over()
    assert len(emu.desktops.desktops) == requests


async def test_half_closed_client_gets_an_answer_that_it_takes_slowly(
    emu: Emulator, wire: Wire
) -> None:
    size = 8 * 1024**2
    emu.faults.add("POST *", Fault.huge_body(size))
    wire.send(SIZED, END, BODY, end=True)
    await asyncio.sleep(0.05)
    status, _, body = await wire.answer()
    assert (status, len(body)) == (200, size)
    assert await wire.is_over()


@pytest.mark.parametrize("head", [SIZED, CHUNKED])
async def test_half_closed_client_with_half_a_body_is_refused(
    emu: Emulator, wire: Wire, caplog: pytest.LogCaptureFixture, head: bytes
) -> None:
    wire.send(head, END, IN_CHUNKS[:6], end=True)
    assert await wire.status() == 400
    assert await wire.is_over()
    assert not emu.desktops.desktops
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_half_closed_client_is_not_waited_for(emu: Emulator) -> None:
    """A client that has left looks the same, so an idle connection and a stall end."""
    async with wired(emu) as idle:
        idle.send(SIZED, END, BODY)
        assert await idle.status() == 200
        idle.send(end=True)
        assert await idle.is_over()
    emu.faults.add("POST *", Fault.stall_headers())
    async with wired(emu) as silent:
        silent.send(SIZED, END, BODY, end=True)
        with pytest.raises(ConnectionResetError):
            await silent.is_over()
    emu.faults.add("POST *", Fault.stall_headers())
    async with wired(emu) as later:
        later.send(SIZED, END, BODY)
        await until(lambda: len(emu.calls) == 3)
        later.send(end=True)
        with pytest.raises(ConnectionResetError):
            await later.is_over()


# -- parameters with two values --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("page=1&page=2", 400),
        ("per_page=1&page=1&per_page=2", 400),
        ("status=off&status=ready", 400),
        ("q=a&q=", 400),
        ("has_session_data=true&has_session_data=false", 400),
        # One value, sent several times.
        ("page=1&page=1", 200),
        # Not a parameter of this route.
        ("trace=1&trace=2", 200),
    ],
)
async def test_vagon_refuses_a_parameter_with_two_values(
    emu: Emulator, wire: Wire, query: str, status: int
) -> None:
    path = f"{PREFIX}/machines"
    wire.send(f"GET {path}?{query} HTTP/1.1\r\nHost: localhost\r\n".encode())
    wire.send(f"Authorization: {authorization('GET', path)}\r\n\r\n".encode())
    answered, _, body = await wire.answer()
    assert answered == status
    assert (b"two values" in body and b'"client_code":400' in body) is (status == 400)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/v1/sessions?page=1&page=2", 400),
        ("/api/v1/sessions?user=a&user=b", 400),
        ("/api/v1/sessions?tags=a&tags=b", 400),
        ("/api/v1/sessions?tags=a,b", 200),
        ("/api/v1/agents?platform=docker&platform=kubernetes", 400),
        ("/api/v1/templates?limit=5&limit=5", 200),
        ("/agent/ws?agent_id=a&agent_id=b&platform=docker", 400),
        ("/vnc-viewer/x?token=a&token=b", 400),
    ],
)
async def test_streamspace_refuses_a_parameter_with_two_values(
    emu: Emulator, wire: Wire, target: str, status: int
) -> None:
    token, *_ = emu.streamspace.tokens.issue(emu.streamspace.users["admin"])
    wire.send(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n".encode()
    )
    wire.send(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
    wire.send(b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    answered, _, body = await wire.answer()
    assert answered == status
    assert (b"two values" in body and b"INVALID_PARAMETER" in body) is (status == 400)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.html(),
        Fault.huge_body(1000),
        Fault.huge_body(1000, chunked=True),
        Fault.gzip_bomb(1000),
        Fault.stall_body(seconds=0.01),
        Fault.truncate(5),
        Fault.truncate(5, chunked=True),
        Fault.drip(0.0, 50),
    ],
    ids=str,
)
async def test_no_fault_sends_a_body_after_a_head(fault: Fault) -> None:
    async with Emulator(seed=SEED) as emu, wired(emu) as wire:
        emu.faults.add("HEAD *", fault)
        wire.send(b"HEAD /v1/desktop/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await wire.head()).startswith(b"HTTP/1.1 ")
        if fault.name in {"truncate", "drip"}:
            assert await wire.is_over()
        else:
            wire.send(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await wire.status() == 404
