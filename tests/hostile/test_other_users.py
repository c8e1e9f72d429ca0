"""Other users of this machine cannot access forwarded sessions and journals.

Real desktops and their pictures are in tests/x11/test_x11_other_users.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.hostile.strangers import NAMELESS, NOBODY, heard, require_root, run_as_nobody
from tests.integration.realtime_server import Script, Server, client, serving, settled
from vcloud import InvalidArgumentError
from vcloud.bulk import Journal
from vcloud.providers.streamspace import VNCForward
from vcloud.providers.streamspace.realtime import socket_table, vnc_admission
from vcloud.providers.streamspace.realtime.vnc_relay import RelayProgress

ID = "770e8400-e29b-41d4-a716-446655440002"
GREETING = b"RFB 003.008\n"
#: A viewer's whole beginning, and a key that is pressed.
KEYS = GREETING + b"\1\1" + b"\4\1\0\0\0\0\0a"

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the table")


async def greet(request: web.Request, socket: web.WebSocketResponse) -> None:
    """As a VNC server does, which speaks first and then listens."""
    await socket.send_bytes(GREETING)
    async for _ in socket:
        pass


@contextlib.asynccontextmanager
async def forwarded(
    script: Script = greet, **options: Any
) -> AsyncIterator[tuple[VNCForward, Server]]:
    async with serving(script) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc(**options) as forward:
            yield forward, server


async def first_bytes(host: str, port: int, **options: Any) -> bytes:
    return await asyncio.to_thread(heard, host, port, **options)


Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(forward: VNCForward) -> Connected:
    return await asyncio.open_connection(forward.host, forward.port)


async def ended(connection: Connected) -> bool:
    """Whether it was closed without a byte."""
    reader, writer = connection
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True
    finally:
        writer.close()


# -- whose connections a forward takes -------------------------------------------------------------


@only_linux
@pytest.mark.parametrize("user", [NOBODY, NAMELESS])
@pytest.mark.parametrize(
    ("host", "target", "source"),
    [
        ("127.0.0.1", "127.0.0.1", ""),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "::ffff:127.0.0.1", ""),
        ("127.0.0.1", "::ffff:127.0.0.1", "::ffff:127.0.0.2"),
        ("::1", "::1", ""),
    ],
)
async def test_a_forwarded_session_sends_nothing_to_another_user(
    user: int, host: str, target: str, source: str
) -> None:
    """Also from another address with the port number of the owner's connection."""
    require_root()
    async with forwarded(host=host) as (forward, server):
        own = await connected(forward)
        assert await own[0].readexactly(12) == GREETING
        mine = own[1].get_extra_info("sockname")[1]
        bound = (source, mine) if source else None
        assert await first_bytes(target, forward.port, user=user, source=bound, says=KEYS) == b""
        await settled(lambda: forward.connections == 1)
        assert (len(server.requests), forward.refused, forward.errors) == (1, 1, ())
        own[1].close()


@only_linux
async def test_bytes_of_another_user_reach_no_session() -> None:
    """The row of a closed socket names no user, or user 0."""
    require_root()
    async with forwarded() as (forward, server):
        for _ in range(3):
            assert await first_bytes("127.0.0.1", forward.port, says=KEYS, leaves=True) == b""
        await settled(lambda: forward.refused == 3)
        assert server.requests == []


@only_linux
async def test_the_owner_s_programs_are_accepted_by_every_address() -> None:
    async with forwarded() as (forward, _):
        for family, host in (
            (socket.AF_INET, "127.0.0.1"),
            (socket.AF_INET6, "::ffff:127.0.0.1"),
        ):
            with socket.socket(family) as viewer:
                viewer.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(viewer, (host, forward.port))
                assert await loop.sock_recv(viewer, 12) == GREETING
        assert forward.refused == 0


async def test_any_user_can_be_admitted() -> None:
    require_root()
    async with forwarded(anyone=True) as (forward, _):
        assert await first_bytes("127.0.0.1", forward.port) == GREETING
        assert forward.refused == 0


@pytest.mark.parametrize("anyone", [1, "yes", None])
async def test_only_true_admits_a_viewer(anyone: object) -> None:
    with pytest.raises(InvalidArgumentError, match="anyone must be True or False"):
        async with forwarded(anyone=anyone):
            pass


async def test_without_a_socket_table_it_serves_everybody_and_warns_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As on macOS and Windows."""
    monkeypatch.setattr(vnc_admission, "TABLES", (tmp_path / "tcp", tmp_path / "tcp6"))
    async with forwarded() as (forward, _):
        for _ in range(2):
            reader, writer = await connected(forward)
            assert await reader.readexactly(12) == GREETING
            writer.close()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in warnings] == ["vcloud.streamspace"]
    assert "every user of this machine" in warnings[0].getMessage()


async def test_an_unreadable_socket_table_admits_no_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vnc_admission, "TABLES", (tmp_path, tmp_path))
    monkeypatch.setattr(socket_table, "TABLES", (tmp_path, tmp_path))
    async with forwarded() as (forward, server):
        for _ in range(3):
            assert await ended(await connected(forward))
        assert (forward.refused, server.requests) == (3, [])
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1, "others could fill the log"
    assert "cannot be read" in warnings[0].getMessage()


# -- how many say nothing --------------------------------------------------------------------------


async def test_silent_viewers_are_bounded_and_active_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vnc_admission, "MAX_SILENT", 3)
    spoken = []

    async def listen(request: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(GREETING)
        async for message in socket:
            spoken.append(message.data)

    async with forwarded(listen) as (forward, server):
        silent = [await connected(forward) for _ in range(3)]
        for reader, _ in silent:
            assert await reader.readexactly(12) == GREETING
        assert await ended(await connected(forward))
        assert (forward.refused, len(server.requests)) == (1, 3)

        silent[0][1].write(GREETING)
        await settled(lambda: spoken == [GREETING])
        late = await connected(forward)
        assert await late[0].readexactly(12) == GREETING
        assert await ended(await connected(forward))

        silent[1][1].close()
        await settled(lambda: forward.connections == 3)
        another = await connected(forward)
        assert await another[0].readexactly(12) == GREETING
        for _, writer in (*silent, late, another):
            writer.close()


@only_linux
async def test_other_users_do_not_use_the_owner_s_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_root()
    monkeypatch.setattr(vnc_admission, "MAX_SILENT", 1)
    async with forwarded() as (forward, _):
        for _ in range(3):
            assert await first_bytes("127.0.0.1", forward.port) == b""
        await settled(lambda: not forward.connections)
        reader, writer = await connected(forward)
        assert await reader.readexactly(12) == GREETING
        writer.close()


async def test_a_silent_viewer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vnc_admission, "SILENCE_TIMEOUT", 0.3)
    async with forwarded() as (forward, _):
        silent = await connected(forward)
        assert await silent[0].read() in (GREETING, b""), "and then the end"
        await settled(lambda: not forward.connections)
        assert (forward.refused, forward.errors) == (1, ())
        silent[1].close()


async def test_a_viewer_may_be_silent_after_its_first_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vnc_admission, "SILENCE_TIMEOUT", 0.0)
    hung_up: list[str] = []
    watched = vnc_admission.ViewerAdmission(anyone=True)
    for name, version in ("silent", b""), ("speaking", b"R"):
        assert watched.reserve(RelayProgress(version=version), partial(hung_up.append, name))
    await settled(lambda: bool(hung_up))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (hung_up, watched.refused) == (["silent"], 1)


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users can list, with umask 0."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    before = os.umask(0)
    yield folder
    os.umask(before)
    shutil.rmtree(folder)


def readable_by_nobody(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if run_as_nobody("cat", file).returncode == 0}


async def test_another_user_cannot_read_a_journal_whatever_the_umask(open_folder: Path) -> None:
    """Other files in the directory are not readable either."""
    require_root()
    async with Journal(open_folder / "journal"):
        assert await asyncio.to_thread(readable_by_nobody, open_folder) == set()
        assert (open_folder / "journal").exists()
        (open_folder / "open").touch()
        assert await asyncio.to_thread(readable_by_nobody, open_folder) == {"open"}
