"""The time to list 1 000 machines when each answer takes 30 ms, relative to bare aiohttp.

    python -m tests.benchmarks.listing [--rounds 3]

Fifty pages of twenty, first one by one, then with eight pages fetched ahead: by hand with eight
tasks, in vcloud with ``list(...).prefetch(8)``. Ideal is the time of the waiting alone. The times
are wall time; all clients are measured in turn in each round.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Final

from tests.benchmarks.canned import PAGES, PER_PAGE
from tests.benchmarks.harness import (
    BARE,
    NOT_INSTALLED,
    VCLOUD,
    Options,
    Table,
    against_bare,
    in_turn,
    ratio,
    run,
    served,
    wall,
)
from tests.benchmarks.peers import Way, columns, ways

ROUNDS = 3
LATENCY: Final = 0.030
AHEAD = 8
MACHINES = PAGES * PER_PAGE


async def whole(way: Way, ahead: int = 0) -> float:
    """The seconds to read the whole list."""
    machines: list[Any] = []

    async def read() -> None:
        machines.extend(
            await (way.everything() if way.ahead is None or not ahead else way.ahead(ahead))
        )

    took = await wall(read())
    assert len(machines) == MACHINES
    return took


async def main(chosen: Options) -> None:
    """Start the server, measure, and print."""
    latency = chosen.pick(round(LATENCY * 1000), 1)
    with served() as url:
        async with ways(chosen, f"{url}/{latency}ms/organization-management/v1") as found:
            table = Table(
                f"{MACHINES} machines, {PAGES} pages at {latency} ms, wall time, "
                f"ratio to {BARE} one by one, {chosen.rounds} rounds",
                (*columns(chosen), "ideal"),
                empty=NOT_INSTALLED,
            )
            one_by_one = await in_turn(
                {name: partial(whole, way) for name, way in found.items()}, chosen.rounds
            )
            waiting = PAGES * latency / 1000
            base = one_by_one[BARE]
            ideal = ratio([waiting] * len(base), base)
            table.row("one by one", against_bare(one_by_one, 1e-3, "ms") | {"ideal": ideal})
            ahead = await in_turn(
                {name: partial(whole, found[name], AHEAD) for name in (BARE, VCLOUD)}, chosen.rounds
            )
            # The first page tells how many there are.
            waiting = (1 + math.ceil((PAGES - 1) / AHEAD)) * latency / 1000
            cells = {name: ratio(values, base) for name, values in ahead.items()} | {
                "ideal": ratio([waiting] * len(base), base)
            }
            table.row(f"{AHEAD} pages ahead", dict.fromkeys(columns(chosen), "-") | cells)


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
