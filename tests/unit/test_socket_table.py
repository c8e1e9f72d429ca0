"""The user of the other end of a connection, from the kernel's table of sockets.

The client and the emulator have a copy each, and every test here runs on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.hostile.growth import check_growth
from tests.hostile.strangers import NAMELESS, NOBODY, heard, require_root
from vcloud.emulator.x11 import socket_table as of_emulator
from vcloud.providers.streamspace.realtime import socket_table as of_client

OWN, PEER = ("127.0.0.1", 5900), ("127.0.0.1", 50000)
HEAD = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT = 1, 2, 4, 5, 6, 7, 8
LISTEN = 10

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the table")


@pytest.fixture(params=[of_client, of_emulator], ids=["client", "emulator"])
def table(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def shown(address: tuple[str, int]) -> str:
    """As the kernel prints it (proc_net_tcp.rst): words in the machine's byte order."""
    packed = ip_address(address[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def row(
    own: tuple[str, int] = PEER,
    remote: tuple[str, int] = OWN,
    *,
    state: int = ESTABLISHED,
    user: int = 1000,
    inode: int = 4711,
) -> bytes:
    queues = "00000000:00000000 00:00000000 00000000"
    return (
        f"   1: {shown(own)} {shown(remote)} {state:02X} {queues} "
        f"{user:5} {0:8} {inode} 1 0 20 4 30 10 -1\n"
    ).encode()


def users(table: ModuleType, *rows: bytes) -> set[int] | None:
    found = table.users_of([HEAD, *rows], OWN[1])
    result = found.get((table.name_of(PEER), table.name_of(OWN)))
    return None if result is None else set(result)


def test_both_copies_are_the_same() -> None:
    assert inspect.getsource(of_client) == inspect.getsource(of_emulator)


def test_a_row_names_the_user_of_the_other_end(table: ModuleType) -> None:
    assert users(table, row()) == {1000}
    assert users(table) is None


@pytest.mark.parametrize(
    "other",
    [
        row(own=("127.0.0.2", PEER[1])),
        row(own=("127.0.0.1", PEER[1] + 1)),
        row(remote=("127.0.0.2", OWN[1])),
        row(remote=("127.0.0.1", OWN[1] + 1)),
        row(own=OWN, remote=PEER),
        row(own=("::1", PEER[1]), remote=("::1", OWN[1])),
        row(own=("::127.0.0.1", PEER[1]), remote=("::127.0.0.1", OWN[1])),
    ],
)
def test_a_row_of_another_connection_is_ignored(table: ModuleType, other: bytes) -> None:
    assert users(table, other) is None
    assert users(table, other, row(user=7)) == {7}


@pytest.mark.parametrize("state", range(1, 13))
def test_a_row_counts_while_a_program_can_hold_the_socket(table: ModuleType, state: int) -> None:
    """In other states, and without an inode, kernels may say user 0 for a socket of no program."""
    held = state in (ESTABLISHED, FIN_WAIT1, FIN_WAIT2)
    assert users(table, row(state=state)) == ({1000} if held else None)
    assert users(table, row(state=state, user=0, inode=0)) is None


def test_all_rows_of_one_connection_count(table: ModuleType) -> None:
    assert users(table, row(user=1), row(user=2)) == {1, 2}


def test_an_ipv4_address_is_the_same_in_ipv6(table: ModuleType) -> None:
    mapped = row(own=("::ffff:127.0.0.1", PEER[1]), remote=("::ffff:127.0.0.1", OWN[1]))
    assert users(table, mapped) == {1000}
    assert table.name_of(("::ffff:127.0.0.1", 1, 0, 0)) == table.name_of(("127.0.0.1", 1))
    assert table.name_of(("fe80::1%lo", 1, 0, 1)) == table.name_of(("fe80::1", 1, 0, 1))


def test_an_invalid_row_is_ignored(table: ModuleType) -> None:
    short = row().split(b" 00:")[0] + b"\n"
    assert users(table, b"\n", short, b":170C \n", row()) == {1000}


def test_the_table_is_searched_in_linear_time(table: ModuleType) -> None:
    elsewhere = row(remote=("127.0.0.1", 443))
    check_growth(
        make=lambda size: [elsewhere] * size, work=lambda lines: table.users_of(lines, OWN[1])
    )


def test_many_connections_to_the_port_itself_cost_as_much_each(table: ModuleType) -> None:
    before, after = row().split(shown(PEER).encode())

    def rows(size: int) -> list[bytes]:
        return [b"%s%08X:%04X%s" % (before, n, n & 0xFFFF, after) for n in range(size)]

    check_growth(make=rows, work=lambda lines: table.users_of(lines, OWN[1]))


@pytest.mark.parametrize(
    ("user", "uid_map", "allowed"),
    [
        (1000, "         0          0 4294967295\n", {0, 1000}),
        (65534, "         0          0 4294967295\n", {0, 65534}),
        (1000, "      1000       1000          1\n", {0, 1000}),
        # In a namespace where others have no number, they are all shown as this one.
        (65534, "     65534       1000          1\n", {0}),
        (65534, "         0     100000      65536\n", {0}),
        (0, "         0       1000          1\n", {0}),
    ],
)
def test_the_overflow_user_is_not_accepted(
    table: ModuleType, user: int, uid_map: str, allowed: set[int]
) -> None:
    assert table.own_user_and_root(user, uid_map, "65534\n") == allowed


# -- sockets of this machine -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def accepting(host: str = "127.0.0.1") -> AsyncIterator[tuple[Any, asyncio.Queue[Any]]]:
    """A server's address, and what it has accepted."""
    accepted: asyncio.Queue[Any] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)

    server = await asyncio.start_server(accept, host, 0)
    try:
        yield server.sockets[0].getsockname(), accepted
    finally:
        server.close()
        while not accepted.empty():
            accepted.get_nowait().close()


async def judged(table: ModuleType, host: str, connect: Callable[[Any], socket.socket]) -> bool:
    async with accepting(host) as (address, accepted):
        with await asyncio.to_thread(connect, address):
            writer = await accepted.get()
            try:
                found: bool = await table.LocalPeers(address[1]).are_ours(writer)
            finally:
                writer.close()
            return found


def plain(address: Any) -> socket.socket:
    return socket.create_connection(address[:2])


def mapped(address: Any) -> socket.socket:
    connection = socket.socket(socket.AF_INET6)
    connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    connection.connect((f"::ffff:{address[0]}", address[1]))
    return connection


def half_closed(address: Any) -> socket.socket:
    connection = plain(address)
    connection.shutdown(socket.SHUT_WR)
    return connection


def closed(address: Any) -> socket.socket:
    connection = plain(address)
    connection.sendall(b"RFB 003.008\n\1\1")
    connection.close()
    return connection


def reset(address: Any) -> socket.socket:
    connection = plain(address)
    connection.sendall(b"RFB 003.008\n\1\1")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return connection


@only_linux
@pytest.mark.parametrize(
    ("host", "connect", "ours"),
    [
        ("127.0.0.1", plain, True),
        ("::1", plain, True),
        ("127.0.0.1", mapped, True),
        ("127.0.0.1", half_closed, True),
        ("127.0.0.1", closed, False),
        ("127.0.0.1", reset, False),
        ("::1", closed, False),
    ],
)
async def test_own_connections_are_ours_while_they_are_open(
    table: ModuleType, host: str, connect: Callable[[Any], socket.socket], ours: bool
) -> None:
    """A closed connection has no user: kernels said user 0 for it after its program had ended."""
    assert await judged(table, host, connect) is ours


@only_linux
async def test_a_connection_with_reused_addresses_does_not_identify_the_former_one(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first leaves with its bytes unread; another of our own comes from the same port."""
    async with accepting() as (address, accepted):
        first = socket.socket()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", 0))
        source = first.getsockname()
        await asyncio.to_thread(first.connect, address)
        old = await accepted.get()
        # As if the loop had not noticed yet.
        old.transport.pause_reading()
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        with socket.socket() as second:
            second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            second.bind(source)
            await asyncio.to_thread(second.connect, address)
            new = await accepted.get()
            peers = table.LocalPeers(address[1])
            assert await peers.are_ours(new)
            assert not await peers.are_ours(old)
        new.close()
        old.transport.abort()


@only_linux
async def test_many_connections_at_once_share_readings(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0
    read = table.read_tables

    def counted(port: int) -> Any:
        nonlocal readings
        readings += 1
        return read(port)

    monkeypatch.setattr(table, "read_tables", counted)
    async with accepting() as (address, accepted):
        connections = [await asyncio.to_thread(plain, address) for _ in range(40)]
        writers = [await accepted.get() for _ in connections]
        peers = table.LocalPeers(address[1])
        assert all(await asyncio.gather(*map(peers.are_ours, writers)))
        # One was under way when the others asked, and the next is for all of them.
        assert readings == 2
        cancelled = asyncio.create_task(peers.are_ours(writers[0]))
        await asyncio.sleep(0)
        cancelled.cancel()
        assert await peers.are_ours(writers[1])
        for each in [*connections, *writers]:
            each.close()


@only_linux
async def test_a_row_that_a_reading_missed_is_looked_up_again(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives its table in parts, between which its rows move."""
    read, given = table.read_tables, [0, 1]

    def passing_over(port: int) -> Any:
        allowed, found = read(port)
        return (allowed, found) if given.pop() == 0 else (allowed, {})

    monkeypatch.setattr(table, "read_tables", passing_over)
    assert await judged(table, "127.0.0.1", plain)
    given[:] = [1, 1]
    assert not await judged(table, "127.0.0.1", plain)


@only_linux
async def test_a_kernel_without_ipv6_has_one_table_and_one_without_any_is_an_error(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "TABLES", (table.TABLES[0], tmp_path / "tcp6"))
    assert await judged(table, "127.0.0.1", plain)
    monkeypatch.setattr(table, "TABLES", (tmp_path / "tcp", tmp_path / "tcp6"))
    with pytest.raises(FileNotFoundError):
        await judged(table, "127.0.0.1", plain)


ORDINARY = """
import asyncio, importlib, os, sys
import vcloud, {module} as table

async def main():
    async def serve(reader, writer):
        writer.write(b"+" if await peers.are_ours(writer) else b"-")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peers = table.LocalPeers(port)
    print(port, flush=True)
    await asyncio.sleep(60)

async def warm():  # imports what a thread takes, while the files can be read
    await asyncio.to_thread(int)

asyncio.run(warm())
os.setgroups([]); os.setgid({user}); os.setuid({user})
asyncio.run(main())
"""


@only_linux
def test_an_ordinary_user_s_port_accepts_that_user_and_root_only(table: ModuleType) -> None:
    require_root()
    program = ORDINARY.format(module=table.__name__, user=NOBODY)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd="/"
    ) as serving:
        assert serving.stdout is not None
        try:
            port = int(serving.stdout.readline())
            with socket.create_connection(("127.0.0.1", port)) as root:
                assert root.recv(1) == b"+"
            assert heard("127.0.0.1", port, user=NOBODY) == b"+"
            assert heard("127.0.0.1", port, user=NAMELESS) == b"-"
        finally:
            serving.kill()
