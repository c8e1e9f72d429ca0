"""`Expect: 100-continue` (RFC 9110, 10.1.1), by the byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.emulator.http_raw import (
    BODY,
    CHUNKED,
    END,
    EXPECTING,
    IN_CHUNKS,
    LAUNCH,
    SIZED,
    Wire,
    fates,
    wired,
)
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


@pytest.mark.parametrize(("head", "body"), [(SIZED, BODY), (CHUNKED, IN_CHUNKS)])
@pytest.mark.parametrize("written", [b"100-continue", b"100-Continue", b" 100-continue ,"])
async def test_client_that_waits_is_asked_for_its_body(
    emu: Emulator, wire: Wire, head: bytes, body: bytes, written: bytes
) -> None:
    wire.send(head, b"Expect: ", written, END, END)
    assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not emu.calls
    wire.send(body)
    assert await wire.status() == 200
    # The connection can be used afterwards.
    wire.send(SIZED, END, BODY)
    assert await wire.status() == 200
    assert fates(emu) == [(200, True)] * 2


async def test_client_that_does_not_wait_is_not_asked(emu: Emulator, wire: Wire) -> None:
    wire.send(SIZED, EXPECTING, END, BODY)
    assert await wire.status() == 200
    wire.send(LAUNCH, b"Content-Length: 0\r\n", EXPECTING, END)
    assert await wire.status() == 200
    # Older clients do not know interim answers.
    wire.send(SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), EXPECTING, END, BODY)
    assert await wire.status() == 200
    assert len(emu.desktops.desktops) == 3


async def test_client_that_has_begun_to_send_is_not_asked(emu: Emulator, wire: Wire) -> None:
    wire.send(SIZED, EXPECTING, END, BODY[:5])
    await asyncio.sleep(0.05)
    wire.send(BODY[5:])
    assert await wire.status() == 200


@pytest.mark.parametrize("written", [b"200-ok", b"100-continue, a-miracle", b"100-continued"])
async def test_unknown_expectation_fails(emu: Emulator, wire: Wire, written: bytes) -> None:
    wire.send(SIZED, b"Expect: ", written, END, END)
    status, head, _ = await wire.answer()
    assert status == 417
    assert b"Connection: close" in head
    assert not emu.desktops.desktops
    assert fates(emu) == [(417, False)]


async def test_refusal_before_the_body_ends_the_connection(emu: Emulator, wire: Wire) -> None:
    """The client may send that body or not, so the start of its next request is unknown."""
    emu.faults.add("POST *", Fault.too_many(1))
    wire.send(SIZED, EXPECTING, END)
    status, head, _ = await wire.answer()
    assert status == 429
    assert b"Connection: close" in head
    assert fates(emu) == [(429, False)]


async def test_admin_routes_ask_for_a_body_too(emu: Emulator, wire: Wire) -> None:
    advance = b'{"seconds": 60}'
    wire.send(b"POST /_emulator/clock/advance HTTP/1.1\r\nHost: localhost\r\n", EXPECTING)
    wire.send(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(advance))
    assert await wire.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(advance)
    assert await wire.status() == 200
