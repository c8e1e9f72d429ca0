"""Where an agent finds a session's VNC server: at a port, or at a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.integration.realtime_plane import Handler, Plane, plane
from tests.integration.realtime_server import settled
from vcloud.providers.streamspace import VNCProxyRequest

GREETING = b"RFB 003.008\n"
ASK = {"type": "vnc_proxy_request", "session_id": "s1", "proxy_id": "p1", "data": {}}


@define
class At(Handler):
    """Its VNC server is here."""

    where: Any = None

    async def vnc_address(self, request: VNCProxyRequest) -> Any:
        return self.where


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a Unix socket's path has 107 bytes at most."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextlib.asynccontextmanager
async def vnc_server(path: Path) -> AsyncIterator[list[bytes]]:
    """Greets, and keeps what it hears; the end of the list is the end of a connection."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                heard.append(data)
        heard.append(b"")
        writer.close()

    async with await asyncio.start_unix_server(serve, path):
        yield heard


async def bytes_of_the_viewer(control: Plane) -> bytes:
    await settled(lambda: bool(control.of("bytes")))
    return b"".join(message["data"] for message in control.of("bytes"))


@pytest.mark.parametrize("kind", [str, Path])
async def test_a_viewer_is_connected_to_the_unix_socket_that_the_handler_returns(
    folder: Path, kind: type[str | Path]
) -> None:
    async with vnc_server(folder / "vnc") as heard, plane() as control:
        async with control.agent(At(where=kind(folder / "vnc"))) as worker:
            await control.sockets[0].send_json(ASK)
            assert await bytes_of_the_viewer(control) == GREETING
            await settled(lambda: heard == [b"from the viewer"])
            await control.proxied["p1"].close()
            await settled(lambda: heard == [b"from the viewer", b""])
            assert worker.errors == ()


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("127.0.0.1:5900", r"the absolute path of a Unix socket, not '127\.0\.0\.1:5900'"),
        ("vnc", "not 'vnc'"),
        ("", "not ''"),
        ("\0vnc", r"not '\\x00vnc'"),
        (b"/tmp/vnc", "not b'/tmp/vnc'"),
        (None, "not None"),
        (5900, "not 5900"),
        (("127.0.0.1",), r"not \('127\.0\.0\.1',\)"),
        ("/tmp/no such socket", "No such file"),
        ("/" + "x" * 200, "too long"),
    ],
)
async def test_an_invalid_address_refuses_that_viewer_only_and_is_named(
    where: object, words: str
) -> None:
    async with plane() as control, control.agent(At(where=where)) as worker:
        await control.sockets[0].send_json(ASK)
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        (said,) = control.of("vnc_proxy_error")
        assert said["error"] == "the VNC server cannot be reached"
        with pytest.raises(Exception, match=words):
            raise worker.errors[-1]
        assert worker.registered


async def test_a_handler_whose_own_task_was_cancelled_leaves_no_viewer_waiting() -> None:
    class Cancelled(Handler):
        async def vnc_address(self, request: VNCProxyRequest) -> Any:
            own = asyncio.create_task(asyncio.sleep(60))
            own.cancel()
            await own

    async with plane() as control, control.agent(Cancelled()) as worker:
        await control.sockets[0].send_json(ASK)
        await settled(lambda: bool(control.of("vnc_proxy_error")))
        (said,) = control.of("vnc_proxy_error")
        assert said["error"] == "the VNC server cannot be reached"
        assert str(worker.errors[-1]) == "vnc_address raised CancelledError"


async def test_a_system_without_unix_sockets_is_a_named_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Windows is."""
    monkeypatch.delattr(asyncio, "open_unix_connection")
    async with plane() as control, control.agent(At(where="/tmp/vnc")) as worker:
        await control.sockets[0].send_json(ASK)
        await settled(lambda: bool(worker.errors))
        assert "this system has no Unix sockets" in str(worker.errors[-1])
