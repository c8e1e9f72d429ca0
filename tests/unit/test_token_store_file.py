"""Tokens in a file: one login for all, and tokens and passwords that end."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from tests.unit.auth_service import NOW, Service
from tests.unit.token_files import (
    URL,
    content,
    of_another_boot,
    process,
    refuse,
    token_of,
)
from vcloud import (
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    FileTokenStore,
    RedisTokenStore,
    VCloud,
)
from vcloud._core.client import session_of
from vcloud.auth.token_store import token_file
from vcloud.auth.token_store.login_lock import LoginLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


# -- one login for all -----------------------------------------------------------------------------


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass between processes, however busy the machine is."""
    monkeypatch.setattr(token_file, "boottime", lambda: 1000.0)


@pytest.mark.usefixtures("still")
async def test_the_second_process_uses_the_token_of_the_first(path: Path) -> None:
    service = Service()
    first, second = process(FileTokenStore(path)), process(FileTokenStore(path))
    assert await token_of(first, service) == await token_of(second, service) == "Bearer tok-1"
    assert second.expires_at == first.expires_at
    assert second.ready(NOW + 86_400 - 61)
    assert not second.ready(NOW + 86_400 - 59)


async def test_strategies_that_log_in_at_once_in_one_process_log_in_once(path: Path) -> None:
    service, store = Service(), FileTokenStore(path)
    service.gate.clear()
    some = [process(store) for _ in range(20)]
    tasks = [asyncio.create_task(token_of(one, service)) for one in some]
    await asyncio.sleep(0.3)
    service.gate.set()
    assert set(await asyncio.gather(*tasks)) == {"Bearer tok-1"}
    assert service.logins == 1


async def test_a_token_that_came_while_the_lock_was_taken_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process logs in between the look at the file and the lock."""
    service, take = Service(), LoginLock.try_take
    await token_of(process(path), service)
    there = path.with_name("there")

    def take_late(lock: LoginLock) -> bool:
        there.rename(path)
        return take(lock)

    os.replace(path, there)  # noqa: PTH105

    monkeypatch.setattr(LoginLock, "try_take", take_late)
    assert await token_of(process(path), service) == "Bearer tok-1"


def test_event_loops_and_threads_share_one_store(path: Path) -> None:
    service, store = Service(), FileTokenStore(path)

    def run() -> str:
        return asyncio.run(token_of(process(store), service))

    async def several() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(run) for _ in range(4)))

    assert asyncio.run(several()) == ["Bearer tok-1"] * 4


@pytest.mark.parametrize("given", [str, Path])
async def test_a_path_alone_is_a_file(path: Path, given: type[str | Path]) -> None:
    await token_of(process(given(path)), Service())
    assert content(path)


def test_what_is_no_store_says_what_is_one(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must be FileTokenStore\(path\), .* not bytes"):
        process(os.fsencode(path))  # type: ignore[arg-type]


def test_an_address_alone_is_a_redis() -> None:
    auth = BearerAuth.login("admin", "hunter2", store="redis://:hunter2@localhost:1")
    assert "hunter2" not in repr(vars(auth))
    assert isinstance(vars(auth)["_store"], RedisTokenStore)


def test_the_environment_names_a_store(path: Path) -> None:
    given = {
        "VCLOUD_STREAMSPACE_URL": URL,
        "VCLOUD_STREAMSPACE_USERNAME": "admin",
        "VCLOUD_STREAMSPACE_PASSWORD": "hunter2",
    }
    cloud = VCloud.from_env({**given, "VCLOUD_STREAMSPACE_TOKEN_STORE": str(path)})
    store = vars(session_of(cloud.streamspace).auth)["_store"]
    assert isinstance(store, FileTokenStore)
    assert store.path == path
    with pytest.raises(ConfigurationError, match="mkdir .* VCLOUD_STREAMSPACE_TOKEN_STORE"):
        VCloud.from_env({**given, "VCLOUD_STREAMSPACE_TOKEN_STORE": "/no/folder/file"})


async def test_a_home_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FileTokenStore("~/tokens.json").path == tmp_path / "tokens.json"


async def test_base_urls_users_and_paths_have_tokens_of_their_own(path: Path) -> None:
    service, store = Service(), FileTokenStore(path)
    some = [
        process(store),
        process(store, url="https://other.example/api/v1"),
        BearerAuth.login("other", "hunter2", store=store).for_base_url(URL),
    ]
    for auth in some:
        await token_of(auth, service)
    assert service.logins == 3
    assert len(content(path)["tokens"]) == 3


# -- tokens that end -------------------------------------------------------------------------------


async def test_a_token_that_ends_within_a_minute_is_replaced_once(path: Path) -> None:
    service = Service(life=timedelta(seconds=1000))
    await token_of(process(path), service)
    with time_machine.travel(time.time() + 939, tick=False):
        of_another_boot(path)
        assert await token_of(process(path), service) == "Bearer tok-1"
    with time_machine.travel(time.time() + 941, tick=False):
        assert await token_of(process(path), service) == "Bearer tok-2"
        assert await token_of(process(path), service) == "Bearer tok-2"


async def test_the_time_since_the_boot_counts_not_the_time_of_day(path: Path) -> None:
    service = Service()
    await token_of(process(path), service)
    for jump in (-1e9, 1e9):
        with time_machine.travel(time.time() + jump, tick=False):
            assert await token_of(process(path), service) == "Bearer tok-1"


async def test_a_token_without_an_end_is_shared_until_it_is_refused(path: Path) -> None:
    service = Service(life=timedelta(seconds=-5))
    first, second = process(path), process(path)
    assert await token_of(first, service) == await token_of(second, service) == "Bearer tok-1"
    refuse(first)
    assert await token_of(first, service) == "Bearer tok-2"
    assert await token_of(process(path), service) == "Bearer tok-2"


async def test_a_refused_token_is_removed_and_a_newer_one_is_kept(path: Path) -> None:
    service = Service()
    first, second = process(path), process(path)
    await token_of(first, service)
    await token_of(second, service)
    refuse(first)
    assert await token_of(first, service) == "Bearer tok-2"
    refuse(second)
    assert await token_of(second, service) == "Bearer tok-2", "the newer one was not dropped"
    assert service.logins == 2


async def test_a_refused_token_is_gone_for_all_even_if_the_login_fails(path: Path) -> None:
    service = Service()
    auth = process(path)
    await token_of(auth, service)
    refuse(auth)
    service.failure = AuthenticationError("no", status=401)
    with pytest.raises(AuthenticationError):
        await auth.acquire(service, now=NOW)
    [left] = content(path)["tokens"].values()
    assert left["token"] == "refused", "and that is no token"
    assert left["refusal"] == {"message": "no", "status": 401}


async def test_a_token_that_was_adopted_or_forgotten_is_shared(path: Path) -> None:
    service = Service()
    first, second = process(path), process(path)
    first.adopt("tok-adopted", None, now=NOW)
    await first.share(now=NOW)
    assert await token_of(second, service) == "Bearer tok-adopted"
    second.forget()
    await second.share(now=NOW)
    assert content(path)["tokens"] == {}
    assert await token_of(second, service) == "Bearer tok-1"


@pytest.mark.usefixtures("still")
async def test_what_is_shared_of_a_token_in_use_is_what_is_left_of_its_life(path: Path) -> None:
    auth = process(path)
    await token_of(auth, Service(life=timedelta(seconds=1000)))
    await auth.share(now=NOW + 900)
    other = process(path)
    await token_of(other, Service())
    assert other.ready(NOW + 39)
    assert not other.ready(NOW + 41)


# -- passwords -------------------------------------------------------------------------------------


async def test_another_password_gets_no_token(path: Path) -> None:
    service = Service()
    await token_of(process(path), service)
    service.failure = AuthenticationError("Invalid username or password", status=401)
    with pytest.raises(AuthenticationError):
        await process(path, "hunter3").acquire(service, now=NOW)
    assert await token_of(process(path), service) == "Bearer tok-1"


async def test_a_new_password_replaces_the_token_of_the_old_one(path: Path) -> None:
    service = Service()
    await token_of(process(path), service)
    assert await token_of(process(path, "hunter3"), service) == "Bearer tok-2"
    assert await token_of(process(path, "hunter3"), service) == "Bearer tok-2"
