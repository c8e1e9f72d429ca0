"""Finds which user has the other end of a loopback connection, in Linux's table of sockets.

Every user can connect to a port on loopback. The kernel's table names the user of each socket. The
row of a connection's other end has the same two addresses and ports, in the other order.

The client and the emulator each have a copy of this module, because neither imports private parts
of the other. A test holds the copies equal, and all others run on both.

Sources: proc_net_tcp.rst of the kernel's documents, and ``get_tcp4_sock``, ``get_tcp6_sock`` of its
source. Netlink's sock_diag answers for one connection alone, but some containers lack it, and its
rows say no more.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final

#: For IPv4 and IPv6. A program may reach 127.0.0.1 by either: as ::ffff:127.0.0.1 it is in the
#: second.
TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

#: States of a socket that a program holds: connected, and the two after it closed its own
#: direction. A row in any other state may say user 0 although its program has ended.
_HELD: Final = frozenset({b"01", b"04", b"05"})
#: tcp_info's first byte: established, and the other end has closed its direction.
_OPEN: Final = frozenset({1, 8})
_COLUMNS: Final = 10
_READINGS: Final = 2

#: An address in bytes and a port.
Name = tuple[bytes, int]
#: By a socket's own name and its remote one: who has it.
Users = Mapping[tuple[Name, Name], frozenset[int]]
#: The users who may connect, and the users of the connections.
Reading = tuple[frozenset[int], Users]


def name_of(address: tuple[Any, ...]) -> Name:
    """The address and port of ``getpeername`` or ``getsockname``; an IPv4 one is so in IPv6 too."""
    found = ip_address(address[0].partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.packed, address[1]


def users_of(lines: Iterable[bytes], port: int) -> Users:
    """The users of all sockets that are connected to this port.

    It takes time in proportion to the lines, and memory for the rows of this port alone.

    Args:
        lines: of one of the tables.
        port: the remote one.

    Returns:
        for each pair of a socket's own name and its remote one: who has it. A socket that belongs
        to no program, such as one in TIME_WAIT, is left out.
    """
    found: defaultdict[tuple[Name, Name], set[int]] = defaultdict(set)
    mark = b":%04X " % port
    for line in lines:
        if mark not in line:
            continue
        columns = line.split()
        if len(columns) < _COLUMNS:
            continue
        _, own, remote, state, _, _, _, user, _, inode = columns[:_COLUMNS]
        # A socket without an inode belongs to no program, and older kernels say user 0 for it.
        if remote.endswith(mark[:-1]) and state in _HELD and inode != b"0":
            found[_name(own), _name(remote)].add(int(user))
    return {pair: frozenset(users) for pair, users in found.items()}


def _name(column: bytes) -> Name:
    """An address as the kernel prints it: words of 32 bits, in the machine's byte order."""
    words, _, port = column.partition(b":")
    packed = b"".join(
        struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8)
    )
    if len(packed) == 16 and (mapped := IPv6Address(packed).ipv4_mapped) is not None:
        packed = mapped.packed
    return packed, int(port, 16)


def own_user_and_root(user: int, uid_map: str, overflow: str) -> frozenset[int]:
    """The users who may connect to this process.

    Args:
        user: this process's.
        uid_map: the text of /proc/self/uid_map.
        overflow: the text of /proc/sys/kernel/overflowuid: the user that the kernel names in place
            of all who have no number in a namespace.
    """
    everybody_has_a_number = uid_map.split() == ["0", "0", "4294967295"]
    if str(user) == overflow.strip() and not everybody_has_a_number:
        # It is this user or any of those, so it proves nothing.
        return frozenset({0})
    return frozenset({0, user})


def _allowed() -> frozenset[int]:
    try:
        uid_map = Path("/proc/self/uid_map").read_text("utf-8")
    except FileNotFoundError:
        # A kernel without user namespaces.
        return frozenset({0, os.geteuid()})
    overflow = Path("/proc/sys/kernel/overflowuid").read_text("utf-8")
    return own_user_and_root(os.geteuid(), uid_map, overflow)


class LocalPeers:
    """The users connected to one port on loopback. The table is read in a thread.

    Callers that wait for a reading that has not begun share it, so that many connections at once do
    not cost a reading each.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._turn = asyncio.Lock()
        self._begun = 0
        self._read_as = 0
        self._last: Reading = frozenset(), {}

    async def are_ours(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the other end belongs to this process's user or to root, and to no other user.

        False too if it has no row, or has closed by now.

        Raises:
            OSError: the table cannot be read.
        """
        own, peer = (writer.get_extra_info(name) for name in ("sockname", "peername"))
        if own is None or peer is None:
            return False
        for _ in range(_READINGS):
            allowed, table = await self._reading()
            users = table.get((name_of(peer), name_of(own)))
            # Checked last: if the end closed meanwhile, another user may have its addresses now.
            if not _is_open(writer):
                return False
            if users is not None:
                return users <= allowed
            # The kernel gives the table in parts, and may pass over a row whose neighbour ended.
        return False

    async def _reading(self) -> Reading:
        """What a reading found that began after this call."""
        asked = self._begun
        async with self._turn:
            if self._read_as <= asked:
                self._begun += 1
                begun = self._begun
                self._last = await asyncio.to_thread(read_tables, self._port)
                self._read_as = begun
            return self._last


def read_tables(port: int) -> Reading:
    """Who may connect, and the users of both tables for this port."""
    first, *others = TABLES
    found = dict(_users_in(first, port))
    for table in others:
        try:
            more = _users_in(table, port)
        except FileNotFoundError:
            # A kernel without IPv6.
            continue
        for pair, users in more.items():
            found[pair] = found.get(pair, frozenset()) | users
    return _allowed(), found


def _users_in(table: Path, port: int) -> Users:
    with table.open("rb") as lines:
        return users_of(lines, port)


def _is_open(writer: asyncio.StreamWriter) -> bool:
    """Whether the connection still has another end, by the kernel rather than by the loop."""
    if writer.transport.is_closing():
        return False
    connection = writer.get_extra_info("socket")
    try:
        state: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError:
        return False
    return state[0] in _OPEN
