"""Tokens in a file: who can read them, and what shows them."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.auth_service import NOW, SECRETS, Service
from tests.unit.token_files import (
    content,
    mode,
    process,
    refuse,
    token_of,
)
from vcloud import (
    AuthenticationError,
    ConfigurationError,
    FileTokenStore,
)
from vcloud.auth.token_store.records import Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


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
