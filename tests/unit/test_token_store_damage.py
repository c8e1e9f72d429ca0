"""Tokens in a file that is damaged, foreign or full, and logins that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.auth_service import NOW, Service
from tests.unit.token_files import (
    content,
    of,
    process,
    token_of,
    written,
)
from vcloud import (
    FileTokenStore,
)
from vcloud.auth.token_store import token_file
from vcloud.auth.token_store.records import Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


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
