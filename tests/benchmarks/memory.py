"""The memory of 5 000 tasks, waiting or all in flight, relative to bare aiohttp.

    python -m tests.benchmarks.memory [--rounds 3]

* waiting: 200 requests in flight, the other tasks in the queue; vcloud with ``concurrency=200``,
  aiohttp with 200 connections.
* in flight: all at the server at once; vcloud with ``concurrency=5000``, aiohttp without a limit.

The server delays every answer. Measured is the growth since before the tasks were made: the memory
that Python has allocated (tracemalloc) and that of the process (RSS), each in a fresh process. Then
everything is answered, and every task must have its machine. RSS is from Linux's /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from tests.benchmarks.canned import allow_files
from tests.benchmarks.harness import (
    BARE,
    ROOT,
    VCLOUD,
    Call,
    Options,
    Table,
    computers_at,
    on_loop,
    ratio,
    run,
    served,
)
from tests.benchmarks.peers import loads

ROUNDS = 3
TASKS = 5_000
POOL = 200
MB: Final = 1e6
#: Files that a process has open besides the measured sockets.
SPARE = 100


def ask(url: str, path: str) -> int:
    """Send a request about delayed answers to the server, and leave nothing behind."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return int(connection.recv(1000).rpartition(b"\n")[2])


@contextlib.asynccontextmanager
async def opened(name: str, base: str, limit: int, tasks: int) -> AsyncIterator[Call]:
    """Yields the call of one task. For bare aiohttp, a limit of 0 is no limit."""
    if name == VCLOUD:
        async with computers_at(base, limit) as computers:
            yield computers.machines.ref("100").refresh
        return
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit if limit < tasks else 0)
    ) as session:

        async def get() -> object:
            async with session.get(f"{base}/machines/100") as answer:
                answer.raise_for_status()
                return loads(await answer.read())

        yield get


def resident() -> float:
    """The RSS of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def grown(name: str, limit: int, tasks: int, *, traced: bool) -> float:
    """The bytes that the tasks use while ``limit`` of them are in flight."""
    with served() as url:
        base = f"{url}/hold/organization-management/v1"
        async with opened(name, base, limit, tasks) as call:
            first = asyncio.create_task(_one(call))
            await _held(url, 1)
            ask(url, "/release")
            await first
            del first
            gc.collect()
            if traced:
                tracemalloc.start()
            before = 0.0 if traced else resident()
            running = [asyncio.create_task(_one(call)) for _ in range(tasks)]
            await _held(url, limit)
            gc.collect()
            more = tracemalloc.get_traced_memory()[0] if traced else resident() - before
            tracemalloc.stop()
            while not all(task.done() for task in running):
                ask(url, "/release")
                await asyncio.sleep(0.01)
            answers = await asyncio.gather(*running)
            assert len(answers) == tasks
            assert None not in answers
            return more


async def _one(call: Call) -> object:
    return await call()


async def _held(url: str, count: int) -> None:
    while ask(url, "/held") < count:  # noqa: ASYNC110 - another process counts
        await asyncio.sleep(0.02)


def measured(chosen: Options, **what: object) -> float:
    """The same, measured in a fresh process."""
    command = [
        sys.executable,
        "-m",
        __spec__.name,
        json.dumps({"uvloop": chosen.uvloop, "what": what}),
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return float(done.stdout)


async def main(chosen: Options) -> None:
    """Measure all in turn, and print."""
    possible = allow_files() - SPARE
    tasks = min(chosen.pick(TASKS, 20), possible)
    if tasks < chosen.pick(TASKS, 20):
        print(f"only {tasks} tasks: this process may not open more files (see `ulimit -n`)")
    table = Table(
        f"Memory of {tasks} tasks, {chosen.rounds} rounds, a process for each",
        (f"{BARE}, MB", f"{VCLOUD}, MB", "ratio"),
    )
    for row, limit in (
        (f"waiting, {min(POOL, tasks // 2)} in flight", min(POOL, tasks // 2)),
        ("all in flight", tasks),
    ):
        for traced in (True,) if chosen.quick else (True, False):
            taken: dict[str, list[float]] = {BARE: [], VCLOUD: []}
            for _ in range(chosen.rounds):
                for name, values in taken.items():
                    values.append(
                        measured(chosen, name=name, limit=limit, tasks=tasks, traced=traced) / MB
                    )
            cells = {
                f"{name}, MB": f"{statistics.median(values):.1f}" for name, values in taken.items()
            }
            table.row(
                f"{row}, {'traced' if traced else 'RSS'}",
                cells | {"ratio": ratio(taken[VCLOUD], taken[BARE])},
            )


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        allow_files()
        given = json.loads(sys.argv[1])
        with on_loop(uvloop=given["uvloop"]) as runner:
            print(runner.run(grown(**given["what"])))
    else:
        run(main, __doc__, ROUNDS)
