"""Users' tests freeze and shift the time: client and emulator work, during that and afterwards."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import textwrap
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
import time_machine

from vcloud import AuthenticationError, VCloud
from vcloud.emulator import Emulator

#: What is imported before the time is frozen. `vcloud` imports most modules at their first use.
BEFORE = {
    "nothing": "",
    "vcloud": "import vcloud",
    "clock": "import vcloud._core.timing.clock",
    "codec": "import vcloud._core.codec",
    "everything": "import vcloud.providers.computers, vcloud.providers.streamspace",
}
FREEZE = {
    "freezegun": 'freezegun.freeze_time("2026-01-15", real_asyncio=True)',
    "freezegun that ticks": 'freezegun.freeze_time("2031-01-15", real_asyncio=True, tick=True)',
    "time-machine": 'time_machine.travel("2026-01-15T00:00:00Z", tick=False)',
    "time-machine that ticks": 'time_machine.travel("2031-01-15T00:00:00Z")',
}


def run(code: str) -> str:
    """Run a program with warnings as errors. It must succeed."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


USE = """
import asyncio, datetime

REAL = [datetime.datetime]  # in a list, where freezegun does not replace it

async def use(emulator):
    from vcloud import VCloud

    async with VCloud(**emulator.endpoints()) as cloud:
        lists = [cloud.computers.machines.list().all() for _ in range(3)]
        assert [len(found) for found in await asyncio.gather(*lists)] == [2, 2, 2]
        session = await cloud.streamspace.sessions.create(user="admin", template="firefox-browser")
        assert type((await session.refresh()).created_at) is REAL[0]
        desktop = await cloud.desktops.launch()
        assert type((await desktop.refresh()).timeout_at) is REAL[0]
        await cloud.computers.machines.ref("100").start()
        await cloud.computers.machines.ref("100").wait_until("ready", poll=0.01)
    statuses = [call.status for call in emulator.calls]
    assert (statuses.count(401), statuses.count(429)) == (0, 1), statuses
    assert sum(call.path.endswith("/auth/login") for call in emulator.calls) == 1

def play():
    from vcloud.emulator import Emulator, Fault

    with Emulator(machines=2, speed=300) as emulator:
        emulator.faults.add("GET */machines*", Fault.too_many(1))
        asyncio.run(use(emulator))
"""


@pytest.mark.parametrize(
    ("how", "before"),
    [
        *[("freezegun", before) for before in BEFORE],
        *[(how, "nothing") for how in FREEZE if how != "freezegun"],
    ],
)
def test_first_use_and_a_429_in_frozen_time_work_then_and_afterwards(how: str, before: str) -> None:
    run(f"""
{BEFORE[before]}
{USE}
import freezegun, time_machine

with {FREEZE[how]}:
    play()
play()
with {FREEZE[how]}:
    play()
""")


def test_an_emulators_own_time_runs_while_the_time_of_day_is_frozen_and_shifted() -> None:
    run("""
    import datetime, time
    import freezegun
    from vcloud.emulator import Clock

    clock = Clock()
    began = clock.now()
    with freezegun.freeze_time("2050-01-01") as frozen:
        assert clock.now() - began < 3600, "a frozen time of day does not shift it"
        assert datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC).year == 2050
        frozen.move_to("2060-01-01")
        assert datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC).year == 2060
        frozen_at = clock.now()
        while clock.now() == frozen_at:
            pass
    assert clock.now() - began < 3600
    """)


def logins(emulator: Emulator) -> int:
    return sum(call.path.endswith("/auth/login") for call in emulator.calls)


MONTH = timedelta(days=30)


@pytest.mark.parametrize("months", [1, -1])
async def test_a_shift_of_the_time_by_a_month_costs_at_most_one_login(months: int) -> None:
    async with Emulator(machines=2) as emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.streamspace.templates.list().first()
        with time_machine.travel(datetime.now(UTC) + months * MONTH):
            for _ in range(8):
                await cloud.streamspace.templates.list().first()
                await cloud.computers.machines.list().first()
            assert logins(emulator) <= 2
        for _ in range(8):
            await cloud.streamspace.templates.list().first()
            await cloud.computers.machines.list().first()
        assert logins(emulator) <= 2
        assert not [call for call in emulator.calls if call.status == 401]


async def test_a_client_that_is_made_in_shifted_time_logs_in_once() -> None:
    async with Emulator() as emulator:
        with time_machine.travel(datetime.now(UTC) + MONTH):
            async with VCloud(**emulator.endpoints()) as cloud:
                for _ in range(8):
                    await cloud.streamspace.templates.list().first()
        assert logins(emulator) == 1


async def test_an_emulators_clock_that_is_advanced_ends_a_token_once() -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        await cloud.streamspace.templates.list().first()
        emulator.clock.advance(MONTH.total_seconds())
        await asyncio.gather(*[cloud.streamspace.templates.list().first() for _ in range(8)])
        for _ in range(8):
            await cloud.streamspace.templates.list().first()
        assert logins(emulator) == 2, "the service ended the token by its own clock"


@pytest.mark.parametrize("moved", [0.0, MONTH.total_seconds()])
async def test_the_end_of_a_token_is_a_time_of_day(moved: float) -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        emulator.clock.advance(moved)
        for day in (datetime(2026, 1, 15, tzinfo=UTC), datetime(2040, 5, 1, tzinfo=UTC)):
            with time_machine.travel(day, tick=False):
                login = await cloud.streamspace.login()
            assert login.expires_at is not None
            assert login.expires_at - day == timedelta(days=1)


async def use_everything(emulator: Emulator, cloud: VCloud) -> None:
    """Calls of all four services, none of which may be refused because of the time."""
    await cloud.computers.machines.list().all()
    await cloud.computers.machines.ref("100").create_access_link(timedelta(hours=1))
    await cloud.streams.applications.list().all()
    await cloud.streamspace.templates.list().first()
    desktop = await cloud.desktops.launch()
    await desktop.stop()


@pytest.mark.parametrize("moved", ["by a month", "by ten years", "a thousandfold speed"])
async def test_a_clock_of_the_emulator_that_is_changed_breaks_no_client(moved: str) -> None:
    async with Emulator(machines=2) as emulator, VCloud(**emulator.endpoints()) as cloud:
        await use_everything(emulator, cloud)
        if moved == "a thousandfold speed":
            emulator.clock.speed = 1000.0
        else:
            emulator.clock.advance(MONTH.total_seconds() * (1 if "month" in moved else 120))
        before = emulator.clock.now()
        for _ in range(3):
            await use_everything(emulator, cloud)
        async with VCloud(**emulator.endpoints()) as another:
            await use_everything(emulator, another)
        assert emulator.clock.now() > before
        refused = [call.path for call in emulator.calls if call.status == 401]
        # The service ended the token by its own clock.
        assert all(path.startswith("/api/v1") for path in refused), refused
        assert len(refused) <= 1
        assert logins(emulator) <= 3


async def test_dates_and_signatures_follow_the_real_time_while_the_emulators_clock_is_changed() -> (
    None
):
    async with Emulator(machines=1) as emulator:
        emulator.clock.advance(12 * MONTH.total_seconds())
        emulator.clock.speed = 1000.0
        async with aiohttp.ClientSession() as http, http.get(f"{emulator.url}/nowhere") as answer:
            date = parsedate_to_datetime(answer.headers["Date"])
        assert abs(date - datetime.now(UTC)) < timedelta(seconds=60)
        frozen = datetime(2031, 5, 1, tzinfo=UTC)
        async with VCloud(**emulator.endpoints()) as cloud:
            with time_machine.travel(frozen, tick=False):
                assert len(await cloud.computers.machines.list().all()) == 1
                async with (
                    aiohttp.ClientSession() as http,
                    http.get(f"{emulator.url}/nowhere") as answer,
                ):
                    assert parsedate_to_datetime(answer.headers["Date"]) == frozen
        assert [call.status for call in emulator.calls if "machines" in call.path] == [200]


def test_an_emulator_in_another_process_can_be_set_to_a_frozen_time() -> None:
    """A client corrects for a day at most, so the test sets the service's clock as well."""
    command = [sys.executable, "-m", "vcloud.emulator", "--port", "0", "--machines", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            env: dict[str, str] = {}
            for line in server.stdout:
                if found := re.search(r"(VCLOUD_COMPUTERS_\w+)=(\S+)", line):
                    env[found[1]] = found[2].strip("'\"")
                if len(env) == 3:
                    break
            frozen = datetime(2031, 5, 1, tzinfo=UTC)

            async def count() -> int:
                async with VCloud.from_env(env) as cloud:
                    return len(await cloud.computers.machines.list().all())

            with time_machine.travel(frozen, tick=False):
                with pytest.raises(AuthenticationError, match="set this machine's clock"):
                    asyncio.run(count())
            url = env["VCLOUD_COMPUTERS_URL"].partition("/organization-management")[0]
            offset = (frozen - datetime.now(UTC)).total_seconds()
            body = json.dumps({"offset": offset}).encode()
            clock_request = urllib.request.Request(
                f"{url}/_emulator/clock", body, {"Content-Type": "application/json"}
            )
            urllib.request.urlopen(clock_request).close()
            with time_machine.travel(frozen, tick=False):
                assert asyncio.run(count()) == 2
        finally:
            server.terminate()
            server.wait(10)
