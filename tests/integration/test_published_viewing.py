"""A viewer of the published server, against a server that the test scripts, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from aiohttp import web

from tests.integration.published_desktops import read_exactly
from tests.integration.published_viewing import GREETING, NAME, TOKEN, text, viewing
from tests.unit.virtual_time import now, virtual
from vcloud import (
    ConfigurationError,
    DecodeError,
    LimitExceededError,
    TransportError,
    UnsupportedError,
)
from vcloud.providers.streamspace import SessionStoppedError, StreamingProtocolError, StreamSpace
from vcloud.providers.streamspace.realtime import vnc_published_opening, vnc_published_socket


def sends(*messages: str) -> Any:
    async def script(socket: web.WebSocketResponse) -> None:
        for message in messages:
            await socket.send_str(message)
        async for _ in socket:
            pass

    return script


async def leaves(socket: web.WebSocketResponse) -> None:
    """Accept a viewer, and end the connection at once."""


async def is_silent(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def away() -> web.Response:
    return web.json_response({"error": "Agent k8s-1 is not connected"}, status=503)


@virtual
async def test_the_token_goes_into_the_header_and_base64_both_ways() -> None:
    async with viewing() as server:
        assert server.session.vnc_url.endswith(f"/api/v1/vnc/{NAME}")
        assert server.session.vnc_url.startswith("ws://127.0.0.1:")
        async with server.session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
            await tunnel.write(b"\x00\xff raw")
            await asyncio.sleep(0.1)
        (request,) = server.upgrades
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        assert request.query_string == ""
        assert server.heard == [text(b"\x00\xff raw")]


@virtual
async def test_a_viewer_without_a_byte_makes_itself_known_once() -> None:
    async def answers(socket: web.WebSocketResponse) -> None:
        began = now()
        assert await socket.receive_str() == ""
        assert now() - began == pytest.approx(5, abs=0.5)
        await asyncio.sleep(10)
        await server.greet(socket)

    async with viewing(answers) as server:
        async with server.session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        await asyncio.sleep(0.1)
        assert server.heard == []


@virtual
async def test_an_agent_that_is_away_and_a_close_are_tried_again() -> None:
    async with viewing(away(), leaves, away(), leaves) as server:
        server.scripts.append(server.greet)
        async with server.session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        assert len(server.upgrades) == 5


@virtual
async def test_what_is_known_when_no_byte_came() -> None:
    async with viewing(away(), leaves, is_silent) as server:
        began = now()
        with pytest.raises(TransportError) as failure:
            await server.session.open_vnc(first_bytes=12).aopen()
        assert now() - began == pytest.approx(12, abs=1)
        said = str(failure.value)
        assert "within 12 s" in said
        assert "accepted the viewer 2 times" in said
        assert "closed the connection once" in said
        assert "503 (Agent k8s-1 is not connected)" in said
        assert not isinstance(failure.value, SessionStoppedError)


@virtual
async def test_what_a_former_viewer_left_is_passed_over() -> None:
    rest = sends(text(b"a rectangle of the viewer before"), "", text(GREETING), text(b"next"))
    async with viewing(rest) as server, server.session.open_vnc() as tunnel:
        assert await tunnel.read() == GREETING
        assert await tunnel.read() == b"next"


@pytest.mark.parametrize("wrong", ["not base64!", "UkZCIDAwMy4wMDgK" + "QUJDR", "QQ", "é"])
def test_a_message_that_is_not_whole_base64(wrong: str) -> None:
    @virtual
    async def run() -> None:
        async with (
            viewing(sends(text(GREETING), text(b"good"), wrong)) as server,
            server.session.open_vnc() as tunnel,
        ):
            assert [await tunnel.read(), await tunnel.read()] == [GREETING, b"good"]
            with pytest.raises(DecodeError, match="base64"):
                await tunnel.read()

    run()


@pytest.mark.parametrize("status", [200, 202])
def test_a_desktop_that_is_a_page(status: int) -> None:
    body = {"protocol": "selkies", "session_id": NAME, "message": "x"}
    body |= (
        {"error": "Session URL not yet available"} if status == 202 else {"type": "http_session"}
    )

    @virtual
    async def run() -> None:
        async with viewing(web.json_response(body, status=status)) as server:
            server.protocol = "selkies"
            with pytest.raises(StreamingProtocolError, match="connect_url") as failure:
                await server.session.open_vnc().aopen()
            assert isinstance(failure.value, UnsupportedError)
            assert (failure.value.protocol, failure.value.session_id) == ("selkies", NAME)
            url = await server.session.connect_url()
            base = str(server.upgrades[0].url.origin())
            assert url == f"{base}/api/v1/http/{NAME}/?token={TOKEN}"

    run()


@virtual
async def test_a_plain_answer_that_names_no_protocol() -> None:
    async with viewing(web.Response(text="<html>", content_type="text/html")) as server:
        with pytest.raises(DecodeError, match="a WebSocket was requested"):
            await server.session.open_vnc().aopen()


@virtual
async def test_a_token_that_the_filter_refuses_is_renewed_for_an_address() -> None:
    async with viewing(token="jwt.a--b") as server:
        server.protocol, server.tokens = "guacamole", ["jwt.c--d", "jwt.e-f"]
        url = await server.session.connect_url()
        assert url.endswith("?token=jwt.e-f")
        assert server.tokens == []


@virtual
async def test_the_address_of_a_vnc_session_is_refused() -> None:
    async with viewing() as server:
        with pytest.raises(StreamingProtocolError, match="forward_vnc") as failure:
            await server.session.connect_url()
        assert failure.value.protocol == "vnc"


@virtual
async def test_a_session_is_asked_for_after_60_seconds_and_every_30_from_then() -> None:
    async with viewing() as server, server.session.open_vnc() as tunnel:
        await tunnel.read()
        reading = asyncio.create_task(tunnel.read())
        for seconds, asked in ((59, 0), (2, 1), (28, 1), (2, 2), (30, 3)):
            await asyncio.sleep(seconds)
            assert server.questions == asked
        server.state = ""
        with pytest.raises(SessionStoppedError, match="it is gone") as failure:
            await reading
        assert failure.value.state is None
        with pytest.raises(SessionStoppedError, match="it is gone"):
            await tunnel.read()


@virtual
async def test_an_empty_message_is_not_a_byte() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(text(GREETING))
        for _ in range(20):
            await asyncio.sleep(5)
            await socket.send_str("")
        await is_silent(socket)

    async with viewing(script) as server, server.session.open_vnc() as tunnel:
        await tunnel.read()
        server.state = "hibernating"
        began = now()
        with pytest.raises(SessionStoppedError, match="hibernating"):
            await tunnel.read()
        assert now() - began == pytest.approx(60, abs=5)


@virtual
async def test_a_question_that_fails_ends_nothing() -> None:
    async with viewing() as server, server.session.open_vnc() as tunnel:
        await tunnel.read()
        server.broken = True
        reading = asyncio.create_task(tunnel.read())
        await asyncio.sleep(200)
        assert server.questions > 2
        assert not reading.done()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading


@virtual
async def test_a_greeting_in_the_middle_ends_the_tunnel() -> None:
    async with (
        viewing(sends(text(GREETING), text(b"picture"), text(GREETING))) as server,
        server.session.open_vnc() as tunnel,
    ):
        assert [await tunnel.read(), await tunnel.read()] == [GREETING, b"picture"]
        with pytest.raises(TransportError, match="began a new connection"):
            await tunnel.read()


@virtual
async def test_an_agent_says_why_a_tunnel_ends() -> None:
    async with (
        viewing(sends(text(GREETING), "!the desktop \x1b[31mcrashed")) as server,
        server.session.open_vnc() as tunnel,
    ):
        await tunnel.read()
        with pytest.raises(TransportError, match=r"the desktop \\x1b\[31mcrashed"):
            await tunnel.read()
        assert server.questions == 1


@virtual
async def test_of_two_tunnels_that_wait_the_later_one_stays() -> None:
    async def displaces(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(3)
        transport = server.upgrades[0].transport
        assert transport is not None
        transport.abort()
        await server.greet(socket)

    async with viewing(is_silent, displaces) as server:
        first = asyncio.create_task(server.session.open_vnc().aopen())
        await asyncio.sleep(1)
        async with server.session.open_vnc() as tunnel:
            with pytest.raises(TransportError, match="opened another tunnel"):
                await first
            assert await tunnel.read() == GREETING
        assert len(server.upgrades) == 2


@virtual
async def test_a_close_without_a_close_frame_names_another_viewer() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(text(GREETING))
        await asyncio.sleep(1)

    async with viewing(script) as server, server.session.open_vnc() as tunnel:
        assert await tunnel.read() == GREETING
        with pytest.raises(TransportError, match="another viewer of the session may have taken"):
            await tunnel.read()


@virtual
async def test_a_viewer_that_does_not_read_is_ended_before_the_server_has_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vnc_published_opening, "MAX_UNREAD", 1000)
    assert vnc_published_socket.MAX_UNREAD == 96 * 1024 * 1024
    many = [text(b"x" * 300) for _ in range(10)]
    async with viewing(sends(text(GREETING), *many)) as server:
        async with server.session.open_vnc() as tunnel:
            await asyncio.sleep(1)
            with pytest.raises(LimitExceededError, match="were not read"):
                await read_exactly(tunnel, 3012)


@virtual
async def test_names_of_any_kind_are_one_segment() -> None:
    async with viewing() as server:
        async with server.streamspace.sessions.ref("50%-ü").open_vnc():
            pass
        assert server.upgrades[0].raw_path == "/api/v1/vnc/50%25-%C3%BC"


async def test_what_cannot_wait_needs_the_dialect() -> None:
    async with StreamSpace("https://streamspace.example.com/api/v1") as streamspace:
        with pytest.raises(ConfigurationError, match="recognise"):
            _ = streamspace.sessions.ref(NAME).vnc_url
