"""Rate limits over real sockets: no client sends so many requests that the emulator refuses one."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.redis_server import redis_server
from vcloud import (
    ConfigurationError,
    ConnectError,
    Endpoint,
    HMACAuth,
    RateLimit,
    RateLimitError,
    RetryPolicy,
    SharedBudget,
    StreamSpace,
    VagonComputers,
    VCloud,
)
from vcloud.emulator import Emulator

#: A documented minute lasts this long, which is long against the time that an answer takes.
SPEED, WINDOW = 40, 1.5


def spread(times: list[float], limit: int) -> float:
    """The shortest time in which one more than the limit arrived."""
    return min(
        (later - earlier for earlier, later in zip(times, times[limit:], strict=False)),
        default=float("inf"),
    )


def per_window(times: list[float]) -> list[int]:
    """How many arrived in each window of the service. A window begins with its first request."""
    counts: list[int] = []
    ends = float("-inf")
    for at in sorted(times):
        if at >= ends:
            ends = at + WINDOW
            counts.append(0)
        counts[-1] += 1
    return counts


async def test_a_thousand_creates_and_reads_are_never_refused_and_use_the_limit() -> None:
    async with (
        Emulator(speed=SPEED) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as cloud,
    ):
        await asyncio.gather(
            *[
                cloud.sessions.create(user="admin", template="firefox-browser", tags=[str(number)])
                for number in range(100)
            ],
            *[cloud.templates.list().first() for _ in range(900)],
        )
        calls = list(emulator.calls)
    assert [call.status for call in calls].count(429) == 0
    creates = [
        call.at for call in calls if (call.method, call.path) == ("POST", "/api/v1/sessions")
    ]
    reads = [call.at for call in calls if call.method == "GET"]
    assert (len(creates), len(reads)) == (100, 900)
    # All windows are full but for one or two requests at the end of a window, where the client's
    # clock and the service's differ.
    for times, limit in ((creates, 10), (reads, 100)):
        counts = per_window(times)
        assert len(counts) <= len(times) / limit + 1
        assert max(counts) <= limit + 1


async def test_a_configured_limit_is_kept_although_the_service_announces_none() -> None:
    async with Emulator(machines=1) as emulator:
        loop = asyncio.get_running_loop()
        endpoint = emulator.endpoints()["computers"]
        limited = Endpoint(
            endpoint.base_url, auth=endpoint.auth, rate_limits=[RateLimit(20, per=0.25)]
        )
        async with VagonComputers(limited) as computers:
            begin = loop.time()
            await asyncio.gather(*[computers.machines.ref("100").refresh() for _ in range(100)])
            assert loop.time() - begin >= 4 * 0.25
        assert spread([call.at for call in emulator.calls], 20) >= 0.25


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        yield server.address


CROWD = textwrap.dedent("""
    import asyncio, sys
    from vcloud import Endpoint, HMACAuth, RateLimit, SharedBudget, VagonComputers

    async def main(url, key, secret, store, calls):
        budget = SharedBudget(store, account="test")
        endpoint = Endpoint(
            url,
            auth=HMACAuth(key, secret),
            rate_limits=[RateLimit(40, per=2)],
            shared_budget=budget,
        )
        async with VagonComputers(endpoint) as computers:
            machine = computers.machines.ref("100")
            await asyncio.gather(*[machine.refresh() for _ in range(int(calls))])

    asyncio.run(main(*sys.argv[1:]))
""")


async def test_two_processes_stay_within_one_budget(redis: str) -> None:
    async with Emulator(machines=1) as emulator:
        env = emulator.env()
        given = [env[f"VCLOUD_COMPUTERS_{name}"] for name in ("URL", "KEY", "SECRET")]
        command = [sys.executable, "-W", "error", "-c", CROWD, *given, redis, "60"]
        processes = [await asyncio.create_subprocess_exec(*command) for _ in range(2)]
        assert [await process.wait() for process in processes] == [0, 0]
        times = [call.at for call in emulator.calls]
    assert len(times) == 120
    assert spread(times, 40) >= 2


async def test_a_store_within_the_process_counts_several_clients_together() -> None:
    async with Emulator(machines=1) as emulator:
        endpoint = emulator.endpoints()["computers"]
        budget = SharedBudget("async+memory://")
        shared = Endpoint(
            endpoint.base_url,
            auth=endpoint.auth,
            rate_limits=[RateLimit(10, per=1)],
            shared_budget=budget,
        )
        async with VagonComputers(shared) as one, VCloud(computers=shared) as other:
            clients = (one, other.computers)
            await asyncio.gather(
                *[client.machines.ref("100").refresh() for client in clients for _ in range(10)]
            )
        assert len(emulator.calls) == 20
        assert spread([call.at for call in emulator.calls], 10) >= 1


async def test_a_shared_limit_that_is_used_up_for_too_long_is_an_error_at_once() -> None:
    async with Emulator(machines=1) as emulator:
        endpoint = emulator.endpoints()["computers"]
        budget = SharedBudget("async+memory://")
        retry = RetryPolicy(max_retry_after=60)
        limits = [RateLimit(2, per=3600)]
        shared = Endpoint(
            endpoint.base_url,
            auth=endpoint.auth,
            rate_limits=limits,
            shared_budget=budget,
            retry=retry,
        )
        async with VagonComputers(shared) as computers:
            for _ in range(2):
                await computers.machines.ref("100").refresh()
            with pytest.raises(
                RateLimitError, match="longer than max_retry_after allows to wait; nothing was sent"
            ) as caught:
                await computers.machines.ref("100").refresh()
        assert caught.value.retry_after == pytest.approx(3600, abs=60)
        assert len(emulator.calls) == 2


async def test_a_store_that_does_not_exist_is_an_error_that_says_nothing_was_sent(
    tmp_path: Path,
) -> None:
    async with Emulator(machines=1) as emulator:
        endpoint = emulator.endpoints()["computers"]
        budget = SharedBudget(f"unix://{tmp_path}/nobody.sock")
        shared = Endpoint(
            endpoint.base_url,
            auth=endpoint.auth,
            rate_limits=[RateLimit(10, per=1)],
            shared_budget=budget,
        )
        async with VagonComputers(shared) as computers:
            with pytest.raises(
                ConnectError, match="store of the shared budget fails .*nothing was sent"
            ):
                await computers.machines.ref("100").refresh()
        assert emulator.calls == []


def test_an_invalid_budget_is_refused_when_it_is_made() -> None:
    auth = HMACAuth("key", "secret")
    with pytest.raises(ConfigurationError, match="give those too"):
        Endpoint(auth=auth, shared_budget=SharedBudget("async+memory://"))
    with pytest.raises(ConfigurationError, match="cannot count in a 'papyrus' store"):
        SharedBudget("papyrus://shelf")
    with pytest.raises(ConfigurationError, match="'fail' or 'unshared', not 'pass'"):
        SharedBudget("async+memory://", when_away="pass")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="each bucket once"):
        Endpoint(auth=auth, rate_limits=[RateLimit(1, 1), RateLimit(2, 60)])
    with pytest.raises(ConfigurationError, match="RateLimit"):
        Endpoint(auth=auth, rate_limits=[60])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match="RateLimit"):
        Endpoint(auth=auth, rate_limits=RateLimit(1, 1))  # type: ignore[arg-type]
    assert "***" in repr(SharedBudget("redis://:hidden@localhost"))


@pytest.mark.parametrize("address", ["redis://:hidden@host:port", "papyrus://:hidden@shelf"])
def test_no_frame_of_an_invalid_budget_holds_the_password(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SharedBudget(address)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]
    assert frames
    assert not [frame for frame in frames if "hidden" in repr(frame.f_locals)]
    assert caught.value.__cause__ is caught.value.__context__ is None
