"""CPU time of one call through vcloud, relative to bare aiohttp with orjson, 50 at once.

    python -m tests.benchmarks.call_path [--rounds 15] [--calls 2000]

The two are measured in turn in this process, against one server in another, and each round gives one ratio: the
machine's own speed drops out. Bare is what a careful person writes by hand: one session, GET, status check, orjson.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson

from vcloud import Endpoint, HMACAuth, VagonComputers

AT_ONCE = 50
Call = Callable[[], Awaitable[object]]


async def cpu_of(call: Call, calls: int) -> float:
    """CPU seconds of this process per call, at ``AT_ONCE`` at once."""

    async def worker() -> None:
        for _ in range(calls // AT_ONCE):
            await call()

    begin = time.process_time()
    await asyncio.gather(*[worker() for _ in range(AT_ONCE)])
    return (time.process_time() - begin) / (calls // AT_ONCE * AT_ONCE)


async def compare(name: str, ours: Call, bare: Call, rounds: int, calls: int) -> None:
    """Print one row: the ratio ours / bare, and both absolute figures."""
    await cpu_of(bare, calls)
    await cpu_of(ours, calls)
    pairs = [(await cpu_of(ours, calls), await cpu_of(bare, calls)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    ours_us, bare_us = (statistics.median(column) * 1e6 for column in zip(*pairs, strict=True))
    print(
        f"{name:<28} {statistics.median(ratios):>6.2f}   ({ratios[0]:.2f} .. {ratios[-1]:.2f})"
        f"   vcloud {ours_us:>6.1f} us   bare {bare_us:>6.1f} us"
    )


async def main(rounds: int, calls: int) -> None:
    """Start the server, measure, print."""
    server = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
        [sys.executable, Path(__file__).with_name("canned.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    base = f"http://127.0.0.1:{int(server.stdout.readline())}/organization-management/v1"
    try:
        async with (
            aiohttp.ClientSession() as session,
            VagonComputers(Endpoint(base, auth=HMACAuth("ak_test_1", "sk_test_1"))) as computers,
        ):

            async def get(path: str) -> object:
                async with session.get(base + path) as answer:
                    answer.raise_for_status()
                    return orjson.loads(await answer.read())

            print(f"CPU per call, ratio to bare aiohttp + orjson, {AT_ONCE} at once, {rounds} pairs of {calls} calls\n")
            ref = computers.machines.ref("100")
            await compare("one machine: refresh()", ref.refresh, lambda: get("/machines/100"), rounds, calls)
            first = computers.machines.list
            await compare("one page of 20 machines", lambda: first().first(), lambda: get("/machines?page=1"), rounds, calls)
    finally:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(timeout=10)
        server.stdout.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=2000)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.calls))
