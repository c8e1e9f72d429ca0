"""Processes that share their tokens in a file: one logs in, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.token_workers import Worker, all_call, logins, until, workers
from tests.lacking import untested
from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud import BearerAuth, Endpoint, StreamSpace
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.credentials import ADMIN
from vcloud.emulator.streamspace.catalog import USER

LOGIN = "POST */auth/login"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(rate_limits=False, seed=SEED) as emulator:
        yield emulator


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def of(store: Path) -> str:
    return store.read_text()


def faketime() -> str:
    """The path of libfaketime's library, as its program sets it."""
    if shutil.which("faketime") is None:
        untested(
            "CLOCKS THAT DIFFER ARE NOT TESTED: "
            "there is no faketime (Debian: apt-get install faketime)"
        )
    say = ["faketime", "-m", "-f", "+0s", "/bin/sh", "-c", 'echo "$LD_PRELOAD"']
    return subprocess.run(say, capture_output=True, text=True, check=True).stdout.strip()


def files(store: Path) -> set[str]:
    return {one.name for one in store.parent.iterdir()}


async def stopped_login(emulator: Emulator, some: list[Worker]) -> Worker:
    """The first of the workers has begun a login, which takes a while, and is stopped in it."""
    emulator.faults.add(LOGIN, Fault.delay(1))
    some[0].begin()
    await until(lambda: logins(emulator) == 1)
    some[0].signal(signal.SIGSTOP)
    return some[0]


async def test_eight_processes_log_in_once(emulator: Emulator, store: Path) -> None:
    async with workers(emulator, store) as eight:
        assert await all_call(eight) == ["ok"] * 8
        assert logins(emulator) == 1
        assert [one.log for one in eight] == [[]] * 8
    async with workers(emulator, store, 1) as [later]:
        assert await later.call() == "ok"
    assert logins(emulator) == 1, "the token outlives the processes"


async def test_eight_processes_with_a_wrong_password_log_in_once(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, password="a wrong one") as eight:
        said = await all_call(eight)
    assert logins(emulator) == 1, "five a minute are allowed"
    assert all(one.startswith("AuthenticationError: streamspace: POST ") for one in said)
    assert sum("so nothing was sent" in one for one in said) == 7
    assert "a wrong one" not in of(store)


async def test_without_a_store_each_process_logs_in(emulator: Emulator) -> None:
    async with workers(emulator, "", 3) as three:
        assert await all_call(three) == ["ok"] * 3
    assert logins(emulator) == 3


async def test_the_file_is_for_its_owner_alone_and_shows_neither_user_nor_password(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, 2) as two:
        await all_call(two)
    assert {name: stat.S_IMODE((store.parent / name).stat().st_mode) for name in files(store)} == {
        "tokens.json": 0o600,
        "tokens.json.lock": 0o600,
    }
    text = of(store)
    assert ADMIN_PASSWORD not in text
    assert "127.0.0.1" not in text
    [record] = json.loads(text)["tokens"].values()
    assert set(record) == {
        *("token", "salt", "check", "expires_at", "life", "left", "wall", "boot", "since_boot")
    }


async def test_a_refused_token_is_dropped_for_all_and_replaced_once(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, 3) as three:
        await all_call(three)
        for ending in range(2, 4):
            emulator.streamspace.tokens.revoke_all()
            assert await all_call(three) == ["ok"] * 3
            assert logins(emulator) == ending


async def test_a_call_survives_that_the_token_of_another_process_has_ended_too(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, 2) as [first, second]:
        await all_call([first, second])
        emulator.streamspace.tokens.revoke_all()
        assert await first.call() == "ok"
        emulator.streamspace.tokens.revoke_all()
        assert await second.call() == "ok", "its token has ended, and that of the file"
    assert logins(emulator) == 3


async def test_a_process_that_is_killed_while_it_logs_in_is_replaced_by_one(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, 3) as three:
        first = await stopped_login(emulator, three)
        for one in three[1:]:
            one.begin()
        await asyncio.sleep(0.5)
        assert logins(emulator) == 1, "the others wait for it"
        first.signal(signal.SIGKILL)
        assert [await one.outcome() for one in three[1:]] == ["ok"] * 2
    assert logins(emulator) == 2
    assert files(store) == {"tokens.json", "tokens.json.lock"}


async def test_a_process_that_is_stopped_while_it_logs_in_is_waited_for_ten_seconds(
    emulator: Emulator, store: Path
) -> None:
    async with workers(emulator, store, 4) as four:
        first = await stopped_login(emulator, four)
        assert await all_call(four[1:]) == ["ok"] * 3
        assert logins(emulator) == 2, "one of three took the lock over"
        emulator.streamspace.tokens.revoke_all()
        assert await all_call(four[1:]) == ["ok"] * 3
        assert logins(emulator) == 3, "and nobody waits for the stopped one again"
        first.signal(signal.SIGCONT)
        assert await first.outcome() == "ok"
        assert await all_call(four) == ["ok"] * 4
    assert files(store) == {"tokens.json", "tokens.json.lock"}


async def test_a_slow_login_is_waited_for(emulator: Emulator, store: Path) -> None:
    emulator.faults.add(LOGIN, Fault.delay(12))
    async with workers(emulator, store, 2) as two:
        assert await all_call(two) == ["ok"] * 2
    assert logins(emulator) == 1


async def test_clocks_that_differ_by_years_do_not_matter_on_one_machine(
    emulator: Emulator, store: Path
) -> None:
    library = faketime()
    async with workers(emulator, store, 1) as [first]:
        await first.call()
    for when in ("+3y", "-3y"):
        # Only the clock that an administrator sets.
        fake = {"LD_PRELOAD": library, "FAKETIME": when, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        async with workers(emulator, store, 1, environment=fake) as [other]:
            assert await other.call() == "ok"
    assert logins(emulator) == 1


async def test_another_password_gets_no_token_of_the_store(emulator: Emulator, store: Path) -> None:
    async with workers(emulator, store, 1) as [first]:
        await first.call()
        async with workers(emulator, store, 1, password="a wrong one") as [other]:
            assert (await other.call()).startswith("AuthenticationError")
        assert await first.call() == "ok"
    async with workers(emulator, store, 1) as [later]:
        assert await later.call() == "ok"
    assert logins(emulator) == 2, "the refused login has not replaced the token"


async def test_each_user_and_each_base_url_has_a_token_of_its_own(
    emulator: Emulator, store: Path
) -> None:
    password = emulator.streamspace.users[USER].password
    async with workers(emulator, store, 1) as [admin]:
        await admin.call()
    async with workers(emulator, store, 1, user=USER, password=password) as [person]:
        await person.call()
    async with Emulator(seed=SEED) as second, workers(second, store, 1) as [elsewhere]:
        assert await elsewhere.call() == "ok"
        assert logins(second) == 1
    assert logins(emulator) == 2
    assert len(json.loads(of(store))["tokens"]) == 3


async def test_two_hundred_tasks_of_two_clients_log_in_once_for_each_ending(
    emulator: Emulator, store: Path
) -> None:
    """As tasks of two processes, with a call in flight while the tokens end."""
    url, outcomes = emulator.endpoints()["streamspace"].base_url, list[object]()

    async def use(client: StreamSpace) -> None:
        outcomes.append(await client.agents.stats())
        # In the middle of each of the two last parts, so that no call meets both endings.
        if len(outcomes) in {80, 160}:
            emulator.streamspace.tokens.revoke_all()

    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                StreamSpace(
                    Endpoint(
                        url,
                        auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD, store=store),
                        concurrency=10,
                    )
                )
            )
            for _ in range(2)
        ]
        for part in (40, 80, 80):
            await asyncio.gather(*(use(clients[number % 2]) for number in range(part)))
    assert len(outcomes) == 200
    assert logins(emulator) == 3


async def test_a_login_and_a_logout_of_the_users_own_are_for_all(
    emulator: Emulator, store: Path
) -> None:
    url = emulator.endpoints()["streamspace"].base_url

    def client() -> StreamSpace:
        return StreamSpace(Endpoint(url, auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD, store=store)))

    async with client() as first, client() as second:
        login = await first.login()
        assert (await second.sessions.ref("x").connect_url()).endswith(f"token={login.token}")
        renewed = await first.refresh_token()
        async with client() as third:
            assert (await third.sessions.ref("x").connect_url()).endswith(renewed.token)
            await third.logout()
        assert json.loads(of(store))["tokens"] == {}
        await second.agents.stats()
    assert logins(emulator) == 1, "the token of the second is valid still"
