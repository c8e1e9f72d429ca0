"""CPU time of one call, relative to bare aiohttp with orjson, 50 at once.

    python -m tests.benchmarks.call_path [--rounds 15] [--calls 2000]

The clients are measured in turn in this process, against one server in another process. Each round
gives one ratio, so the speed of the machine does not matter. ``peers.py`` describes the clients.

Where vcloud's time goes, in thousands of instructions per call, from ``python -m
tests.benchmarks.profile --instructions`` (CPython 3.11, aiohttp 3.14)::

                                     one object   page of 20
    aiohttp, without parsing                277          337    used bare: 311, 371
    the request loop                         21           22
    signing                                  28           30
    decoding                                 53          836    orjson, to dicts: 37, 554
    ids and handles                          -3           67
    the method, or the pager                 13           48    query, next page, items of this one
    all of vcloud                           381         1292    bare aiohttp with orjson: 348, 925

For one object, the loop and the signature cost little more than what vcloud saves inside aiohttp:
it has one timer for all attempts instead of one for each, no cookies, and quotes no URL twice. The
cost of a page over bare aiohttp is nearly all in making typed objects. The ratio in time is larger
than the one in instructions: measured alone, a part has its code in the processor's caches; between
two answers from a socket it has not.

With ``--alone`` all calls take some microseconds longer, so that ratios are a little smaller; quote
those with the peers.
"""

from __future__ import annotations

from functools import partial

from tests.benchmarks.harness import (
    AT_ONCE,
    BARE,
    NOT_INSTALLED,
    VCLOUD,
    Call,
    Options,
    Table,
    against_bare,
    at_once,
    cpu,
    in_turn,
    options,
    parser,
    run_with,
    served,
)
from tests.benchmarks.peers import PARSER, columns, ways

ROUNDS = 15
CALLS = 2000
BASE = "/organization-management/v1"


async def per_call(call: Call, calls: int) -> float:
    """CPU seconds of this process per call."""
    calls = max(1, calls // AT_ONCE) * AT_ONCE
    return await cpu(at_once(call, calls)) / calls


async def main(chosen: Options, calls: int = CALLS) -> None:
    """Start the server, measure, and print."""
    calls = chosen.pick(calls, AT_ONCE)
    with served() as url:
        async with ways(chosen, url + BASE) as found:
            table = Table(
                f"CPU per call, ratio to {BARE} + {PARSER}, {AT_ONCE} at once, "
                f"{chosen.rounds} rounds of {calls} calls",
                columns(chosen),
                empty=NOT_INSTALLED,
            )
            for row, what in ("single object", "one"), ("page of 20", "page"):
                measures = {
                    # The others are much slower, so a twentieth of the calls takes as long.
                    name: partial(
                        per_call,
                        getattr(way, what),
                        calls if name in (BARE, VCLOUD) else calls // 20,
                    )
                    for name, way in found.items()
                }
                table.row(row, against_bare(await in_turn(measures, chosen.rounds), 1e-6, "us"))


if __name__ == "__main__":
    arguments = parser(__doc__, ROUNDS)
    arguments.add_argument("--calls", type=int, default=CALLS)
    given = arguments.parse_args()

    async def chosen_main(chosen: Options) -> None:
        await main(chosen, given.calls)

    run_with(chosen_main, options(given))
