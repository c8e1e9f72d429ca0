"""A service sends harmful texts wherever it can: the SDK prints them without any effect."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.hostile.texts import (
    HALF,
    HEADER,
    HOSTILE,
    ONCE,
    answering,
    assert_harmless,
    assert_printable_lines,
    cloud_at,
    harmful,
    listening,
    said,
)
from tests.integration.realtime_server import client, serving
from vcloud import APIError, BearerAuth, Endpoint, VCloud, VCloudError, WaitTimeout
from vcloud.providers.streamspace import StreamSpace

Call = Callable[[VCloud], Awaitable[object]]

SESSION = {
    "id": "w", "name": HOSTILE, "user": "u", "template": "t", "platform": "docker",
    "agent_id": HOSTILE, "state": HOSTILE, "resources": None, "status": None,
    "created_at": "2024-01-01T00:00:00Z", "updated_at": None,
}  # fmt: skip
MACHINE = {
    "id": "1", "type": "machine", "attributes": {"friendly_status": HOSTILE, "name": HOSTILE},
}  # fmt: skip


def start(cloud: VCloud) -> Awaitable[object]:
    return cloud.computers.machines.ref("1").start()


def machines(cloud: VCloud) -> Awaitable[object]:
    return cloud.computers.machines.list().all()


def stream(cloud: VCloud) -> Awaitable[object]:
    return cloud.streams.streams.get("1")


def desktop(cloud: VCloud) -> Awaitable[object]:
    return cloud.desktops.get("1")


def click(cloud: VCloud) -> Awaitable[object]:
    return cloud.desktops.ref("1").click(1, 2)


def session(cloud: VCloud) -> Awaitable[object]:
    return cloud.streamspace.sessions.get("1")


def hibernate(cloud: VCloud) -> Awaitable[object]:
    return cloud.streamspace.sessions.ref("1").hibernate()


def wait(cloud: VCloud) -> Awaitable[object]:
    found = cloud.streamspace.sessions.ref("1")
    return found.wait_until("running", timeout=0.05, poll=0.02)


def words(text: str) -> dict[str, tuple[Call, bytes]]:
    """Where a body says this: the call that meets it, and the answer."""
    view = SESSION | {"name": text, "agent_id": text, "state": text}
    return {
        """Where a service says this, the call that meets it, and the answer."""
        "a message of Vagon's": (start, said(body={"client_code": 4201, "message": text})),
        "a message with a status": (start, said("400 Bad", {"message": text, "status": 400})),
        "a message of Streams": (stream, said("404 No", {"client_code": 4041, "message": text})),
        "a client_code": (start, said("400 Bad", {"client_code": text, "message": "no"})),
        "a machine's fields": (machines, said(body={"client_code": 200, "message": "OK",
        "machines": [MACHINE | {"id": [text]}]})),
        "a field's name": (machines, said(body={"client_code": 200, "message": "OK",
        "machines": [{text: text}], text: 1})),
        "a list that is none": (machines, said(body={"client_code": 200, "message": "OK",
        "machines": text})),
        "an error of a desktop's": (desktop, said("400 Bad", {"status": "error", "error": text})),
        "a success that is none": (click, said(body={"status": "error", "error": text})),
        "issues": (desktop, said("400 Bad", {"error": {"issues": [{"path": [text],
        "message": text}]}})),
        "details": (desktop, said("400 Bad", {"error": "no", "details": text, "docs": text})),
        "a desktop's status": (desktop, said(body={"id": text, "status": [text]})),
        "a code, a message and an id": (session, said("400 Bad",
        {"code": text, "message": text, "error": text, "request_id": text,
         "details": {text: text}})),
        "a time": (session, said("400 Bad", {"code": "X", "message": "no", "timestamp": text})),
        "states": (hibernate, said("422 No", {"code": "INVALID_STATE_TRANSITION",
        "message": f"cannot transition from '{text}' to '{text}'",
        "details": {"from": text, "to": text}})),
        "a state that is waited for": (wait, said(body=view)),
        "a state that is not a string": (session, said(body=view | {"state": {text: 1}})),
        "a number": (session, said(body=view | {"created_at": text, "idle_timeout": text})),
    }  # fmt: skip


#: What stands in a head, or beside a body.
WIRE: dict[str, tuple[Call, bytes]] = {
    "a page that is no JSON": (machines, said(body=HEADER.encode())),
    "a page of a gateway": (machines, said("502 Bad", HEADER.encode(),
    "Content-Type: text/html\r\n")),
    "bytes that are no UTF-8": (machines, said("500 Bad", b"\xff\xfe\x1b[2J\xc2\x9b31m")),
    "a request id": (desktop, said("400 Bad", {"error": "no"}, f"X-Request-Id: {HEADER}\r\n")),
    "a request id that is no UTF-8": (desktop, said("400 Bad", {"error": "no"},
    "X-Request-Id: \udcff\r\n")),
    "the header of a limit": (desktop, said("429 No", {"error": "no"},
    f"Retry-After: {HEADER}\r\n")),
    "a date": (start, said("401 No", {"message": HOSTILE}, f"Date: {HEADER}\r\n")),
    "a content type": (desktop, said("404 No", HEADER.encode(),
    f"Content-Type: text/{HEADER}\r\n")),
    "a content encoding": (desktop, said(body={"id": "1"}, head=f"Content-Encoding: {HEADER}\r\n")),
    "a cookie": (desktop, said("400 Bad", {"error": "no"}, f"Set-Cookie: {HEADER}={HEADER}\r\n")),
    "a header's name": (desktop, said("400 Bad", {"error": "no"}, f"{HEADER}: {HEADER}\r\n")),
    "a reason": (desktop, said(f"400 {HEADER}", b"")),
    "a reason and no words": (session, said(f"500 {HEADER}", {})),
    "a status line": (desktop, f"HTTP/1.1 {HEADER} 400\r\n\r\n".encode()),
    "a length": (desktop, f"HTTP/1.1 200 OK\r\nContent-Length: {HEADER}\r\n\r\n".encode()),
    "a transfer coding": (
        desktop, f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {HEADER}\r\n\r\n".encode()),
    "a chunk's size": (
        desktop, f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{HEADER}\r\n".encode()),
    "what is no HTTP": (desktop, f"SSH-2.0-{HEADER}\r\n\r\n".encode()),
    "a place to go": (session, said("302 Found", {}, f"Location: https://x/{HEADER}\r\n")),
}  # fmt: skip
PLACES = {
    **WIRE,
    **words(HOSTILE),
    # Which msgspec does not read, so that the lenient decoder does, or nobody.
    **{f"{place}, with half an emoji": found for place, found in words(HALF).items()},
}
PATHS = (
    "/machines/1/start", "/machines", "/streams/1", "/desktop/1", "/desktop/1/computer-action",
    "/sessions/1", "/sessions/1/hibernate",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_whatever_is_shown_of_it_is_printable(place: str) -> None:
    call, answer = PLACES[place]
    with listening() as lines:
        async with answering(dict.fromkeys(PATHS, answer)) as url, cloud_at(url) as cloud:
            with pytest.raises(VCloudError) as caught:
                await call(cloud)
    error = caught.value
    assert_harmless(error)
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert_harmless(copied)
    for line in lines:
        assert_printable_lines(line)
    assert any("attempt 1" in line for line in lines)


async def test_the_fields_of_an_error_hold_the_text_as_it_was_sent() -> None:
    body = {"code": HOSTILE, "message": HOSTILE, "request_id": HOSTILE, "details": {"a": HOSTILE}}
    answers = {"/sessions/1": said("400 Bad", body), "/sessions/2": said(body=SESSION)}
    async with answering(answers) as url, cloud_at(url) as cloud:
        with pytest.raises(APIError) as caught:
            await cloud.streamspace.sessions.get("1")
        error = caught.value
        assert (error.message, error.code, error.request_id) == (HOSTILE,) * 3
        assert error.args == (HOSTILE,)
        assert HOSTILE in str(vars(error)["details"].values()) or error.details == {"a": HOSTILE}
        found = await cloud.streamspace.sessions.get("2")
        assert (found.name, found.agent_id, str(found.state)) == (HOSTILE,) * 3
        assert not harmful(repr(found))
        assert not harmful(repr(found.state))
        with pytest.raises(WaitTimeout) as late:
            await cloud.streamspace.sessions.ref("2").wait_until("running", timeout=0)
        assert late.value.last == HOSTILE
        assert_harmless(late.value)


async def test_a_login_that_is_refused_with_words_is_printable_also_when_it_is_remembered() -> None:
    answers = {"/auth/login": said("401 No", {"code": "UNAUTHORIZED", "message": HOSTILE})}
    async with (
        answering(answers) as url,
        StreamSpace(Endpoint(url, auth=BearerAuth.login("me", "a password"), retry=ONCE)) as space,
    ):
        for _ in range(2):
            with pytest.raises(APIError) as caught:
                await space.sessions.get("1")
            assert_harmless(caught.value)


async def test_why_a_websocket_was_refused_or_closed_is_printable() -> None:
    reason = HEADER.encode()

    async def hang_up(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.close(code=1011, message=reason[:120])

    def refuse(request: web.Request) -> web.Response | None:
        body = {"error": HOSTILE, "message": HOSTILE, "code": HOSTILE}
        refused = request.path.endswith("/refused")
        return web.json_response(body, status=403) if refused else None

    async def look(space: StreamSpace, id: str) -> None:
        async with space.sessions.ref(id).open_vnc() as tunnel:
            while await tunnel.read():
                pass

    async def read(space: StreamSpace, id: str) -> None:
        async with space.sessions.ref(id).logs(follow=True) as log:
            async for _ in log:
                pass

    with listening() as lines:
        async with serving(hang_up, refuse) as server, client(server, attempts=1) as space:
            for id in ("refused", "closed"):
                with pytest.raises(VCloudError) as caught:
                    await look(space, id)
                assert_harmless(caught.value)
            with pytest.raises(VCloudError) as caught:
                await read(space, "closed")
            assert_harmless(caught.value)
    for line in lines:
        assert_printable_lines(line)


async def test_text_of_a_control_plane_is_printable_in_an_agents_log_and_errors() -> None:
    heard: list[Exception] = []

    async def command(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json(
            {
                "type": "register_ack",
                "agent_id": "a",
                "status": "registered",
                "heartbeat_interval": "10s",
            }
        )
        await socket.send_json({"type": "command", "command_type": HOSTILE, "command_id": HOSTILE})
        await socket.send_json({"type": HOSTILE, "data": HOSTILE})
        await socket.send_json(
            {"type": "command", "command_type": "start_session", HOSTILE: HOSTILE}
        )
        await socket.close(code=1011, message=HEADER.encode()[:120])

    with listening() as lines:
        async with serving(command) as server, client(server) as space:
            worker = space.serve_agent(
                "a", platform="docker", handler=Handler(), on_error=heard.append
            )
            running = asyncio.create_task(worker.run())
            while len(heard) < 2:  # noqa: ASYNC110 - what a peer does has no event here
                await asyncio.sleep(0.01)
            worker.stop()
            await running
    for error in (*heard, *worker.errors):
        assert_harmless(error)
    assert any("busy" in line for line in lines)
    for line in lines:
        assert_printable_lines(line)


class Handler:
    """Accepts every command, and does nothing."""

    def __getattr__(self, name: str) -> Any:
        async def done(*_: object) -> None:
            return None

        return done
