"""The storm: thousands of mixed requests to all four providers, hundreds at once, many with faults.

Every call must end in one of three ways, and the service's records must agree: done (its effect
exists once), not done (it does not exist), in doubt (it exists once or not at all, and the error
says so).
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from tests.faults.internals import held_connections
from tests.faults.service import FIRST, HOUR, READ_MACHINE, SESSION
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    DecodeError,
    Endpoint,
    HMACAuth,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    VCloud,
)

ROOT: Final = Path(__file__).parents[2]
SHARE, SEED, AT_ONCE = 0.2, 7, 200
#: Seconds.
TIMEOUT, DEADLINE = 1.0, 15.0
RETRY: Final = RetryPolicy(base=0.02, cap=0.2)

Send = Callable[[VCloud, int], Awaitable[object]]

#: Calls that read, and calls that change something, in turn.
READS: Final[tuple[Send, ...]] = (
    lambda cloud, number: cloud.computers.machines.get(READ_MACHINE),
    lambda cloud, number: cloud.streams.applications.list(per_page=100).all(),
    lambda cloud, number: cloud.streamspace.sessions.get(SESSION),
    lambda cloud, number: cloud.streamspace.agents.stats(),
)
WRITES: Final[Mapping[str, Send]] = {
    "computers.start": lambda cloud, number: cloud.computers.machines.ref(
        str(FIRST + number)
    ).start(),
    "computers.create": lambda cloud, number: cloud.computers.machines.create(1, region="dublin"),
    "computers.access": lambda cloud, number: cloud.computers.machines.ref(
        READ_MACHINE
    ).create_access_link(HOUR),
    "streams.start": lambda cloud, number: cloud.streams.streams.ref("1381").start_machine(
        "dublin"
    ),
    "streams.user": lambda cloud, number: cloud.streams.users.create(f"{number}@example.com"),
    "streamspace.user": lambda cloud, number: cloud.streamspace.users.create(
        f"u{number}", "u@example.com", "correct horse"
    ),
    "desktops.create": lambda cloud, number: cloud.desktops.launch(
        timedelta(seconds=HOUR, milliseconds=number)
    ),
}


def what(number: int) -> tuple[str, Send]:
    """The kind of the request of this number, and how to send it. The kind of a read is empty."""
    turn, reads = divmod(number, 2)
    if reads:
        return "", READS[turn % len(READS)]
    kind = list(WRITES)[turn % len(WRITES)]
    return kind, WRITES[kind]


DONE, NOT_DONE, IN_DOUBT, STRANGE = "done", "not done", "in doubt", "strange"


_BY_UNKNOWN: Final = {True: IN_DOUBT, False: NOT_DONE}


def fate(kind: str, error: Exception | None) -> str:
    """What the outcome of a call says about its effect; strange: no fault may lead to it."""
    match error:
        case None:
            return DONE
        case RateLimitError() | ServerError() | TransportError() | DecodeError():
            if error.outcome_unknown and not kind:
                return STRANGE  # a read leaves nothing in doubt
            return _BY_UNKNOWN[error.outcome_unknown]
        case _:
            return STRANGE


@define
class Log:
    """The outcomes of the requests, by their numbers."""

    fates: list[str | None]
    longest: float = 0.0
    errors: Counter[str] = field(factory=Counter)
    strange: list[str] = field(factory=list)


@frozen
class Result:
    """The result of a storm.

    Attributes:
        requests: how many calls there were.
        seconds: how long it took.
        calls: how many requests were sent, including retries.
        faults: how often each fault applied.
        fates: how many calls were done, not done, in doubt.
        errors: how many calls ended with each class of error.
        longest: seconds of the call that took longest.
        held: bytes in use after the first leg and at the end; zeros if not measured.
        flaws: contradictions between the calls and the records of the service.
    """

    requests: int
    seconds: float
    calls: int
    faults: Mapping[str, int]
    fates: Mapping[str, int]
    errors: Mapping[str, int]
    longest: float
    held: tuple[int, int]
    flaws: tuple[str, ...]


class Service:
    """The process of the service."""

    def __init__(self, requests: int, *, seed: int = SEED, share: float = SHARE) -> None:
        order = json.dumps({"seed": seed, "share": share, "requests": requests})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.service", order],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.env: dict[str, str] = json.loads(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def records(self) -> dict[str, Any]:
        """What it did, by its own records."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def cloud_at(env: Mapping[str, str]) -> VCloud:
    """A client of all four providers with short timeouts."""
    more: dict[str, Any] = {
        "timeout": TIMEOUT,
        "deadline": DEADLINE,
        "retry": RETRY,
        "concurrency": AT_ONCE,
    }
    keys = HMACAuth(env["VCLOUD_COMPUTERS_KEY"], env["VCLOUD_COMPUTERS_SECRET"])
    login = BearerAuth.login(env["VCLOUD_STREAMSPACE_USERNAME"], env["VCLOUD_STREAMSPACE_PASSWORD"])
    return VCloud(
        computers=Endpoint(env["VCLOUD_COMPUTERS_URL"], auth=keys, **more),
        streams=Endpoint(env["VCLOUD_STREAMS_URL"], auth=keys, **more),
        streamspace=Endpoint(env["VCLOUD_STREAMSPACE_URL"], auth=login, **more),
        desktops=Endpoint(
            env["VCLOUD_DESKTOPS_URL"], auth=APIKeyAuth(env["VCLOUD_DESKTOPS_API_KEY"]), **more
        ),
    )


async def leg(cloud: VCloud, log: Log, numbers: Iterator[int]) -> None:
    """Send the requests of these numbers, :data:`AT_ONCE` at once."""

    async def worker() -> None:
        for number in numbers:
            begun = time.monotonic()
            kind, send = what(number)
            error: Exception | None = None
            try:
                await send(cloud, number)
            except Exception as caught:
                error = caught
            log.longest = max(log.longest, time.monotonic() - begun)
            log.errors[type(error).__name__ if error is not None else "success"] += 1
            assert log.fates[number] is None, "answered twice"
            log.fates[number] = fate(kind, error)
            if log.fates[number] is STRANGE:
                log.strange.append(f"{number} ended with {error!r}")

    await asyncio.gather(*[worker() for _ in range(AT_ONCE)])


def held(cloud: VCloud) -> Iterator[str]:
    """What a client still holds after its last call."""
    for client in (cloud.computers, cloud.streams, cloud.streamspace, cloud.desktops):
        stats = client.stats()
        if stats.free != AT_ONCE or stats.waiting or stats.in_flight:
            yield f"{client!r}: {stats.free} of {AT_ONCE} slots are free"
    if connections := held_connections(cloud.computers):
        yield f"{connections} connections are held"


def contradictions(log: Log, records: Mapping[str, Any]) -> Iterator[str]:
    """Contradictions between the outcomes of calls and the records of the service."""
    lost = [number for number, end in enumerate(log.fates) if end is None]
    if lost:
        yield f"{len(lost)} calls never ended: {lost[:10]}"
    for kind in WRITES:
        mine = {number: end for number, end in enumerate(log.fates) if what(number)[0] == kind}
        ends, acts, there = Counter(mine.values()), records["acts"][kind], records["made"][kind]
        count = there if isinstance(there, int) else len(there)
        if acts != count:
            yield f"{kind}: done {acts} times by the recorded calls, and {count} exist"
        if not ends[DONE] <= count <= ends[DONE] + ends[IN_DOUBT]:
            yield (
                f"{kind}: {count} exist; {ends[DONE]} calls said that it was done, "
                f"{ends[IN_DOUBT]} that it is in doubt"
            )
        if isinstance(there, int):
            continue
        found = Counter(there)
        yield from (
            f"{kind}: {number} exists {times} times" for number, times in found.items() if times > 1
        )
        yield from (
            f"{kind}: {number} said that it was done, and does not exist"
            for number in mine
            if mine[number] == DONE and not found[number]
        )
        yield from (
            f"{kind}: {number} said that it was not done, and exists"
            for number in mine
            if mine[number] == NOT_DONE and found[number]
        )
        yield from (
            f"{kind}: {number} exists, and was not asked for"
            for number in found.keys() - mine.keys()
        )


@asynccontextmanager
async def blowing(requests: int, *, seed: int = SEED) -> AsyncIterator[tuple[Service, VCloud]]:
    """A service with faults, and its client."""
    service = await asyncio.to_thread(Service, requests, seed=seed)
    try:
        async with cloud_at(service.env) as cloud:
            yield service, cloud
    finally:
        await asyncio.to_thread(service.close)


async def storm(requests: int, first: int, *, seed: int = SEED, measured: bool = True) -> Result:
    """Send so many requests in two legs. Memory is measured after each leg.

    Args:
        requests: how many in all.
        first: how many in the first leg, in which pools and caches fill.
        seed: decides which faults apply.
        measured: trace memory, which takes time.
    """
    log = Log([None] * requests)
    async with blowing(requests, seed=seed) as (service, cloud):
        if measured:
            tracemalloc.start()
        try:
            begun = time.monotonic()
            await leg(cloud, log, iter(range(first)))
            before = _held(measured=measured)
            await leg(cloud, log, iter(range(first, requests)))
            seconds = time.monotonic() - begun
            memory = before, _held(measured=measured)
        finally:
            tracemalloc.stop()
        records = await asyncio.to_thread(service.records)
        flaws = [*contradictions(log, records), *held(cloud), *log.strange]
        if log.longest > DEADLINE + TIMEOUT:
            flaws.append(f"a call took {log.longest:.1f} s, and the deadline is {DEADLINE:g} s")
    fates = Counter(end for end in log.fates if end is not None)
    return Result(
        requests,
        seconds,
        records["calls"],
        records["faults"],
        fates,
        log.errors,
        log.longest,
        memory,
        tuple(flaws),
    )


def _held(*, measured: bool) -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] if measured else 0


class LostError(AssertionError):
    """A storm after which the records contradict the calls."""


async def check(requests: int, first: int, *, seed: int = SEED, measured: bool = True) -> Result:
    """As :func:`storm`.

    Raises:
        LostError: something is lost, doubled, or still held.
    """
    result = await storm(requests, first, seed=seed, measured=measured)
    if result.flaws:
        raise LostError("\n".join(result.flaws[:50]))
    return result
