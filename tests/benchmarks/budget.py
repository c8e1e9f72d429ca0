"""How much of a rate limit is used, and whether it is ever exceeded.

    python -m tests.benchmarks.budget [--rounds 1]

First StreamSpace's announced limits: creates and reads that all start at once, against the
emulator, whose minute lasts ten seconds here. Then a configured limit that two processes share
through Redis (needs ``redis-server``). "most" is the largest number of requests that arrived in any
window. For the announced limits it may be up to twice the limit, because the service counts in
fixed windows and the measured window may overlap two of them. A configured limit holds for every
window. "use" is the number of requests that were sent before the last window, as a share of what
was allowed until then.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.harness import ROOT, Options, Table, run
from vcloud import Endpoint, HMACAuth, RateLimit, SharedBudget, StreamSpace, VagonComputers
from vcloud.emulator import Emulator

ROUNDS = 1
MINUTE = 10.0
SHARED = RateLimit(100, per=30)


def row(
    table: Table, name: str, times: list[float], refused: int, limit: int, window: float
) -> None:
    """Print the row of one limit; ``times`` are the times of arrival."""
    times = sorted(times)
    last = (len(times) - 1) // limit * limit
    most = max(
        sum(at < first + window for at in times[number : number + 2 * limit])
        for number, first in enumerate(times)
    )
    used = f"{last / (limit * (times[last] - times[0]) / window):.1%}" if last else "-"
    table.row(
        name,
        {
            "sent": str(len(times)),
            "429": str(refused),
            "allowed": str(limit),
            "most": str(most),
            "use": used,
        },
    )


async def announced(table: Table, creates: int, reads: int) -> None:
    """Measure the limits that StreamSpace announces."""
    async with (
        Emulator(speed=60 / MINUTE) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as cloud,
    ):
        await asyncio.gather(
            *[
                cloud.sessions.create(user="admin", template="firefox-browser")
                for _ in range(creates)
            ],
            *[cloud.templates.list().first() for _ in range(reads)],
        )
        for name, method, limit in (("creates", "POST", 10), ("reads", "GET", 100)):
            calls = [
                call
                for call in emulator.calls
                if call.method == method and "login" not in call.path
            ]
            row(
                table,
                name,
                [call.at for call in calls],
                sum(call.status == 429 for call in calls),
                limit,
                MINUTE,
            )


@contextmanager
def redis() -> Iterator[str]:
    """A Redis server on a Unix socket, while the block is open."""
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory, "redis.sock")
        command = [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--save",
            "",
            "--dir",
            directory,
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait(timeout=10)


async def crowd(url: str, key: str, secret: str, store: str, calls: str) -> None:
    """Run one of the processes that share a budget."""
    endpoint = Endpoint(
        url,
        auth=HMACAuth(key, secret),
        rate_limits=[SHARED],
        shared_budget=SharedBudget(store, account="benchmark"),
    )
    async with VagonComputers(endpoint) as computers:
        await asyncio.gather(*[computers.machines.ref("100").refresh() for _ in range(int(calls))])


async def shared(table: Table, calls: int) -> None:
    """Measure a budget that two processes share."""
    with redis() as store:
        async with Emulator(machines=1) as emulator:
            given = [
                emulator.env()[f"VCLOUD_COMPUTERS_{name}"] for name in ("URL", "KEY", "SECRET")
            ]
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.budget",
                "--crowd",
                *given,
                store,
                str(calls),
            ]
            crowds = [await asyncio.create_subprocess_exec(*command, cwd=ROOT) for _ in range(2)]
            assert [await one.wait() for one in crowds] == [0, 0]
            times = [call.at for call in emulator.calls]
    row(table, "two processes", times, 0, SHARED.requests, SHARED.per)


async def main(chosen: Options) -> None:
    """Measure, and print."""
    table = Table(
        "Requests against a rate limit; allowed and most are those in one window",
        ("sent", "429", "allowed", "most", "use"),
    )
    for _ in range(chosen.rounds):
        await announced(table, *((5, 50) if chosen.quick else (60, 940)))
        if shutil.which("redis-server") is None:
            print("two processes: not measured, because there is no redis-server")
        else:
            await shared(table, 20 if chosen.quick else 150)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--crowd"]:
        asyncio.run(crowd(*sys.argv[2:]))
    else:
        run(main, __doc__, ROUNDS)
