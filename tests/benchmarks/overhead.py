"""What a session costs in StreamSpace's two dialects, beside each other.

    python -m tests.benchmarks overhead [--rounds 15]

The answers are those of the contract documents (``tests/contract/documents``). Decoding is measured
alone and within a call; the times are CPU time of this process, the server is another one. Each
round gives one ratio, so the speed of the machine does not matter. A list of a thousand takes ten
requests in the documented dialect, and one in the published one. Memory is what Python has
allocated (tracemalloc): what the sessions keep, and the most while they were read.
"""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tests.benchmarks.canned_sessions import ID, PER_PAGE, answer, example
from tests.benchmarks.harness import (
    AT_ONCE,
    Call,
    Measure,
    Options,
    Table,
    at_once,
    cpu,
    in_turn,
    ratio,
    run,
    served,
)
from vcloud import BearerAuth, Endpoint
from vcloud._core.codec import Codec
from vcloud._core.decoding.shape import Shape
from vcloud.providers.streamspace import StreamSpace
from vcloud.providers.streamspace.dialects import published
from vcloud.providers.streamspace.session import SESSION, SESSIONS

ROUNDS: Final = 15
CALLS: Final = 1000
DECODED: Final = 2000
SESSIONS_LISTED: Final = 1000
DIALECTS: Final = ("documented", "published")
SHAPES: Final[dict[str, tuple[Shape[Any, Any], Shape[Any, Any]]]] = {
    "documented": (SESSION, SESSIONS),
    "published": (published.sessions.SESSION, published.sessions.SESSIONS),
}


@contextlib.asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[dict[str, StreamSpace]]:
    """A client of each dialect, of installations with so many sessions."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            dialect: await stack.enter_async_context(
                StreamSpace(
                    Endpoint(f"{url}/{dialect}/{count}/api/v1", auth=BearerAuth("token")),
                    dialect=dialect,
                )
            )
            for dialect in DIALECTS
        }


def decoding(shape: Shape[Any, Any], value: object, times: int) -> Measure:
    """CPU seconds to decode a value."""
    codec, body, wire = Codec(), json.dumps(value).encode(), shape.wire

    async def decode() -> None:
        for _ in range(times):
            codec.decode(body, wire)

    async def measure() -> float:
        return await cpu(decode()) / times

    return measure


def calling(call: Call, calls: int) -> Measure:
    """CPU seconds of a call, of many at once."""
    calls = max(1, calls // AT_ONCE) * AT_ONCE

    async def measure() -> float:
        return await cpu(at_once(call, calls)) / calls

    return measure


async def one_list(client: StreamSpace) -> float:
    """CPU seconds to read a long list."""

    async def read() -> None:
        assert len(await client.sessions.list(limit=PER_PAGE).all()) == SESSIONS_LISTED

    return await cpu(read())


async def memory(client: StreamSpace, *, peak: bool) -> float:
    """Bytes that a long list keeps, or the most while it is read."""
    gc.collect()
    tracemalloc.start()
    sessions = await client.sessions.list(limit=PER_PAGE).all()
    gc.collect()
    found = tracemalloc.get_traced_memory()[peak]
    tracemalloc.stop()
    assert len(sessions) == SESSIONS_LISTED
    return found


async def row(
    table: Table, name: str, measures: Mapping[str, Measure], rounds: int, unit: float, suffix: str
) -> None:
    """Measure both dialects in turn, and print."""
    taken: Mapping[str, Sequence[float]] = await in_turn(measures, rounds)
    cells = {
        dialect: f"{statistics.median(values) / unit:.1f} {suffix}"
        for dialect, values in taken.items()
    }
    cells["ratio"] = ratio(taken["published"], taken["documented"])
    table.row(name, cells)


def _both(measure: Callable[[str], Measure]) -> dict[str, Measure]:
    return {dialect: measure(dialect) for dialect in DIALECTS}


async def main(chosen: Options) -> None:
    """Start the server, measure, and print."""
    rounds, decoded, calls = chosen.rounds, chosen.pick(DECODED, 20), chosen.pick(CALLS, AT_ONCE)
    table = Table(
        f"A session in both dialects, {rounds} rounds, {AT_ONCE} calls at once",
        (*DIALECTS, "ratio"),
    )
    one = _both(lambda d: decoding(SHAPES[d][0], example(d, "sessions.get"), decoded))
    page = _both(lambda d: decoding(SHAPES[d][1], answer(d, 20), max(1, decoded // 10)))
    await row(table, "single session, decoding", one, rounds, 1e-6, "us")
    await row(table, "page of 20, decoding", page, rounds, 1e-6, "us")
    with served() as url:
        async with clients(url, 20) as few:
            one = _both(lambda d: calling(few[d].sessions.ref(ID).refresh, calls))
            page = _both(lambda d: calling(few[d].sessions.list(limit=PER_PAGE).all, calls))
            await row(table, "single session", one, rounds, 1e-6, "us")
            await row(table, "page of 20", page, rounds, 1e-6, "us")
        async with clients(url, SESSIONS_LISTED) as many:
            await row(
                table,
                "list of 1000",
                _both(lambda d: partial(one_list, many[d])),
                rounds,
                1e-3,
                "ms",
            )
            for name, peak in (("memory of 1000", False), ("memory of 1000, at most", True)):
                kept = {d: partial(memory, many[d], peak=peak) for d in DIALECTS}
                await row(table, name, kept, chosen.pick(3, 1), 1e3, "kB")


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
