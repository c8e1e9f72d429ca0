"""The matrix: every endpoint under every fault, once and each time, each with its own emulator.

A cell passes if

- its outcome is the one that :mod:`tests.faults.oracle` expects,
- the emulator's recorded calls and its state agree with that, and
- the client works afterwards: its only slot is free, it holds no connection, and the next call
  succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from copy import copy
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from tests.contract.contract_harness import PROVIDERS
from tests.faults.internals import held_connections
from tests.faults.oracle import (
    ATTEMPTS,
    BOUND,
    IN_BODY,
    KINDS,
    NAMES,
    REFUSING,
    TOO_LONG,
    End,
    expected,
    felt,
    ordered,
)
from tests.faults.targets import TARGETS, Target
from tests.faults.worlds import endpoint, world
from tests.seeded import SEED
from vcloud import NotFoundError, RateLimitError, RetryPolicy, VCloudError
from vcloud._core.client import client_with
from vcloud._core.codec import Codec
from vcloud.emulator import Emulator
from vcloud.emulator.calls import Call

#: The attempt timeout in seconds if a fault gives no answer. All other answers must be quicker,
#: on a busy machine too.
STALL: Final = 2.0
TIMEOUT: Final = 20.0
DEADLINE: Final = 30.0
#: Seconds after which a cell counts as hanging.
GUARD: Final = 60.0
#: Seconds in all for which the loop may be blocked while a cell runs. If it was blocked for longer,
#: the attempt timeout may have passed before the service could run, so the cell is run again.
MAX_BLOCKED: Final = STALL / 4
#: How often a cell is run at most. The last run counts.
MAX_RUNS: Final = 4
RETRY: Final = RetryPolicy(attempts=ATTEMPTS, base=0.02, cap=0.1)
#: Shared, because making a codec takes longer than most cells.
CODEC: Final = Codec()
#: How many cells run at once, of those that mostly wait and of those that keep the processor busy.
#: Each has some four sockets.
MAX_WAITING, MAX_BUSY = 200, 12

#: One call for each provider that shows whether a client still works.
PROBES: Final[Mapping[str, Callable[[Any], Awaitable[object]]]] = {
    "computers": lambda c: c.machines.permission_fields(),
    "streams": lambda c: c.applications.list(per_page=100).first(),
    "streamspace": lambda c: c.agents.stats(),
    "streamspace-published": lambda c: c.users.list().first(),
    "desktops": lambda c: c.get("a1b2c3d4-e5f6-7890-1234-567890abcdef"),
}


@frozen
class Cell:
    """One endpoint under one fault, which applies once or each time."""

    target: Target
    fault: str
    lasting: bool

    def __str__(self) -> str:
        return f"{self.target.id} x {self.fault}, {'each time' if self.lasting else 'once'}"


@frozen
class Verdict:
    """The result of a cell: the class of its error (None: success), and what is wrong."""

    cell: Cell
    outcome: type[BaseException] | None
    flaws: tuple[str, ...]


@frozen
class Stage:
    """A client and its service while a cell runs."""

    emulator: Emulator
    client: Any


def cells(targets: Iterable[Target] = TARGETS) -> list[Cell]:
    """All cells of these endpoints."""
    return [
        Cell(target, name, lasting)
        for name in NAMES
        for target in targets
        for lasting in (True, False)
    ]


def waits(cell: Cell) -> float:
    """About how many seconds the cell waits."""
    kind = KINDS[cell.fault]
    once = IN_BODY.get(
        (cell.target.provider.api, cell.fault), STALL if kind.end is End.TIMEOUT else kind.wait
    )
    return 0.0 if once > TOO_LONG else once * ATTEMPTS if cell.lasting else once


@contextlib.asynccontextmanager
async def staged(cell: Cell) -> AsyncIterator[Stage]:
    """The emulator of a cell, and a client with credentials."""
    api = cell.target.api
    provider = cell.target.provider
    async with world(provider.emulator(seed=SEED), api) as emulator:
        cell.target.prepare(emulator)
        found = endpoint(
            emulator,
            api,
            logged_in=cell.target.name != "auth.login",
            as_agent=cell.target.as_agent,
            timeout=STALL if KINDS[cell.fault].end is End.TIMEOUT else TIMEOUT,
            deadline=DEADLINE,
            retry=RETRY,
            concurrency=1,  # a lost slot stops everything
            max_response=BOUND,
        )
        # StreamSpace's codec knows its installation, so each client has a copy.
        made = client_with(provider.client_class, found, codec=copy(CODEC), own=provider.own)
        async with made as client:
            yield Stage(emulator, client)


@contextlib.asynccontextmanager
async def faulty(cell: Cell, emulator: Emulator) -> AsyncIterator[None]:
    """Apply the fault, once or each time, until the block ends."""
    if cell.fault != REFUSING:
        if (fault := ordered(cell.target, cell.fault)) is not None:
            emulator.faults.add(cell.target.route, fault, None if cell.lasting else 1)
        yield
        emulator.faults.clear()
        return
    down = emulator.refusing()

    async def soon() -> None:
        await asyncio.sleep(0.01)
        await down.__aexit__()

    await down.__aenter__()
    up = None if cell.lasting else asyncio.create_task(soon())
    yield
    await (down.__aexit__() if up is None else up)


async def ended(call: Awaitable[object]) -> BaseException | None:
    """The error of a call; None: success, and the result has a repr."""
    try:
        async with asyncio.timeout(GUARD):
            repr(await call)
    except Exception as error:
        return error
    return None


async def settled(emulator: Emulator) -> None:
    """Wait until the service has ended its work for a call, and recorded it.

    A WebSocket is recorded when it is closed.
    """
    async with asyncio.timeout(GUARD):
        while (stats := emulator.stats()).faults or stats.websockets:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)


def acted(call: Call) -> bool:
    """Whether the service carried out a recorded request. It does not if it refused it itself."""
    return (
        call.processed
        # A fault may answer 401 after the service has acted.
        and (call.status != 401 or call.fault == "reply")
        and (call.fault is not None or (call.status or 0) < 400)
    )


def misjudged(error: VCloudError, *, unknown: bool) -> Iterator[str]:
    """What an error says wrongly about the outcome, in its attribute or in its text."""
    if error.outcome_unknown is not unknown:
        yield f"says outcome_unknown={error.outcome_unknown}"
    if ("is unknown, so look" in str(error)) is not unknown:
        yield f"says in words: {error}"


def flaws(cell: Cell, stage: Stage, error: BaseException | None) -> Iterator[str]:
    """What is wrong with the outcome of a call, by the oracle and the recorded calls."""
    target, emulator = cell.target, stage.emulator
    right = expected(target, cell.fault, lasting=cell.lasting)
    kind = None if error is None else type(error)
    if kind not in right.outcomes:
        wanted = " or ".join(getattr(one, "__name__", "success") for one in right.outcomes)
        yield f"ended with {error!r}, not with {wanted}"
    if isinstance(error, VCloudError):
        yield from misjudged(error, unknown=right.unknown)
    if isinstance(error, NotFoundError) and "may be what" not in " ".join(
        getattr(error, "__notes__", ())
    ):
        yield "does not say that an earlier attempt may have removed it"

    seen = [call for call in emulator.calls if target.sees(call)]
    acts = sum(map(acted, seen))
    if right.sent not in (None, len(seen)):
        yield f"sent {len(seen)} times, not {right.sent}"
    if right.acts not in (None, acts):
        yield f"done {acts} times, not {right.acts}"
    if acts > 1 and not target.repeatable:
        yield f"done {acts} times, and must not be repeated"
    if error is None and not acts:
        yield "reported as done, and was not"
    if target.effect is not None:
        found = int(target.effect(emulator))
        if found != (acts if target.counted else min(acts, 1)):
            yield f"by the recorded calls it was done {acts} times, the service shows {found}"
    # A fault that applies once applies to the first request.
    pauses = [
        later.at - sooner.at for sooner, later in pairwise(seen if cell.lasting else seen[:2])
    ]
    if right.wait and pauses and min(pauses) < right.wait:
        yield f"asked to wait {right.wait:g} s, came back after {min(pauses):.3f} s"
    if emulator.elsewhere.arrivals:
        yield "followed a redirect to another host"


async def aftermath(cell: Cell, stage: Stage) -> AsyncIterator[str]:
    """What is wrong with the client afterwards."""
    stats = stage.client.stats()
    if stats.free != 1:
        yield f"{stats.free} slots are free, not 1"
    if stats.waiting or stats.in_flight:
        yield "a request counts as waiting or in flight"
    if held := held_connections(stage.client):
        yield f"{held} connections are held"
    # The key of an agent opens nothing else.
    own = cell.target.call if cell.target.as_agent else None
    error = await ended((own or PROBES[cell.target.api])(stage.client))
    # If the service asked for a pause of years, the client keeps it.
    banned = felt(cell.target, cell.fault) and KINDS[cell.fault].wait > TOO_LONG
    if error is not None and not (banned and isinstance(error, RateLimitError)):
        yield f"the next call ends with {error!r}"


class Pulse:
    """Measures for how long the event loop was blocked, by its own work or by the machine's."""

    INTERVAL: Final = 0.05

    def __init__(self) -> None:
        #: Seconds in all.
        self.blocked = 0.0

    async def measure(self) -> None:
        """Measure until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.INTERVAL
            await asyncio.sleep(self.INTERVAL)
            self.blocked += max(0.0, loop.time() - due)


async def judged(cell: Cell, starting: asyncio.Semaphore, pulse: Pulse) -> Verdict:
    """Run a cell, and again if it failed while the loop was blocked."""
    for _ in range(MAX_RUNS - 1):
        before = pulse.blocked
        verdict = await run_cell(cell, starting)
        if not verdict.flaws or pulse.blocked - before < MAX_BLOCKED:
            return verdict
    return await run_cell(cell, starting)


async def run_cell(cell: Cell, starting: asyncio.Semaphore) -> Verdict:
    """Run and judge one cell. ``starting`` limits how many emulators start at once."""
    async with contextlib.AsyncExitStack() as stack:
        async with starting:
            stage = await stack.enter_async_context(staged(cell))
        async with faulty(cell, stage.emulator):
            error = await ended(cell.target.call(stage.client))
        await settled(stage.emulator)
        found = [*flaws(cell, stage, error), *[flaw async for flaw in aftermath(cell, stage)]]
    return Verdict(cell, None if error is None else type(error), tuple(found))


async def run(todo: Sequence[Cell]) -> list[Verdict]:
    """Run cells, many at once. No task must be left afterwards."""
    verdicts: dict[Cell, Verdict] = {}
    # Starting an emulator keeps the processor busy, and requests must not wait for hundreds of
    # emulators.
    starting = asyncio.Semaphore(MAX_BUSY)

    async def worker(queue: Iterator[Cell], number: int) -> None:
        await asyncio.sleep(number / 100)
        for cell in queue:
            verdicts[cell] = await judged(cell, starting, pulse)

    before = asyncio.all_tasks()
    pulse = Pulse()
    measuring = asyncio.create_task(pulse.measure())
    waiting = sorted(
        filter(waits, todo), key=lambda cell: (KINDS[cell.fault].end is End.TIMEOUT, -waits(cell))
    )
    busy = [cell for cell in todo if not waits(cell)]
    workers = [
        worker(queue, number)
        for queue, size in (
            (iter(waiting), min(MAX_WAITING, len(waiting))),
            (iter(busy), min(MAX_BUSY, len(busy))),
        )
        for number in range(size)
    ]
    try:
        await asyncio.gather(*workers)
    finally:
        measuring.cancel()
        await asyncio.wait({measuring})
    left = asyncio.all_tasks() - before
    assert not left, f"tasks are left: {left}"
    return [verdicts[cell] for cell in todo]


class FailedError(AssertionError):
    """Some cells did not pass."""


def require(verdicts: Sequence[Verdict]) -> None:
    """Fail unless all cells passed.

    Raises:
        FailedError: names the cells that did not, and what is wrong with each.
    """
    failed = [
        f"{verdict.cell}: {'; '.join(verdict.flaws)}" for verdict in verdicts if verdict.flaws
    ]
    if failed:
        raise FailedError(
            f"{len(failed)} of {len(verdicts)} cells failed:\n" + "\n".join(failed[:50])
        )


def table(verdicts: Sequence[Verdict]) -> str:
    """How many endpoints, faults and cells there are for each provider, and how many passed."""
    rows: list[tuple[str, ...]] = [("", "endpoints", "faults", "cases", "passed")]
    for api in [*PROVIDERS, "all"]:
        mine = [verdict for verdict in verdicts if api in ("all", verdict.cell.target.api)]
        endpoints, names = (
            {getattr(verdict.cell, name) for verdict in mine} for name in ("target", "fault")
        )
        passed = sum(not verdict.flaws for verdict in mine)
        rows.append((api, *map(str, (len(endpoints), len(names), len(mine), passed))))
    return "\n".join(f"{row[0]:<13}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows)


def outcomes(verdicts: Sequence[Verdict]) -> str:
    """The outcomes of calls under each fault."""
    lines = []
    for name in NAMES:
        ends = Counter(
            (
                verdict.cell.lasting,
                "success" if verdict.outcome is None else verdict.outcome.__name__,
            )
            for verdict in verdicts
            if verdict.cell.fault == name
        )
        once, lasting = (
            ", ".join(
                f"{count} {end}" for (always, end), count in ends.most_common() if always is each
            )
            for each in (False, True)
        )
        lines.append(f"{name:<30}{once:<60}{lasting}")
    return "\n".join(lines)
