"""The matrix: every endpoint times every fault, once and for ever, each in a world of its own.

A cell passes when its outcome is the one that :mod:`tests.faults.oracle` says, the emulator's ledger and its state bear it out,
and the client is as good as new: its only slot free, no connection held, the next call answered.
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
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from tests.contract.contract_harness import PROVIDERS
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
from vcloud._core.decoding.codec import Codec
from vcloud.emulator import Emulator
from vcloud.emulator.calls import Call

#: Seconds; what has no answer is over after this long. Whatever has one must be quicker, on a machine that is busy too.
STALL: Final = 2.0
TIMEOUT: Final = 20.0
DEADLINE: Final = 30.0
#: Seconds after which a cell hangs.
GUARD: Final = 60.0
#: Seconds in all for which the loop may be held while a cell is played. STALL is short beside what a paused machine loses, and a
#: client whose time was up before the service had its turn says nothing of either: such a cell is played again.
HELD: Final = STALL / 4
#: How often a cell is played at most. What the last play shows counts.
PLAYS: Final = 4
RETRY: Final = RetryPolicy(attempts=ATTEMPTS, base=0.02, cap=0.1)
#: One for all, because making it takes longer than what most cells do with it.
CODEC: Final = Codec()
#: Cells under way, of those that wait most of the time and of those that keep the processor busy. Each has some four sockets.
PATIENT, BUSY = 200, 12

#: One call that tells whether a client still works.
PROBES: Final[Mapping[str, Callable[[Any], Awaitable[object]]]] = {
    "computers": lambda c: c.machines.permission_fields(),
    "streams": lambda c: c.applications.list(per_page=100).first(),
    "streamspace": lambda c: c.agents.stats(),
    "desktops": lambda c: c.get("a1b2c3d4-e5f6-7890-1234-567890abcdef"),
}


@frozen
class Cell:
    """One endpoint under one fault, which happens once or each time."""

    target: Target
    fault: str
    lasting: bool

    def __str__(self) -> str:
        return f"{self.target.id} x {self.fault}, {'for ever' if self.lasting else 'once'}"


@frozen
class Verdict:
    """What became of a cell: the outcome's class (None: success), and what is wrong with it."""

    cell: Cell
    outcome: type[BaseException] | None
    flaws: tuple[str, ...]


@frozen
class Stage:
    """A client and its service, while a cell is played."""

    emulator: Emulator
    client: Any


def cells(targets: Iterable[Target] = TARGETS) -> list[Cell]:
    """Every cell of these endpoints."""
    return [
        Cell(target, name, lasting)
        for name in NAMES
        for target in targets
        for lasting in (True, False)
    ]


def waits(cell: Cell) -> float:
    """About how many seconds it waits."""
    kind = KINDS[cell.fault]
    once = IN_BODY.get((cell.target.api, cell.fault), STALL if kind.end is End.LATE else kind.wait)
    return 0.0 if once > TOO_LONG else once * ATTEMPTS if cell.lasting else once


@contextlib.asynccontextmanager
async def staged(cell: Cell) -> AsyncIterator[Stage]:
    """The world of a cell, and a client that is logged in."""
    api = cell.target.api
    async with world(Emulator(seed=SEED), api) as emulator:
        cell.target.prepare(emulator)
        found = endpoint(
            emulator,
            api,
            logged_in=cell.target.name != "auth.login",
            timeout=STALL if KINDS[cell.fault].end is End.LATE else TIMEOUT,
            deadline=DEADLINE,
            retry=RETRY,
            concurrency=1,  # if the only slot is lost, nothing goes on
            max_response=BOUND,
        )
        async with PROVIDERS[api].client_class(found, codec=CODEC) as client:
            yield Stage(emulator, client)


@contextlib.asynccontextmanager
async def happening(cell: Cell, emulator: Emulator) -> AsyncIterator[None]:
    """Let the fault happen, once or each time, until this is left."""
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
    """What a call ends with; None is success. What it returns can be shown."""
    try:
        async with asyncio.timeout(GUARD):
            repr(await call)
    except Exception as error:
        return error
    return None


async def settled(emulator: Emulator) -> None:
    """Wait until what goes on in the service after a call is over, and in the ledger: a WebSocket is there once it is closed."""
    async with asyncio.timeout(GUARD):
        while emulator._playing or emulator.streamspace.live._tasks:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0.001)


def acted(call: Call) -> bool:
    """Whether the service did what a request of the ledger asked for. What it refuses in its own words, it does not do."""
    return (
        call.processed
        # A fault may say 401 after the deed, as it may say anything.
        and (call.status != 401 or call.fault == "reply")
        and (call.fault is not None or (call.status or 0) < 400)
    )


def misjudged(error: VCloudError, *, unknown: bool) -> Iterator[str]:
    """Where an error says something wrong of the outcome, as an attribute or in its text."""
    if error.outcome_unknown is not unknown:
        yield f"says outcome_unknown={error.outcome_unknown}"
    if ("is unknown, so look" in str(error)) is not unknown:
        yield f"says in words: {error}"


def flaws(cell: Cell, stage: Stage, error: BaseException | None) -> Iterator[str]:
    """What is wrong with how a call ended, by the oracle and the ledger."""
    target, emulator = cell.target, stage.emulator
    right = expected(target, cell.fault, lasting=cell.lasting)
    kind = None if error is None else type(error)
    if kind not in right.outcomes:
        yield f"ended with {error!r}, not with {' or '.join(getattr(one, '__name__', 'success') for one in right.outcomes)}"
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
            yield f"the ledger says that it was done {acts} times, the service shows {found}"
    # What happens once happens to the first.
    pauses = [
        later.at - sooner.at for sooner, later in pairwise(seen if cell.lasting else seen[:2])
    ]
    if right.wait and pauses and min(pauses) < right.wait:
        yield f"asked to wait {right.wait:g} s, came back after {min(pauses):.3f} s"
    if emulator.elsewhere.arrivals:
        yield "followed a redirect to another host"


async def aftermath(cell: Cell, stage: Stage) -> AsyncIterator[str]:
    """What is wrong with the client afterwards."""
    session = stage.client._session
    if session.admission.free != 1:
        yield f"{session.admission.free} slots are free, not 1"
    if session.admission.waiting() or session.admission.in_flight:
        yield "a request counts as under way"
    held = session.transport.aiohttp_session.connector._acquired
    if held:
        yield f"{len(held)} connections are held"
    error = await ended(PROBES[cell.target.api](stage.client))
    # Whom the service asked to stay away for years stays away.
    banned = felt(cell.target, cell.fault) and KINDS[cell.fault].wait > TOO_LONG
    if error is not None and not (banned and isinstance(error, RateLimitError)):
        yield f"the next call ends with {error!r}"


class Pulse:
    """Measures for how long the event loop was held, by its own work or by the machine's."""

    BEAT: Final = 0.05

    def __init__(self) -> None:
        self.held = 0.0
        """Seconds in all."""

    async def beat(self) -> None:
        """Measure until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.BEAT
            await asyncio.sleep(self.BEAT)
            self.held += max(0.0, loop.time() - due)


async def judged(cell: Cell, starting: asyncio.Semaphore, pulse: Pulse) -> Verdict:
    """Play a cell, once more where it failed while the loop was held."""
    for _ in range(PLAYS - 1):
        held = pulse.held
        verdict = await run_cell(cell, starting)
        if not verdict.flaws or pulse.held - held < HELD:
            return verdict
    return await run_cell(cell, starting)


async def run_cell(cell: Cell, starting: asyncio.Semaphore) -> Verdict:
    """Play one cell and judge it; ``starting`` is held while its world is made."""
    async with contextlib.AsyncExitStack() as stack:
        async with starting:
            stage = await stack.enter_async_context(staged(cell))
        async with happening(cell, stage.emulator):
            error = await ended(cell.target.call(stage.client))
        await settled(stage.emulator)
        found = [*flaws(cell, stage, error), *[flaw async for flaw in aftermath(cell, stage)]]
    return Verdict(cell, None if error is None else type(error), tuple(found))


async def run(todo: Sequence[Cell]) -> list[Verdict]:
    """Play cells, many at once; afterwards nothing is left of them."""
    verdicts: dict[Cell, Verdict] = {}
    # Making a world keeps the processor busy, and nobody's request must have to wait for two hundred of them.
    starting = asyncio.Semaphore(BUSY)

    async def worker(line: Iterator[Cell], number: int) -> None:
        await asyncio.sleep(number / 100)
        for cell in line:
            verdicts[cell] = await judged(cell, starting, pulse)

    before = asyncio.all_tasks()
    pulse = Pulse()
    beating = asyncio.create_task(pulse.beat())
    patient = sorted(
        filter(waits, todo), key=lambda cell: (KINDS[cell.fault].end is End.LATE, -waits(cell))
    )
    busy = [cell for cell in todo if not waits(cell)]
    workers = [
        worker(line, number)
        for line, size in (
            (iter(patient), min(PATIENT, len(patient))),
            (iter(busy), min(BUSY, len(busy))),
        )
        for number in range(size)
    ]
    try:
        await asyncio.gather(*workers)
    finally:
        beating.cancel()
        await asyncio.wait({beating})
    left = asyncio.all_tasks() - before
    assert not left, f"tasks are left: {left}"
    return [verdicts[cell] for cell in todo]


class FailedError(AssertionError):
    """Cells that did not pass."""


def require(verdicts: Sequence[Verdict]) -> None:
    """Refuse cells that did not pass.

    Raises:
        FailedError: names them, and what is wrong with each.
    """
    failed = [
        f"{verdict.cell}: {'; '.join(verdict.flaws)}" for verdict in verdicts if verdict.flaws
    ]
    if failed:
        raise FailedError(
            f"{len(failed)} of {len(verdicts)} cells failed:\n" + "\n".join(failed[:50])
        )


def table(verdicts: Sequence[Verdict]) -> str:
    """Endpoints, faults, cases and how many passed, by provider."""
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
    """What calls came to under each fault."""
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
