"""The time of 5 000 tasks that start at once, one machine each, relative to bare aiohttp.

    python -m tests.benchmarks.fanout [--rounds 9]

All clients have at most 100 requests in flight, aiohttp's default. aiohttp, vcloud and aiobotocore
limit themselves. httpx, and the openai SDK that uses it, get a semaphore: httpx searches all
waiting requests whenever a connection becomes free, so that five thousand in its own queue take
minutes. CPU time is that of this process; the server has its own. vcloud and bare aiohttp are
measured in turn in every round, the others in one round.
"""

from __future__ import annotations

import asyncio
from functools import partial

from tests.benchmarks.harness import (
    BARE,
    NOT_INSTALLED,
    VCLOUD,
    Call,
    Options,
    Table,
    against_bare,
    cpu,
    in_turn,
    run,
    served,
    wall,
)
from tests.benchmarks.peers import columns, ways

ROUNDS = 9
TASKS = 5_000
CONNECTIONS = 100


async def together(call: Call, tasks: int, *, guarded: bool) -> None:
    slots = asyncio.Semaphore(CONNECTIONS)

    async def guard() -> None:
        async with slots:
            await call()

    await asyncio.gather(*[guard() if guarded else call() for _ in range(tasks)])


async def main(chosen: Options) -> None:
    """Start the server, measure, and print."""
    tasks = chosen.pick(TASKS, 100)
    with served() as url:
        async with ways(chosen, f"{url}/organization-management/v1", CONNECTIONS) as found:
            walls: dict[str, list[float]] = {}

            async def measure(name: str) -> float:
                async def timed() -> None:
                    work = together(found[name].one, tasks, guarded=name in ("httpx", "openai"))
                    walls.setdefault(name, []).append(await wall(work))

                return await cpu(timed())

            table = Table(
                f"{tasks} tasks at once, {CONNECTIONS} connections, ratio to {BARE}, "
                f"{chosen.rounds} rounds",
                columns(chosen),
                empty=NOT_INSTALLED,
            )
            ours = {name: partial(measure, name) for name in (BARE, VCLOUD)}
            peers = {name: partial(measure, name) for name in found if name != VCLOUD}
            spent, waited = (
                against_bare(await in_turn(ours, chosen.rounds, warm=False), 1e-3, "ms"),
                against_bare(walls, 1e-3, "ms"),
            )
            walls.clear()
            others = await in_turn(peers, 1, warm=False)
            table.row("CPU time", against_bare(others, 1e-3, "ms") | spent)
            table.row("wall time", against_bare(walls, 1e-3, "ms") | waited)


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
