"""Where the CPU time of a call goes, part by part.

    python -m tests.benchmarks.profile [--rounds 15] [--instructions]

Each part is measured as the difference of two ways that differ by that part alone, in turn in each
round: for example vcloud on a transport that answers at once, or its request loop without decoding.
All parts are printed for one machine and for a page of twenty. Measured alone, a part has its code
and data in the processor's caches; between the other parts it has not. The line before the last is
this effect: it takes time but hardly any instructions. ``--instructions`` counts instructions
instead of time, under valgrind: slowly, but independent of the load of the machine. This leaves out
the kernel. The counts still vary with how many answers the event loop finds at once.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field, frozen

from tests.benchmarks.harness import (
    AT_ONCE,
    BARE,
    ROOT,
    VCLOUD,
    Call,
    Options,
    Table,
    at_once,
    cpu,
    endpoint_at,
    in_turn,
    options,
    parser,
    run_with,
    served,
    spread,
)
from tests.benchmarks.peers import PARSER, bare, loads
from vcloud import Endpoint, HMACAuth, Request, Response, VagonComputers
from vcloud._core.client import client_with
from vcloud._core.decoding.shape import Shape
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.providers.computers.machine import MACHINE
from vcloud.providers.computers.machines import MACHINES

ROUNDS = 15
CALLS = 2000
BASE = "/organization-management/v1"


@frozen
class Unit:
    """The unit of a figure: its name, and its size in the unit of the meter."""

    name: str
    size: float


MICROSECONDS = Unit("CPU microseconds", 1e-6)
THOUSANDS = Unit("thousands of instructions", 1e3)
Meter = Callable[[Awaitable[object]], Awaitable[float]]


@define
class Seen:
    """The arguments of the last exchange."""

    given: tuple[Any, ...] = ()
    named: dict[str, Any] = field(factory=dict)


class Recorder(Transport):
    """A transport that keeps the arguments of an exchange, and answers at once."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.seen = Seen()
        self._answer = answer

    def check(self) -> None:
        """Do nothing: it needs no event loop."""

    async def exchange(self, *given: Any, **named: Any) -> Response:
        self.seen.given, self.seen.named = given, named
        return self._answer


@frozen
class Kind:
    """A kind of call.

    Attributes:
        name: its column in the table.
        request: what it sends.
        shape: how its answer is decoded.
        method: the public method that makes it.
        answer: the answer of the server.
    """

    name: str
    request: Request
    shape: Shape[Any, Any]
    method: Callable[[VagonComputers], Awaitable[object]]
    answer: Response


class Measured(VagonComputers):
    """The client, with access to the parts that are measured."""

    @property
    def session(self) -> Session:
        """What sends and decodes."""
        return self._session

    @property
    def transport(self) -> Transport:
        """What exchanges bytes with the server."""
        return self._transport


async def ways(kind: Kind, real: Measured, by_hand: Call) -> dict[str, Call]:
    """The measured ways, from bare aiohttp to all of vcloud."""
    request, shape, body = kind.request, kind.shape, kind.answer.body
    auth = HMACAuth("ak_test_1", "sk_test_1")
    recorder = Recorder(kind.answer)
    stubbed = await client_with(
        Measured, Endpoint(real.session.base_url, auth=auth), transport=recorder
    ).aopen()
    session = stubbed.session
    await session.send(request)
    seen = recorder.seen

    async def parse() -> object:
        return loads(body)

    async def sign() -> object:
        return auth.headers(request, BASE + request.path, now=1.8e9, nonce="0" * 32)

    async def decode() -> object:
        return session.codec.decode(body, shape.wire)

    return {
        BARE: by_hand,
        "parse": parse,
        "exchange": lambda: real.transport.exchange(*seen.given, **seen.named),
        "sign": sign,
        "decode": decode,
        "send": lambda: session.send(request),
        "fetch": lambda: session.fetch(request, shape),
        "stubbed": lambda: kind.method(stubbed),
        VCLOUD: lambda: kind.method(real),
    }


def parts(taken: Mapping[str, float]) -> dict[str, float]:
    """The cost of each part, from the costs of the ways."""
    get = taken.__getitem__
    return {
        "bare aiohttp": get(BARE) - get("parse"),
        f"its parser, {PARSER}": get("parse"),
        "aiohttp as vcloud uses it": get("exchange") - get(BARE) + get("parse"),
        "request loop": get("send") - get("sign"),
        "signing": get("sign"),
        "decoding, instead of the parser": get("decode") - get("parse"),
        "opening: ids, handles": get("fetch") - get("send") - get("decode"),
        "the method, or the pager": get("stubbed") - get("fetch"),
        "more when all is mixed": get(VCLOUD) - get("exchange") - get("stubbed"),
        "vcloud": get(VCLOUD),
    }


async def answer_to(session: aiohttp.ClientSession, url: str) -> Response:
    async with session.get(url) as answer:
        return Response(answer.status, answer.headers, await answer.read())


async def main(
    chosen: Options, calls: int = CALLS, meter: Meter = cpu, unit: Unit = MICROSECONDS
) -> None:
    """Start the server, measure, and print."""
    calls = max(1, chosen.pick(calls, AT_ONCE) // AT_ONCE) * AT_ONCE

    async def per_call(call: Call) -> float:
        return await meter(at_once(call, calls)) / calls / unit.size

    columns: dict[str, dict[str, str]] = {}
    with served() as url:
        base = url + BASE
        async with (
            bare(base, 100) as hand,
            Measured(endpoint_at(base)) as real,
            aiohttp.ClientSession() as plain,
        ):
            one, page = (
                Request("GET", "/machines/100"),
                Request("GET", "/machines", "page=1&per_page=20"),
            )
            single = Kind(
                "single object", one, MACHINE, refreshed, await answer_to(plain, base + one.path)
            )
            paged = Kind(
                "page of 20",
                page,
                MACHINES,
                listed,
                await answer_to(plain, f"{base}{page.path}?{page.query}"),
            )
            for kind, by_hand in (single, hand.one), (paged, hand.page):
                found = await ways(kind, real, by_hand)
                taken = await in_turn(
                    {name: partial(per_call, way) for name, way in found.items()}, chosen.rounds
                )
                rounds = [
                    parts(dict(zip(taken, values, strict=True)))
                    for values in zip(*taken.values(), strict=True)
                ]
                columns[kind.name] = {
                    part: spread([each[part] for each in rounds], ".1f") for part in rounds[0]
                }
    table = Table(
        f"{unit.name} per call, {AT_ONCE} at once, {chosen.rounds} rounds of {calls} calls",
        list(columns),
    )
    for part in columns["single object"]:
        table.row(part, {column: cells[part] for column, cells in columns.items()})


async def refreshed(computers: VagonComputers) -> object:
    return await computers.machines.ref("100").refresh()


async def listed(computers: VagonComputers) -> object:
    return await computers.machines.list(per_page=20).first()


# Instructions.


def dumps(folder: Path) -> int:
    """Make valgrind write its counts since the last time. Returns how often it has written them."""
    subprocess.run(["vgdb", f"--pid={os.getpid()}", "dump"], check=True, capture_output=True)
    return len(list(folder.glob("counted.*")))


def counting(folder: Path) -> Meter:
    """A meter of instructions, for a process under valgrind."""

    async def count(work: Awaitable[object]) -> float:
        dumps(folder)
        await work
        written = folder / f"counted.{dumps(folder)}"
        return float(re.findall(r"^totals: (\d+)", written.read_text(), re.MULTILINE)[-1])

    return count


def under_valgrind(calls: int, rounds: int) -> None:
    """Run this benchmark under valgrind. A fixed hash seed makes the counts repeatable."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind",
            "--tool=callgrind",
            "--quiet",
            f"--callgrind-out-file={folder}/counted",
            sys.executable,
        ]
        command += [
            "-m",
            __spec__.name,
            "--calls",
            str(calls),
            "--rounds",
            str(rounds),
            "--counted-in",
            folder,
        ]
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONHASHSEED": "0"})


if __name__ == "__main__":
    arguments = parser(__doc__, ROUNDS)
    arguments.add_argument("--calls", type=int, default=CALLS)
    arguments.add_argument(
        "--instructions", action="store_true", help="count instructions, with valgrind"
    )
    arguments.add_argument("--counted-in", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()

    async def timed(chosen: Options) -> None:
        await main(chosen, given.calls)

    async def counted(chosen: Options) -> None:
        await main(chosen, given.calls, counting(given.counted_in), THOUSANDS)

    if given.instructions:
        under_valgrind(min(given.calls, 500), min(given.rounds, 3))
    else:
        run_with(counted if given.counted_in else timed, options(given))
