"""A soak test: all features at once for an hour of the service's time, with faults.

    python -m tests.benchmarks.soak [--minutes 10] [--quick]

The service is the emulator, in a process of its own. Its clock runs so fast that an hour passes in
the given minutes. The run has three phases, the last of which takes two thirds of the time. After
each phase, with nothing in flight, the client is measured: memory (tracemalloc), file descriptors,
tasks, log lines for each minute of the phase, and the CPU time of a call. The first phase fills
pools and caches. The table compares the figures after the last phase with those after the second.
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
#: Seconds of the service's time, and the minutes in which they pass.
HOUR: Final = 3600
MINUTES: Final = 10.0
#: Minutes of a run that only shows that it works.
QUICK: Final = 0.05
#: The share of each phase in the time.
PHASES: Final = (1 / 6, 1 / 6, 4 / 6)
#: The printed CPU time of a call is the mean of this many calls, in the fastest of several turns,
#: because some calls meet faults.
PROBES, TURNS = 25, 15
#: Seconds after which an idle connection is closed: every 15 seconds aiohttp closes those that were
#: idle for 15.
IDLE: Final = 32.0
#: Seconds to wait for tasks to end by themselves.
ENDING: Final = 10.0
MB: Final = 1e6
LOGGER: Final = logging.getLogger("vcloud")


@frozen
class Reading:
    """The measurements of a client with nothing in flight.

    Attributes:
        memory: bytes that Python has allocated.
        descriptors: open files and sockets of the process.
        tasks: tasks of the event loop.
        lines: log lines for each minute of the phase before.
        call: CPU seconds of one call.
    """

    memory: int
    descriptors: int
    tasks: int
    lines: float
    call: float


@define(eq=False)
class Counters(logging.Handler, Observer):
    """Counts log lines and attempts. As an observer it raises an error now and then."""

    lines: int = 0
    attempts: int = 0
    ends: Counter[str] = field(factory=Counter)

    def __attrs_pre_init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a log line."""
        self.lines += record.levelno >= logging.INFO

    def ended(self, attempt: object) -> None:
        """Count an attempt, and raise an error at every tenth one."""
        self.attempts += 1
        if self.attempts % 10 == 0:
            raise RuntimeError("this observer is broken")

    # logging keeps handlers in sets.
    __hash__ = object.__hash__


class Agent:
    """An agent whose commands all succeed and do nothing."""

    async def start_session(self, command: StartSession) -> SessionResult:
        return SessionResult(pod_ip="127.0.0.1")

    async def hibernate_session(self, command: HibernateSession) -> None: ...

    async def wake_session(self, command: WakeSession) -> None: ...

    async def stop_session(self, command: StopSession) -> None: ...

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        return "127.0.0.1", 1


@define
class Work:
    """The features of the client: each method uses one of them once.

    Attributes:
        cloud: the client.
        folder: the folder of the journals.
        chance: the source of random choices.
        numbers: numbers that were not used before.
    """

    cloud: VCloud
    folder: Path
    chance: random.Random
    numbers: Iterator[int] = field(factory=count)

    def features(self) -> tuple[Callable[[], Awaitable[object]], ...]:
        """All methods that use a feature."""
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
            self.with_options,
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

    async def with_options(self) -> None:
        computers = self.cloud.computers.with_options(timeout=0.5, deadline=1)
        await computers.machines.create(1, region="dublin")


@contextlib.asynccontextmanager
async def serving(speed: float) -> AsyncIterator[dict[str, str]]:
    """The service. Yields its environment variables."""
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


def client(env: dict[str, str], counters: Counters) -> VCloud:
    """A client of all four providers, with short timeouts, because some faults send no answer."""
    options: dict[str, Any] = {
        "timeout": 1.0,
        "retry": RetryPolicy(base=0.02, cap=0.2),
        "observers": [counters],
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


async def run_phase(work: Work, seconds: float, counters: Counters) -> None:
    """Use all features at once and repeatedly, for this many seconds."""
    ends_at = time.monotonic() + seconds

    async def used(feature: Callable[[], Awaitable[object]]) -> None:
        name = getattr(feature, "__name__", "")
        while time.monotonic() < ends_at:
            try:
                await feature()
                counters.ends[name] += 1
            except (VCloudError, CleanupError, TimeoutError, OSError) as error:
                # A fault of the service. Any other error ends the soak test.
                counters.ends[f"{name}: {type(error).__name__}"] += 1

    async with asyncio.TaskGroup() as group:
        for feature in work.features():
            group.create_task(used(feature))


async def probe(cloud: VCloud) -> float:
    """The CPU seconds of one call, while the client does nothing else."""
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
    """The number of open files and sockets of this process, from Linux's /proc."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until_idle(tasks: int, idle: float) -> None:
    """Wait until tasks have ended and idle connections are closed."""
    ends_at = time.monotonic() + ENDING
    while (  # noqa: ASYNC110 - tasks that end by themselves have no event to wait for
        len(asyncio.all_tasks()) > tasks and time.monotonic() < ends_at
    ):
        await asyncio.sleep(0.1)
    await asyncio.sleep(idle)


async def reading(cloud: VCloud, lines: float, tasks: int, idle: float) -> Reading:
    """Measure a client with nothing in flight."""
    call = await probe(cloud)
    await until_idle(tasks, idle)
    # The cache of decoded values is cleared whenever it is full, so its size is arbitrary.
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
    """The result of a soak test.

    Attributes:
        readings: one after each phase.
        attempts: requests that were sent.
        ends: how often each feature ended in each way.
    """

    readings: tuple[Reading, ...]
    attempts: int
    ends: Counter[str]


async def soak(minutes: float, idle: float = IDLE) -> Result:
    """Run the soak test. ``idle`` is the number of seconds before each measurement."""
    counters, readings = Counters(), list[Reading]()
    level, propagate = LOGGER.level, LOGGER.propagate
    # Other handlers, such as those of pytest, may keep log records in memory.
    LOGGER.propagate = False
    LOGGER.addHandler(counters)
    LOGGER.setLevel(logging.INFO)
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with serving(HOUR / (minutes * 60)) as env, client(env, counters) as cloud:
                tasks = len(asyncio.all_tasks())
                work = Work(cloud, Path(folder), random.Random(1))
                for share in PHASES:
                    before, took = counters.lines, share * minutes
                    await run_phase(work, took * 60, counters)
                    lines = (counters.lines - before) / took
                    readings.append(await reading(cloud, lines, tasks, idle))
    finally:
        tracemalloc.stop()
        LOGGER.removeHandler(counters)
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate
    return Result(tuple(readings), counters.attempts, counters.ends)


def rows(result: Result) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the table: a name, the first and the last figure, and their ratio."""
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
    """Run the soak test, and print."""
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
        "--minutes",
        type=float,
        default=MINUTES,
        help="the length of the run (default: %(default)s)",
    )
    given = arguments.parse_args()
    run_with(partial(main, minutes=given.minutes), options(given))
