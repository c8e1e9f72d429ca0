"""A client that lives long: all features at once for an hour of the service's time, with faults.

    python -m tests.benchmarks.soak [--minutes 10] [--quick]

The service is the emulator, in a process of its own. Its clock runs so fast that an hour passes in
the minutes given. The run has three legs, the last of which takes two thirds of the time. After
each, nothing is under way, and the client is measured: memory (tracemalloc), file descriptors,
tasks, lines of log for each minute of the leg, and the CPU time of a call. The first leg fills
pools and caches. Printed are the figures after the last leg against those after the second one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from tests.benchmarks.harness import ROOT, Options, Table, options, parser, run_with
from tests.benchmarks.soak_service import MACHINE, MACHINES, SESSION
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    CleanupError,
    Endpoint,
    HMACAuth,
    Journal,
    NotFoundError,
    Observer,
    RetryPolicy,
    VCloud,
    VCloudError,
)
from vcloud._core.scalars import REMEMBERED
from vcloud.providers.streamspace import (
    AgentCapacity,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    VNCProxyRequest,
    WakeSession,
)

ROUNDS = 1
#: Seconds of the service's time, and minutes in which they pass.
HOUR: Final = 3600
MINUTES: Final = 10.0
#: Minutes that show that it works.
QUICK: Final = 0.05
#: What share of the time each leg takes.
LEGS: Final = (1 / 6, 1 / 6, 4 / 6)
#: Calls of which one takes the CPU time that is printed: the least of several turns, because some
#: calls meet faults.
PROBES, TURNS = 25, 15
#: Seconds after which a connection without a use is closed: aiohttp looks every 15 seconds for
#: those that were idle for 15.
IDLE: Final = 32.0
#: Seconds that tasks get to end by themselves.
ENDING: Final = 10.0
MB: Final = 1e6
LOGGER: Final = logging.getLogger("vcloud")


@frozen
class Reading:
    """What a client held when nothing was under way, and what it had cost.

    Attributes:
        memory: bytes that Python has allocated.
        descriptors: open files and sockets of the process.
        tasks: of the event loop.
        lines: of log, for each minute of the leg before.
        call: CPU seconds of one call.
    """

    memory: int
    descriptors: int
    tasks: int
    lines: float
    call: float


@define(eq=False)
class Tally(logging.Handler, Observer):
    """Counts lines of log and attempts; as an observer it raises now and then."""

    lines: int = 0
    attempts: int = 0
    ends: Counter[str] = field(factory=Counter)

    def __attrs_pre_init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        """One more line."""
        self.lines += record.levelno >= logging.INFO

    def ended(self, attempt: object) -> None:
        """One more attempt; every tenth one finds the observer broken."""
        self.attempts += 1
        if self.attempts % 10 == 0:
            raise RuntimeError("this observer is broken")

    # Handlers are kept in sets.
    __hash__ = object.__hash__


class Agent:
    """Carries out every command of the control plane, and does nothing."""

    async def start_session(self, command: StartSession) -> SessionResult:
        return SessionResult(pod_ip="127.0.0.1")

    async def hibernate_session(self, command: HibernateSession) -> None: ...

    async def wake_session(self, command: WakeSession) -> None: ...

    async def stop_session(self, command: StopSession) -> None: ...

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        return "127.0.0.1", 1


@define
class Work:
    """What a program does all day: each method is one feature, used once.

    Attributes:
        cloud: the client.
        folder: where journals are.
        chance: decides what differs from one use to the next.
    """

    cloud: VCloud
    folder: Path
    chance: random.Random
    numbers: Iterator[int] = field(factory=count)

    def features(self) -> tuple[Callable[[], Awaitable[object]], ...]:
        """All of them."""
        return (
            self.read,
            self.lists,
            self.merged,
            self.power,
            self.bulk,
            self.desktop,
            self.visitor,
            self.session,
            self.followed,
            self.agent,
            self.cancelled,
            self.patient,
        )

    async def read(self) -> None:
        await self.cloud.computers.machines.get(str(100 + self.chance.randrange(MACHINES)))
        await self.cloud.streamspace.sessions.get(SESSION)
        with contextlib.suppress(NotFoundError):
            await self.cloud.computers.machines.get(f"nobody-{next(self.numbers)}")

    async def lists(self) -> None:
        async for _ in self.cloud.computers.machines.list(per_page=7).prefetch(2):
            pass
        await self.cloud.streams.applications.list().all()

    async def merged(self) -> None:
        await self.cloud.instances().all()

    async def power(self) -> None:
        machine = self.cloud.computers.machines.ref(str(100 + self.chance.randrange(MACHINES)))
        await machine.start()
        await machine.wait_until("ready", timeout=3, poll=0.2)
        await machine.stop()

    async def bulk(self) -> None:
        number = next(self.numbers)
        journal = Journal(self.folder / f"{number}.journal")
        progress = io.StringIO()
        with contextlib.redirect_stderr(progress):
            run = self.cloud.bulk(
                range(30),
                lambda item: self.cloud.computers.machines.get(str(100 + item)),
                journal=journal,
                record=lambda machine: machine.id,
                concurrency=10,
                progress="soak",
            )
            await run.run()

    async def desktop(self) -> None:
        async with self.cloud.desktops.launch(60, wait_timeout=3, poll=0.05) as desktop:
            await desktop.type("ls")
            await desktop.screenshot()

    async def visitor(self) -> None:
        assignment = await self.cloud.streams.streams.ref("1381").connect(
            "dublin", timeout=3, poll=0.1
        )
        await assignment.machine.stop()

    async def session(self) -> None:
        session = await self.cloud.streamspace.sessions.create("john.doe", "firefox-browser")
        try:
            await session.wait_until("running", timeout=3, poll=0.1)
            async with session.forward_vnc() as forward:
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                try:
                    async with asyncio.timeout(1):
                        await reader.readline()
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        finally:
            await session.delete()

    async def followed(self) -> None:
        ref = self.cloud.streamspace.sessions.ref(SESSION)
        await ref.logs(tail=5)
        async with asyncio.timeout(0.3), ref.logs(follow=True, tail=5) as lines:
            async for _ in lines:
                pass

    async def agent(self) -> None:
        worker = self.cloud.streamspace.serve_agent(
            f"soak-{self.chance.randrange(3)}",
            platform="docker",
            handler=Agent(),
            capacity=AgentCapacity(max_sessions=5),
        )
        async with worker:
            await asyncio.sleep(0.5)

    async def cancelled(self) -> None:
        async with asyncio.timeout(self.chance.random() * 0.02):
            await self.cloud.computers.machines.list(per_page=5).all()

    async def patient(self) -> None:
        computers = self.cloud.computers.with_options(timeout=0.5, deadline=1)
        await computers.machines.create(1, region="dublin")


@contextlib.asynccontextmanager
async def serving(speed: float) -> AsyncIterator[dict[str, str]]:
    """The service; gives how to reach it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.benchmarks.soak_service",
        str(speed),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


def client(env: dict[str, str], tally: Tally) -> VCloud:
    """A client of all four, with little patience, because a fault of the service may be silence."""
    options: dict[str, Any] = {
        "timeout": 1.0,
        "retry": RetryPolicy(base=0.02, cap=0.2),
        "observers": [tally],
    }
    keys = HMACAuth(env["VCLOUD_COMPUTERS_KEY"], env["VCLOUD_COMPUTERS_SECRET"])
    login = BearerAuth.login(env["VCLOUD_STREAMSPACE_USERNAME"], env["VCLOUD_STREAMSPACE_PASSWORD"])
    key = APIKeyAuth(env["VCLOUD_DESKTOPS_API_KEY"])
    return VCloud(
        computers=Endpoint(env["VCLOUD_COMPUTERS_URL"], auth=keys, **options),
        streams=evolve(Endpoint(env["VCLOUD_STREAMS_URL"], auth=keys), **options),
        streamspace=Endpoint(env["VCLOUD_STREAMSPACE_URL"], auth=login, **options),
        desktops=Endpoint(env["VCLOUD_DESKTOPS_URL"], auth=key, **options),
    )


async def leg(work: Work, seconds: float, tally: Tally) -> None:
    """Use all features at once, again and again, for so long."""
    ends_at = time.monotonic() + seconds

    async def used(feature: Callable[[], Awaitable[object]]) -> None:
        name = getattr(feature, "__name__", "")
        while time.monotonic() < ends_at:
            try:
                await feature()
                tally.ends[name] += 1
            except (VCloudError, CleanupError, TimeoutError, OSError) as error:
                # A fault of the service; what a program must not meet ends the soak.
                tally.ends[f"{name}: {type(error).__name__}"] += 1

    async with asyncio.TaskGroup() as group:
        for feature in work.features():
            group.create_task(used(feature))


async def probe(cloud: VCloud) -> float:
    """CPU seconds of one call, of a client that does nothing else."""
    machine = cloud.computers.machines.ref(MACHINE)
    found = []
    for _ in range(TURNS):
        begun = time.process_time()
        for _ in range(PROBES):
            with contextlib.suppress(VCloudError):
                await machine.refresh()
        found.append((time.process_time() - begun) / PROBES)
    return min(found)


def descriptors() -> int:
    """How many files and sockets this process has open; looked up in Linux's /proc."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def at_rest(tasks: int, idle: float) -> None:
    """Wait until tasks have ended and idle connections were closed."""
    ends_at = time.monotonic() + ENDING
    while (  # noqa: ASYNC110 - tasks that end by themselves have no event to wait for
        len(asyncio.all_tasks()) > tasks and time.monotonic() < ends_at
    ):
        await asyncio.sleep(0.1)
    await asyncio.sleep(idle)


async def reading(cloud: VCloud, lines: float, tasks: int, idle: float) -> Reading:
    """Measure a client with nothing under way."""
    call = await probe(cloud)
    await at_rest(tasks, idle)
    # The one cache of what services say begins anew when it is full; how full it is says nothing.
    for cache in REMEMBERED.values():
        cache.clear()
    for _ in range(3):
        gc.collect()
    return Reading(
        memory=tracemalloc.get_traced_memory()[0],
        descriptors=descriptors(),
        tasks=len(asyncio.all_tasks()),
        lines=lines,
        call=call,
    )


@frozen
class Result:
    """A soak that is over.

    Attributes:
        readings: one after each leg.
        attempts: requests that were sent.
        ends: how often each feature ended, in which way.
    """

    readings: tuple[Reading, ...]
    attempts: int
    ends: Counter[str]


async def soak(minutes: float, idle: float = IDLE) -> Result:
    """Let a client live for so long; ``idle`` seconds pass before each measurement."""
    tally, readings = Tally(), list[Reading]()
    level, propagate = LOGGER.level, LOGGER.propagate
    # Other handlers may keep what is logged, as pytest's do.
    LOGGER.propagate = False
    LOGGER.addHandler(tally)
    LOGGER.setLevel(logging.INFO)
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with serving(HOUR / (minutes * 60)) as env, client(env, tally) as cloud:
                tasks = len(asyncio.all_tasks())
                work = Work(cloud, Path(folder), random.Random(1))
                for share in LEGS:
                    before, took = tally.lines, share * minutes
                    await leg(work, took * 60, tally)
                    lines = (tally.lines - before) / took
                    readings.append(await reading(cloud, lines, tasks, idle))
    finally:
        tracemalloc.stop()
        LOGGER.removeHandler(tally)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
    return Result(tuple(readings), tally.attempts, tally.ends)


def rows(result: Result) -> Iterator[tuple[str, str, str, str]]:
    """What there is to say: a name, its first and last figure, their ratio."""
    _, start, end = result.readings
    for name, first, last, digits in (
        ("memory, MB", start.memory / MB, end.memory / MB, 2),
        ("descriptors", start.descriptors, end.descriptors, 0),
        ("tasks", start.tasks, end.tasks, 0),
        ("lines of log a minute", start.lines, end.lines, 1),
        ("CPU of a call, us", start.call * 1e6, end.call * 1e6, 0),
    ):
        ratio = f"{last / first:.3f}" if first else "-"
        yield name, f"{first:.{digits}f}", f"{last:.{digits}f}", ratio


async def main(chosen: Options, minutes: float = MINUTES) -> None:
    """Run it, print."""
    minutes, idle = (QUICK, 0.0) if chosen.quick else (minutes, IDLE)
    for _ in range(chosen.rounds):
        result = await soak(minutes, idle)
        table = Table(
            f"An hour in {minutes:g} minutes, {result.attempts} requests", ("start", "end", "ratio")
        )
        for name, start, end, ratio in rows(result):
            table.row(name, {"start": start, "end": end, "ratio": ratio})
        print()
        for name, times in sorted(result.ends.items()):
            print(f"{times:>8}  {name}")


if __name__ == "__main__":
    arguments = parser(__doc__, ROUNDS)
    arguments.add_argument(
        "--minutes", type=float, default=MINUTES, help="how long (default: %(default)s)"
    )
    given = arguments.parse_args()
    run_with(partial(main, minutes=given.minutes), options(given))
