"""WebSockets by the byte: upgrades of other clients, and invalid frames."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.http_raw import Wire, wired
from tests.emulator.realtime_raw import token, until
from vcloud.emulator import Emulator
from vcloud.emulator.net.frames import MaskedFrames
from vcloud.emulator.streamspace.control.rfb import CutText

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
VERSION = b"RFB 003.008\n"
UNMASKED = b"a client's frames must be masked (RFC 6455, 5.1)"


def frame(code: int, data: bytes = b"", *, mask: bytes | None = b"\x01\x02\x03\x04") -> bytes:
    """Write a final frame (RFC 6455, 5.2)."""
    size = len(data)
    if size < 126:
        length = bytes([size])
    elif size < 2**16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if mask is None:
        return bytes([0x80 | code]) + length + data
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(data, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return bytes([0x80 | code, 0x80 | length[0]]) + length[1:] + mask + masked


async def heard(wire: Wire) -> tuple[int, bytes]:
    """The next frame of the server, which has no mask."""
    code, size = await wire.reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await wire.reader.readexactly(2), "big")
    return code & 0x0F, await wire.reader.readexactly(size)


async def closed(wire: Wire) -> tuple[int, bytes]:
    """The code and the reason of the close frame, after any other frames."""
    while (found := await heard(wire))[0] != CLOSE:
        pass
    return int.from_bytes(found[1][:2], "big"), found[1][2:]


def upgrade(path: str, *headers: str, connection: str = "Connection: Upgrade") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        connection,
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with Emulator() as running:
        yield running


@pytest.fixture
async def wire(emu: Emulator) -> AsyncIterator[Wire]:
    async with wired(emu) as opened:
        yield opened


def paths(emu: Emulator) -> dict[str, tuple[str, str]]:
    """The address and the credential of each kind of WebSocket."""
    session, key = emu.streamspace.add_session().id, token(emu)
    bearer = f"Authorization: Bearer {key}"
    return {
        "viewer": (f"/vnc-viewer/{session}?token={key}", "X-Nothing: here"),
        "agent": ("/agent/ws?agent_id=a1&platform=docker", bearer),
        "logs": (f"/api/v1/sessions/{session}/logs?follow=true", bearer),
    }


REGISTER = json.dumps({"type": "register", "agent_id": "a1", "platform": "docker"}).encode()


# -- upgrades --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "connection",
    [
        "Connection: keep-alive, Upgrade",
        "Connection: Keep-Alive,upgrade",
        "Connection: keep-alive\r\nConnection: Upgrade",
    ],
)
@pytest.mark.parametrize("kind", ["viewer", "agent", "logs"])
async def test_upgrade_that_keeps_alive_is_served(
    emu: Emulator, wire: Wire, kind: str, connection: str
) -> None:
    """As Firefox and proxies send it."""
    wire.send(upgrade(*paths(emu)[kind], connection=connection))
    assert (await wire.head()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("offered", "base64", "agreed"),
    [
        (["binary"], False, b"binary"),
        (["binary, base64"], False, b"binary"),
        (["base64,binary"], False, b"binary"),
        (["base64, binary"], True, b"base64"),
        (["chat", "binary"], False, b"binary"),
        # Not used here, but accepted.
        (["chat"], False, None),
        (["base64"], False, None),
        ([], False, None),
    ],
)
async def test_viewer_s_subprotocol_is_chosen(
    emu: Emulator, wire: Wire, offered: list[str], agreed: bytes | None, *, base64: bool
) -> None:
    """A browser refuses a server that chooses none of its subprotocols, or another one."""
    emu.streamspace.base64_vnc = base64
    path, _ = paths(emu)["viewer"]
    wire.send(upgrade(path, *(f"Sec-WebSocket-Protocol: {one}" for one in offered)))
    lines = (await wire.head()).split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 101 ")
    said = [line for line in lines if line.lower().startswith(b"sec-websocket-protocol:")]
    assert said == ([] if agreed is None else [b"Sec-WebSocket-Protocol: " + agreed])
    assert (await heard(wire))[0] == (TEXT if base64 else BINARY)


async def test_chosen_subprotocol_logs_no_warning(
    emu: Emulator, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = paths(emu)["viewer"]
    wire.send(upgrade(path, "Sec-WebSocket-Protocol: binary"))
    await wire.head()
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


# -- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False], ids=["in one piece", "byte by byte"])
@pytest.mark.parametrize("code", [TEXT, BINARY, PING, CLOSE])
@pytest.mark.parametrize("kind", ["viewer", "agent", "logs"])
async def test_unmasked_frame_is_an_error_of_the_protocol(
    emu: Emulator, wire: Wire, kind: str, code: int, *, at_once: bool
) -> None:
    wire.send(upgrade(*paths(emu)[kind]))
    await wire.head()
    before, bare = frame(PING, b"before"), frame(code, b"\x03\xe8", mask=None)
    if at_once:
        wire.send(before + bare + frame(PING, b"after"))
    else:
        # No more bytes than are read: otherwise closing the connection resets it.
        for at in range(len(before) + 2):
            wire.send((before + bare)[at : at + 1])
            await asyncio.sleep(0.001)
    found = []
    while (one := await heard(wire))[0] != CLOSE:
        found.append(one)
    assert (PONG, b"before") in found
    assert (PONG, b"after") not in found
    assert one == (CLOSE, b"\x03\xea" + UNMASKED)
    assert await wire.is_over()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000])
async def test_masked_frames_of_every_length_arrive(emu: Emulator, wire: Wire, size: int) -> None:
    path, key = paths(emu)["viewer"]
    wire.send(upgrade(path, key))
    await wire.head()
    text = bytes(range(32, 127)) * (size // 95 + 1)
    cut = b"\x06\0\0\0" + size.to_bytes(4, "big") + text[:size]
    wire.send(frame(BINARY, VERSION), frame(BINARY, b"\x01"), frame(BINARY, b"\x01"))
    wire.send(frame(BINARY, cut))
    (screen,) = (emu.streamspace.screen(one) for one in emu.streamspace.sessions)
    await until(lambda: screen.events)
    assert screen.events[0] == CutText(text[:size].decode())


async def test_agent_is_closed_with_the_reason_of_a_viewers_protocol_error(
    emu: Emulator, wire: Wire
) -> None:
    async with wired(emu) as agent, wired(emu) as picture:
        agent.send(upgrade(*paths(emu)["agent"]), frame(TEXT, REGISTER))
        await agent.head()
        assert b"register_ack" in (await heard(agent))[1]
        session = emu.streamspace.add_session(agent_id="a1", remote=True, platform="docker")
        wire.send(upgrade(f"/vnc-viewer/{session.id}?token={token(emu)}"))
        asked = json.loads((await heard(agent))[1])
        picture.send(upgrade(f"/agent/vnc/{asked['proxy_id']}"))
        await picture.head()
        await wire.head()
        wire.send(frame(BINARY, VERSION, mask=None))
        assert await closed(wire) == (1002, UNMASKED)
        code, reason = await closed(picture)
        assert (code, reason) == (1011, b"the viewer broke the protocol: " + UNMASKED)


@pytest.mark.parametrize("registered", [True, False])
async def test_agent_s_message_in_a_binary_frame_is_refused_with_a_reason(
    emu: Emulator, wire: Wire, *, registered: bool
) -> None:
    wire.send(upgrade(*paths(emu)["agent"]))
    await wire.head()
    if registered:
        wire.send(frame(TEXT, REGISTER))
        assert b"register_ack" in (await heard(wire))[1]
    wire.send(frame(BINARY, REGISTER))
    assert await closed(wire) == (1003, b"messages are JSON in text frames, not in binary ones")
    agents = emu.streamspace.agents
    assert [one.status for one in agents.values() if one.agent_id == "a1"] == (
        ["offline"] if registered else []
    )


@pytest.mark.parametrize("kind", ["viewer", "agent", "logs"])
async def test_client_that_half_closes_as_it_upgrades_is_not_kept(
    emu: Emulator, wire: Wire, kind: str
) -> None:
    """A WebSocket has a closing handshake, in which this client cannot take part."""
    wire.send(upgrade(*paths(emu)[kind]), end=True)
    assert (await wire.head()).startswith(b"HTTP/1.1 101 ")
    await wire.reader.read()
    await until(lambda: emu.calls)
    assert emu.calls[-1].status == 101


async def test_client_that_half_closes_gets_its_refusal(emu: Emulator, wire: Wire) -> None:
    wire.send(upgrade("/vnc-viewer/x?token=none"), end=True)
    assert await wire.status() == 401
    assert await wire.is_over()


@define
class Kept:
    """A reader that keeps what it is given."""

    taken: bytearray = field(factory=bytearray)
    over: bool = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.taken += data
        return False, b""

    def feed_eof(self) -> None:
        self.over = True


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([TEXT, BINARY, PING]),
        st.integers(0, 70_000).map(bytes),
        mask=st.binary(min_size=4, max_size=4),
    ),
    max_size=5,
)
CUTS = st.lists(st.integers(0, 1000), max_size=20)


@given(before=FRAMES, bad=st.booleans(), after=FRAMES, cuts=CUTS)
def test_frames_are_passed_on_up_to_the_first_unmasked_one(
    before: list[bytes], after: list[bytes], cuts: list[int], *, bad: bool
) -> None:
    reader = Kept()
    frames = MaskedFrames(reader)
    good = b"".join(before)
    sent = good + (frame(TEXT, b"bare", mask=None) if bad else b"") + b"".join(after)
    for cut in cuts:
        frames.feed_data(sent[:cut])
        sent = sent[cut:]
    frames.feed_data(sent)
    frames.feed_eof()
    assert frames.broken is bad
    # After the valid ones there is one that ends the reader.
    expected = good + (b"\xf2\x80\0\0\0\0" if bad else b"".join(after))
    assert bytes(reader.taken) == expected
    assert reader.over
