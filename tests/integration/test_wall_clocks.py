"""Clocks that are set, and machines that are suspended: how many requests are refused."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.redis_server import redis_server
from tests.lacking import untested
from vcloud import Attempt, AuthenticationError, Endpoint, HMACAuth, Observer, VCloud
from vcloud._core.timing.clock import boottime
from vcloud.emulator import Emulator, Fault

HOUR = 3600.0
DAY = 24 * HOUR
YEAR = 365 * DAY
#: Jumps of an hour run in the suite, the others in the long form.
JUMPS = [
    pytest.param(jump, marks=[] if abs(jump) == HOUR else [pytest.mark.long])
    for jump in (-1.0, 1.0, -HOUR, HOUR, -23 * HOUR, 23 * HOUR)
]
#: How the client counts: not at all, with a limit of its own, or in a store.
BUDGETS = ["none", "own", "redis"]
#: The limit of requests in an hour.
LIMIT = 16


class Client:
    """A client in a process of its own under libfaketime, which sets its time of day.

    Args:
        library: the path of libfaketime's library.
        folder: for the file with the difference.
        env: further environment variables.
        jumped: seconds by which its clock is ahead at the start.
    """

    def __init__(
        self, library: str, folder: Path, env: dict[str, str], *, jumped: float = 0.0
    ) -> None:
        self._file = folder / "faketime"
        self.jump(jumped)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("jumping_program.py"))],
            env=os.environ
            | env
            | {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_NO_CACHE": "1",
                # Only the clock that an administrator sets.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Its clients exist now.
        self.ask("ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(30) == 0
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def jump(self, seconds: float) -> None:
        """Set its clock ahead of the true time by so many seconds."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}s\n")
        new.replace(self._file)

    def ask(self, verb: str, what: str = "none", number: int = 0) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(verb, what, number, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def calls(self, number: int, what: str = "none") -> list[str]:
        """The outcomes of so many calls, one after another."""
        done: list[str] = self.ask("sequence", what, number)
        return done

    @contextmanager
    def in_flight(self, number: int, what: str = "none") -> Iterator[list[str]]:
        """The outcomes of so many calls that are in flight during the block."""
        self.ask("begin", what, number)
        done: list[str] = []
        yield done
        done += self.ask("end")


@pytest.fixture(scope="module")
def library() -> str:
    """The path of libfaketime's library, as its program sets it."""
    if shutil.which("faketime") is None:
        untested(
            "CLOCKS THAT JUMP ARE NOT TESTED: "
            "there is no faketime (Debian: apt-get install faketime)"
        )
    say = ["faketime", "-m", "-f", "+0s", "/bin/sh", "-c", 'echo "$LD_PRELOAD"']
    found = subprocess.run(say, capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(machines=1) as emulator:
        yield emulator


def refused(emulator: Emulator) -> int:
    """How many signatures were refused since the last call of this."""
    statuses = [call.status for call in emulator.calls if "/machines" in call.path]
    emulator.calls.clear()
    return statuses.count(401)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_neither_refuses_requests_nor_exceeds_limits(
    jump: float, emulator: Emulator, library: str, tmp_path: Path
) -> None:
    # The service tolerates five minutes.
    once = 1 if abs(jump) > 300 else 0
    with redis_server(tmp_path) as server:
        env = emulator.env() | {"REQUESTS": str(LIMIT), "STORE": server.address}
        with Client(library, tmp_path, env, jumped=jump) as client:
            # A jump before the calls: the client corrects its clock after the first answer.
            for budget in BUDGETS:
                assert client.calls(3, budget) == ["ok"] * 3
                assert refused(emulator) == once
            # Jumps during and between calls: to the right time, and to the opposite error.
            emulator.faults.add("GET */machines/*", Fault.delay(0.2), times=9)
            with client.in_flight(3, "+".join(BUDGETS)) as done:
                client.jump(0.0)
            assert done == ["ok"] * 9
            for now in (0.0, -jump):
                client.jump(now)
                for budget in BUDGETS:
                    assert client.calls(2, budget) == ["ok"] * 2
            assert refused(emulator) == 0, "the correction stays right"
            # Jumps after the calls: the limit is used up and not exceeded, whatever the clock says.
            left = LIMIT - 3 - once - 3 - 4
            for budget in ("own", "redis"):
                assert client.calls(left, budget) == ["ok"] * left
            emulator.calls.clear()
            for now in (-jump, 0.0, jump):
                client.jump(now)
                for budget in ("own", "redis"):
                    assert client.calls(1, budget) == ["RateLimitError"]
            assert not emulator.calls
            assert server.counted() == LIMIT


def test_a_jump_of_a_year_during_the_run_is_harmless(
    emulator: Emulator, library: str, tmp_path: Path
) -> None:
    with Client(library, tmp_path, emulator.env()) as client:
        for jump in (0.0, YEAR, -YEAR, 0.0):
            client.jump(jump)
            assert client.calls(2) == ["ok"] * 2
        assert refused(emulator) == 0


@pytest.mark.long  # a jump for the program alone is the short form, below
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_a_jump_of_a_year_before_the_start_is_named(
    jump: float, emulator: Emulator, library: str, tmp_path: Path
) -> None:
    with Client(library, tmp_path, emulator.env(), jumped=jump) as client:
        assert client.calls(1) == [f"refused, {-jump / DAY:.0f} days off"]
        assert refused(emulator) == 1, "a year is not corrected"


def test_a_client_that_began_with_a_wrong_clock_works_when_the_clock_is_set_right(
    emulator: Emulator, library: str, tmp_path: Path
) -> None:
    """A machine may boot with a clock in 1970, until it gets the time."""
    with Client(library, tmp_path, emulator.env(), jumped=-40 * YEAR) as client:
        client.jump(0.0)
        assert client.calls(3) == ["ok"] * 3
        assert refused(emulator) == 1


def test_a_machine_that_was_suspended_renews_its_token_once(
    emulator: Emulator, library: str, tmp_path: Path
) -> None:
    """Its monotonic clock stopped. The service's clock and the time of day went on for 8 hours."""
    with Client(library, tmp_path, emulator.env()) as client:
        assert client.calls(1, "templates") == ["ok"]
        # The token has seven hours left.
        emulator.clock.advance(17 * HOUR)
        emulator.calls.clear()
        client.jump(8 * HOUR)
        emulator.clock.advance(8 * HOUR)
        emulator.clock.offset = 8 * HOUR
        with client.in_flight(30, "templates") as done:
            pass
        assert done == ["ok"] * 30
        assert client.calls(3, "templates") == ["ok"] * 3
        logins = [call for call in emulator.calls if call.path.endswith("/auth/login")]
        assert len(logins) == 1
        assert sum(call.status == 401 for call in emulator.calls) <= 30
        emulator.calls.clear()
        assert client.calls(3) == ["ok"] * 3
        assert refused(emulator) <= 1, "its signatures are eight hours old, once"


async def test_a_suspension_that_the_system_counts_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CLOCK_BOOTTIME includes the suspension: tokens are renewed before they are used."""
    slept = 0.0
    monkeypatch.setattr("vcloud._core.call.signing.boottime", lambda: boottime() + slept)
    async with Emulator(machines=1) as emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.streamspace.templates.list().first()
        await cloud.computers.machines.ref("100").refresh()
        slept = emulator.clock.offset = 25 * HOUR
        emulator.clock.advance(slept)
        emulator.calls.clear()
        await asyncio.gather(*[cloud.streamspace.templates.list().first() for _ in range(30)])
        await asyncio.gather(*[cloud.computers.machines.ref("100").refresh() for _ in range(5)])
        logins = [call for call in emulator.calls if call.path.endswith("/auth/login")]
        assert len(logins) == 1
        assert {call.status for call in emulator.calls} == {200}


class Refusals(Observer):
    """Counts refused credentials."""

    count = 0

    def ended(self, attempt: Attempt) -> None:
        self.count += attempt.status == 401


@contextmanager
def emulator_elsewhere() -> Iterator[dict[str, str]]:
    """An emulator in another process with a clock of its own; the environment for its clients."""
    command = [sys.executable, "-m", "vcloud.emulator", "--port", "0", "--machines", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            env: dict[str, str] = {}
            for line in server.stdout:
                if found := re.search(r"(VCLOUD_COMPUTERS_\w+)=(\S+)", line):
                    env[found[1]] = found[2].strip("'\"")
                if len(env) == 3:
                    break
            yield env
        finally:
            server.terminate()
            server.wait(10)


async def test_a_shift_of_the_time_for_the_program_alone_costs_one_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client cannot know that the service's clock is not shifted, until it answers."""
    real, refusals = time.time, Refusals()
    with emulator_elsewhere() as env:
        async with VCloud.from_env(env, observers=[refusals]) as cloud:
            machine = cloud.computers.machines.ref("100")
            await machine.start()
            for jump in (HOUR, -HOUR, 23 * HOUR, -23 * HOUR, 0.0, YEAR, -YEAR, 0.0):
                monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
                refusals.count = 0
                for _ in range(2):
                    # One that may be repeated, and one that may not.
                    await machine.create_access_link(timedelta(hours=1))
                    await machine.refresh()
                assert refusals.count <= 1
        for jump in (YEAR, -YEAR):
            monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
            async with VCloud.from_env(env) as cloud:
                with pytest.raises(AuthenticationError, match="set this machine's clock") as caught:
                    await cloud.computers.machines.ref("100").refresh()
            difference = caught.value.clock_difference
            assert difference is not None
            assert abs(difference.total_seconds() + jump) < 60


async def test_clients_that_share_credentials_agree_on_the_time_and_a_later_client_reads_it_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, refusals = time.time, Refusals()
    # As if the machine's clock itself was set forward.
    monkeypatch.setattr("vcloud._core.call.signing.system_wall", None)
    with emulator_elsewhere() as env:
        auth = HMACAuth(env["VCLOUD_COMPUTERS_KEY"], env["VCLOUD_COMPUTERS_SECRET"])
        endpoint = Endpoint(env["VCLOUD_COMPUTERS_URL"], auth=auth)
        async with VCloud(computers=endpoint, observers=[refusals]) as one:
            await one.computers.machines.ref("100").refresh()
            monkeypatch.setattr(time, "time", lambda: real() + HOUR)
            async with VCloud(computers=endpoint, observers=[refusals]) as another:
                for _ in range(4):
                    await one.computers.machines.ref("100").refresh()
                    await another.computers.machines.ref("100").refresh()
        assert refusals.count == 0, "they do not correct each other in turn"
        del one, another
        monkeypatch.setattr(time, "time", lambda: real() + YEAR)
        async with VCloud(computers=endpoint) as later:
            with pytest.raises(AuthenticationError, match="set this machine's clock"):
                await later.computers.machines.ref("100").refresh()


@pytest.mark.parametrize("jump", [-HOUR, HOUR, YEAR])
async def test_a_shift_of_the_time_for_client_and_service_costs_nothing(
    jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = time.time, Refusals()
    async with (
        Emulator(machines=1) as emulator,
        VCloud(**emulator.endpoints(), observers=[refusals]) as cloud,
    ):
        machine = cloud.computers.machines.ref("100")
        await machine.refresh()
        for now in (jump, 0.0):
            emulator.faults.add("GET */machines/100", Fault.delay(0.2), times=4)
            flight = [asyncio.create_task(machine.refresh()) for _ in range(4)]
            await asyncio.sleep(0.05)
            monkeypatch.setattr(time, "time", lambda now=now: real() + now)
            await asyncio.gather(*flight)
            for _ in range(3):
                await machine.refresh()
        assert refusals.count <= 4 * 2, "at most one for each that was in flight"
