"""Tokens in a file: what is stored, what is refused, and what is survived."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pickle
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from tests.unit.auth_service import NOW, SECRETS, Service, bearer, refusal
from vcloud import (
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    FileTokenStore,
    RedisTokenStore,
    Request,
    TokenStore,
    VCloud,
)
from vcloud._core.client import session_of
from vcloud.auth.token_store import token_file
from vcloud.auth.token_store.login_lock import LoginLock
from vcloud.auth.token_store.records import Record

URL = "https://desktops.example/api/v1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def process(
    store: TokenStore | str | os.PathLike[str], password: str = "hunter2", url: str = URL
) -> BearerAuth:
    """The strategy of one of the processes."""
    return BearerAuth.login("admin", password, store=store).for_base_url(url)


async def token_of(auth: BearerAuth, service: Service) -> str:
    await auth.acquire(service, now=NOW)
    return bearer(auth)


def refuse(auth: BearerAuth) -> None:
    sent = auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")
    assert auth.refused(refusal(NOW), sent, now=NOW)


def written(path: Path, data: bytes) -> Path:
    """The path, with a file of this content that is this user's alone."""
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def of(path: Path) -> str:
    return path.read_text()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def of_another_boot(path: Path) -> None:
    """Let the file be of another boot of the machine, so that the time of day counts."""
    written(path, path.read_bytes().replace(b'"boot":"', b'"boot":"other-'))


# -- one login for all -----------------------------------------------------------------------------


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
    assert content(path)["tokens"] == {}


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


async def test_nothing_shows_a_password_or_a_token(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = FileTokenStore(path)
    auth = process(store)
    await token_of(auth, Service())
    held = vars(auth)
    shown = f"{auth!r} {store!r} {held!r} {vars(store)!r} {caplog.text}"
    record = Record("tok-1", "salt", "hunter2")
    shown += f"{record!r} {record.__rich_repr__()}"
    assert not any(secret in shown for secret in (*SECRETS, "tok-1"))
    assert repr(store) == f"FileTokenStore({str(path)!r})"
    assert "hunter2" not in str(content(path))
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(auth)


def variables(error: BaseException) -> str:
    """What the frames of the SDK show that an error and its causes passed."""
    shown, link = "", error
    while True:
        shown += "".join(
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(link.__traceback__)
            if "/vcloud/" in frame.f_code.co_filename
        )
        if (inner := link.__cause__ or link.__context__) is None:
            return shown
        link = inner


@pytest.mark.parametrize("how", ["cancelled", "refused", "readable"])
async def test_no_frame_of_an_error_shows_a_password_or_a_token(path: Path, how: str) -> None:
    service = Service()
    first = process(path)
    await token_of(first, service)
    refuse(first)
    service.gate.clear()
    task = asyncio.create_task(first.acquire(service, now=NOW))
    await asyncio.sleep(0.3)
    if how == "cancelled":
        task.cancel()
    elif how == "refused":
        service.failure = AuthenticationError("no", status=401)
    else:
        os.chmod(path, 0o644)  # noqa: PTH101
    service.gate.set()
    with pytest.raises((ConfigurationError, AuthenticationError, asyncio.CancelledError)) as caught:
        await task
    shown = variables(caught.value)
    assert not any(secret in shown for secret in (*SECRETS, "tok-1", "tok-2"))


# -- files that others can reach -------------------------------------------------------------------


def link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def readable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o640)


def folder(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def open_folder(path: Path) -> None:
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (link, "is a symbolic link, .* pass the path of its target"),
        (readable, r"other users may use .* \(its mode is 0640\).* `rm .*tokens.json`"),
        (folder, "is a folder: pass the path of a file"),
        (fifo, "is not a regular file"),
        (open_folder, r"may write it \(its mode is 0777\): use a folder of your own, or `chmod"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
async def test_what_others_could_read_or_replace_is_refused(
    path: Path, spoil: Callable[[Path], None], said: str, late: bool
) -> None:
    made = process(path) if late else None

    async def use() -> None:
        await (made or process(path)).acquire(Service(), now=NOW)

    spoil(path)
    with pytest.raises(ConfigurationError, match=said):
        await use()


@pytest.mark.parametrize("name", ["tokens.json.lock", "tokens.json.new"])
async def test_a_link_in_place_of_another_file_is_not_followed(path: Path, name: str) -> None:
    other = path.with_name("other")
    other.write_text("the user's own")
    path.with_name(name).symlink_to(other)
    try:
        await process(path).acquire(Service(), now=NOW)
    except ConfigurationError as error:
        assert "symbolic link" in str(error)  # noqa: PT017
    assert other.read_text() == "the user's own"


def test_a_folder_with_the_sticky_bit_will_do(path: Path) -> None:
    path.parent.chmod(0o1777)
    FileTokenStore(path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "must be that of a file, not ''"),
        (".", "must be that of a file, not '.'"),
        ("nul\0", "must be that of a file"),
        (5, "must be that of a file, not 5"),
        ("/no/such/folder/file", "make it, for example with `mkdir -m 700 /no/such/folder`"),
        ("/" + "x" * 300, "cannot be opened: File name too long"),
    ],
)
def test_a_path_that_is_none_says_what_to_do(wrong: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FileTokenStore(wrong)
    assert said in str(caught.value)


async def test_the_umask_does_not_matter(path: Path) -> None:
    for umask in (0, 0o777):
        before = os.umask(umask)
        try:
            await token_of(process(path), Service())
        finally:
            os.umask(before)
        assert mode(path) == 0o600
        os.truncate(path, 0)


async def test_files_are_never_made_for_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, modes = os.open, list[object]()

    def recorded(*args: Any, **options: Any) -> int:
        if args[1] & os.O_CREAT:
            modes.append(args[2:])
        return make(*args, **options)

    monkeypatch.setattr(os, "open", recorded)
    await token_of(process(path), Service())
    assert len(modes) > 2
    assert set(modes) == {(0o600,)}


def test_a_system_without_flock_is_told_what_to_use() -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from vcloud import BearerAuth, ConfigurationError, FileTokenStore\n"
        "BearerAuth.login('admin', 'hunter2')\n"
        "try: FileTokenStore('x')\n"
        "except ConfigurationError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "needs flock(2), which this system lacks: use a RedisTokenStore" in run.stdout


# -- files that are damaged ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 4096,
        b'{"vcloud_tokens":1,"tok',
        b'{"vcloud_tokens":0,"jwt":"old"}',
        b'{"vcloud_tokens":2,"tokens":{}}',
        b'{"vcloud_tokens":1,"tokens":{"a":{"token":5}}}',
        b'{"vcloud_tokens":1,"tokens":' + b"[" * 100_000,
        b'{"vcloud_tokens":1,"tokens":{}}\xff',
    ],
    ids=["empty", "zeros", "cut", "older", "newer", "types", "deep", "bytes"],
)
async def test_a_damaged_file_is_replaced(path: Path, text: bytes) -> None:
    written(path, text)
    service = Service()
    assert await token_of(process(path), service) == "Bearer tok-1"
    assert await token_of(process(path), service) == "Bearer tok-1"
    assert content(path)["vcloud_tokens"] == 1


@pytest.mark.parametrize("token", ["", "line\r\nbreak", "ümlaut", "t" * 16_385])
async def test_a_stored_token_that_no_header_can_carry_is_replaced(path: Path, token: str) -> None:
    service = Service()
    await token_of(process(path), service)
    found = content(path)
    [record] = found["tokens"].values()
    record["token"] = token
    written(path, json.dumps(found, separators=(",", ":")).encode())
    assert await token_of(process(path), service) == "Bearer tok-2"


async def test_the_file_of_another_program_is_left_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(path, b"the user's own")
    service, store = Service(), FileTokenStore(path)
    for number in (1, 2, 3):
        assert await token_of(process(store), service) == f"Bearer tok-{number}"
    assert of(path) == "the user's own"
    [warning] = caplog.records
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == (
        f"the token store {path} fails (it is not the file of a token store: remove it, or use "
        "another): until it works, this process logs in by itself"
    )


async def test_a_full_disk_costs_a_login_and_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "vcloud.auth")
    service, store = Service(), FileTokenStore(path)

    def full(*args: object) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert await token_of(process(store), service) == "Bearer tok-1"
        assert await token_of(process(store), service) == "Bearer tok-2"
    assert await token_of(process(store), service) == "Bearer tok-3"
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "No space left on device" in caplog.text


async def test_a_login_that_was_cancelled_leaves_no_lock(path: Path) -> None:
    service = Service()
    service.gate.clear()
    task = asyncio.create_task(process(path).acquire(service, now=NOW))
    await asyncio.sleep(0.5)
    assert service.logins == 1
    assert len(list(path.parent.glob("tokens.json.*.lock"))) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(path.parent.glob("tokens.json.*.lock"))
    service.gate.set()
    assert await token_of(process(path), service) == "Bearer tok-2"


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 20, 100])
async def test_a_caller_may_be_cancelled_at_any_time(path: Path, turns: int) -> None:
    before = asyncio.all_tasks()
    for auth in (process(path), process(path)):
        acquiring = asyncio.create_task(auth.acquire(Service(), now=NOW))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        acquiring.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acquiring
        assert not list(path.parent.glob("tokens.json.*.lock"))
    assert (await token_of(process(path), Service())).startswith("Bearer tok-")
    assert asyncio.all_tasks() == before


async def test_a_thousand_tokens_are_kept_and_the_oldest_go(path: Path) -> None:
    file = token_file.TokenFile(path)
    record = token_file.stamped(Record("tok", "salt", "check"))
    file.replace({str(number): record for number in range(1_200)})
    kept = list(token_file.TokenFile(path).load())
    assert (kept[0], kept[-1], len(kept)) == ("200", "1199", token_file.MAX_TOKENS)


async def test_tokens_that_have_ended_are_not_kept(path: Path) -> None:
    await token_of(process(path, url="https://short.example"), Service(life=timedelta(seconds=0.5)))
    await asyncio.sleep(0.6)
    await token_of(process(path), Service())
    assert len(content(path)["tokens"]) == 1
