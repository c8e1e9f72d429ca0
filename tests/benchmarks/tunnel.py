"""The VNC tunnel: its speed relative to TCP, the memory of fifty tunnels, and back-pressure.

    python -m tests.benchmarks.tunnel [--rounds 11]

Both compared paths run completely in this one process and its one event loop: viewer, relays, and
the TCP server in place of VNC. So a figure is the work of the whole path, whatever the number of
cores. The common part, both ends and the kernel, is in both. Both read and write in the same sizes.

Carried: two paths carry the same bytes in turn (A B A B). Each pair gives one ratio of their
speeds, below 1 if the tunnel is slower. The paths, with ``-`` for TCP and ``=`` for a WebSocket:

* forward_vnc: viewer - forward = emulator = AgentWorker - server; bare: viewer - relay - relay -
  relay - server.
* open_vnc: tunnel = relay - server; bare: viewer - relay - server.
* The same open_vnc against aiohttp's own WebSocket client through the same relay. This separates
  the cost of vcloud from that of the WebSocket.

Kept: the memory that Python has allocated (tracemalloc) and that of the process (RSS, which
includes that of tracemalloc itself) after each round of echoes; first through tunnels that stay
open, then through new ones in each round, after they are closed.

Pushed: how much a sender can write before it has to wait, if the reader reads nothing. Most of it
is in the kernel's socket buffers on every hop; what is in this process is printed separately.
Memory and sockets are from Linux's /proc.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import aiohttp

from tests.benchmarks.harness import VCLOUD, Options, Table, in_turn, ratio, run, wall
from tests.benchmarks.relays import (
    MB,
    PIECE,
    TCP,
    BareSocket,
    Open,
    Pipe,
    PipeServer,
    Port,
    bare_relays,
    download,
    echo,
    listening,
    order,
    session_of,
    socket_relay,
    upload,
)
from vcloud import BearerAuth, Endpoint
from vcloud.providers.streamspace import Session, StreamSpace
from vcloud.providers.streamspace.realtime.vnc_forward import VNCForward

ROUNDS = 11
MEGABYTES = 24
TUNNELS = 50
ENDLESS = 512 * MB
STILL = 0.3
"""Seconds without progress after which a sender is considered blocked."""
OTHER = "other"


# Carried.


async def compare(table: Table, name: str, ours: Open, bare: Open, rounds: int, size: int) -> None:
    """Print a row for each direction: the ratio of speeds, ours / bare, and both in MB/s."""
    a, b = await ours(), await bare()
    for direction, carry in ("down", download), ("up", upload):
        measures = {
            VCLOUD: lambda carry=carry: wall(carry(a, size)),
            OTHER: lambda carry=carry: wall(carry(b, size)),
        }
        taken = await in_turn(measures, rounds)
        speeds = {
            who: f"{size / MB / statistics.median(values):.0f} MB/s"
            for who, values in taken.items()
        }
        table.row(f"{name}, {direction}", speeds | {"ratio": ratio(taken[OTHER], taken[VCLOUD])})
    await a.aclose()
    await b.aclose()


async def carried(session: Session, stand_in: Port, rounds: int, size: int) -> None:
    title = f"Carried: ratio of speeds, {rounds} pairs of {size / MB:.0f} MB, one process"
    table = Table(title, ("ratio", VCLOUD, OTHER))
    async with bare_relays(3, stand_in) as three, session.forward_vnc() as forward:
        await compare(
            table,
            "forward_vnc / TCP, 3 relays",
            lambda: TCP.to(forward.port),
            lambda: TCP.to(three),
            rounds,
            size,
        )
    async with (
        bare_relays(1, stand_in) as one,
        socket_relay(stand_in) as url,
        StreamSpace(
            Endpoint(f"{url}/api/v1", auth=BearerAuth("token")), dialect="documented"
        ) as streamspace,
        aiohttp.ClientSession() as http,
    ):
        ref = streamspace.sessions.ref("id")

        async def bare() -> Pipe:
            return BareSocket(
                await http.ws_connect(f"{url}/vnc-viewer/id", max_msg_size=4 * 1024**2)
            )

        await compare(
            table,
            "open_vnc / TCP, 1 relay",
            lambda: ref.open_vnc().aopen(),
            lambda: TCP.to(one),
            rounds,
            size,
        )
        await compare(
            table,
            "open_vnc / WebSocket, 1 relay",
            lambda: ref.open_vnc().aopen(),
            bare,
            rounds,
            size,
        )


# Kept.


def memory() -> str:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    rss = pages * os.sysconf("SC_PAGESIZE") / MB
    return f"{tracemalloc.get_traced_memory()[0] / MB:>6.2f} traced {rss:>6.1f} RSS"


def left() -> tuple[int, int]:
    """Tasks and open files of this process."""
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only names are needed


async def closed(forward: VNCForward, pipes: list[TCP], before: tuple[int, int]) -> None:
    """Close these, and wait up to 2 s until tasks and files are as many as before."""
    for pipe in pipes:
        await pipe.aclose()
    for _ in range(200):
        if not forward.connections and left() <= before:
            break
        await asyncio.sleep(0.01)


async def kept(session: Session, tunnels: int, size: int) -> None:
    async with session.forward_vnc() as forward:

        async def opened() -> list[TCP]:
            return await asyncio.gather(*(TCP.to(forward.port) for _ in range(tunnels)))

        before = left()
        print(f"{'before':<38} {memory()}")
        pipes = await opened()
        for number in 1, 2, 3:
            await asyncio.gather(*(echo(pipe, size) for pipe in pipes))
            print(f"{f'{len(pipes)} held open, after round {number}':<38} {memory()}")
        await closed(forward, pipes, before)
        print(f"{'all closed':<38} {memory()}")
        for number in 1, 2, 3:
            pipes = await opened()
            await asyncio.gather(*(echo(pipe, size) for pipe in pipes))
            await closed(forward, pipes, before)
            print(f"{f'{len(pipes)} new ones, closed, round {number}':<38} {memory()}")
        tasks, files = (now - then for now, then in zip(left(), before, strict=True))
        print(
            f"{'left afterwards':<38} {tasks} tasks, {files} sockets, {len(forward.errors)} errors"
        )


# Pushed.


async def blocked(name: str, count: Callable[[], int], before: int) -> None:
    """Wait until a sender makes no progress, and print how much it has sent."""
    seen = -1
    while seen != count():
        seen = count()
        await asyncio.sleep(STILL)
    gc.collect()
    here = tracemalloc.get_traced_memory()[0] - before
    print(
        f"{name:<38} {seen / MB:>6.1f} MB, {here / MB:.2f} MB of it in this process"
        + " - NEVER BLOCKED" * (seen >= ENDLESS)
    )


async def pushed(name: str, port: Port, stand_in: PipeServer) -> None:
    """Print how much can be sent to a viewer, and to a server, that does not read."""
    before = tracemalloc.get_traced_memory()[0]
    viewer = await TCP.to(port)
    stand_in.pushed = 0
    await viewer.write(order(b"F", ENDLESS))
    await blocked(f"{name}, down", lambda: stand_in.pushed, before)
    viewer.writer.transport.abort()
    await asyncio.sleep(STILL)

    before = tracemalloc.get_traced_memory()[0]
    viewer, sent = await TCP.to(port), 0

    async def send() -> None:
        nonlocal sent
        await viewer.write(order(b"S"))
        while sent < ENDLESS:
            await viewer.write(PIECE)
            sent += len(PIECE)

    sending = asyncio.create_task(send())
    await blocked(f"{name}, up", lambda: sent, before)
    sending.cancel()
    await asyncio.wait({sending})
    stand_in.over.set()
    viewer.writer.transport.abort()
    await asyncio.sleep(STILL)
    stand_in.over.clear()


async def main(chosen: Options) -> None:
    """Start everything, measure, and print."""
    stand_in = PipeServer()
    size = chosen.pick(MEGABYTES, 1) * MB // len(PIECE) * len(PIECE)
    tunnels = chosen.pick(TUNNELS, 2)
    async with listening(stand_in.serve) as port, session_of(port) as session:
        await carried(session, port, chosen.rounds, size)
        tracemalloc.start()
        print(f"\nKept by {tunnels} tunnels at once, MB; each echoes 1 MB in a round\n")
        await kept(session, tunnels, MB // len(PIECE) * len(PIECE))
        print("\nPushed until blocked by a reader that reads nothing\n")
        async with session.forward_vnc() as forward, bare_relays(3, port) as three:
            await pushed("forward_vnc", forward.port, stand_in)
            if not chosen.quick:
                await pushed("TCP, 3 relays", three, stand_in)
        tracemalloc.stop()


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
