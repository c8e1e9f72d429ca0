"""Other users of this machine get no token of a file, and put none there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.strangers import NOBODY, require_root, run_as_nobody
from tests.unit.auth_service import NOW, Service, bearer
from vcloud import BearerAuth, ConfigurationError, FileTokenStore

ROOT = Path(__file__).parents[2]
#: Imports as root, who may own the interpreter and its packages, and then runs as another user.
AS_NOBODY = """
import asyncio, concurrent.futures.thread, encodings.ascii, os, sys
from tests.hostile.test_token_store_other_users import (
    ConfigurationError, FileTokenStore, Service, use)
user, path = int(sys.argv[1]), sys.argv[2]
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)

async def main():
    service, store = Service(), FileTokenStore(path)
    print(await use(store, service), await use(store, service))

try:
    asyncio.run(main())
except ConfigurationError as error:
    print(error)
"""
URL = "https://desktops.example/api/v1"


@pytest.fixture
def path() -> Iterator[Path]:
    """A file in a folder like /tmp."""
    require_root()
    # Not in pytest's folder, which others may not enter.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder, "tokens.json")


async def use(store: Path | FileTokenStore, service: Service | None = None) -> str:
    auth = BearerAuth.login("admin", "hunter2", store=store).for_base_url(URL)
    await auth.acquire(service or Service(), now=NOW)
    return bearer(auth)


async def test_another_user_can_neither_read_nor_replace_nor_lock_it(path: Path) -> None:
    await use(path)
    lock = path.with_name("tokens.json.lock")
    for command in (
        ("cat", path),
        ("mv", path, path.with_name("mine")),
        ("rm", "-f", path),
        ("flock", "-n", lock, "true"),
    ):
        assert run_as_nobody(*command).returncode != 0, command
    assert await use(path) == "Bearer tok-1"


@pytest.mark.parametrize("name", ["tokens.json", "tokens.json.lock", "tokens.json.new"])
@pytest.mark.parametrize("mode", [0o600, 0o666])
async def test_a_file_of_another_user_is_never_used(path: Path, name: str, mode: int) -> None:
    planted = path.with_name(name)
    planted.write_bytes(b'{"vcloud_tokens":1,"tokens":{}}')
    planted.chmod(mode)
    os.chown(planted, NOBODY, NOBODY)
    if name.endswith(".new"):
        # Root may remove it. For others it is a file that cannot be written.
        assert await use(path) == "Bearer tok-1"
        return
    with pytest.raises(ConfigurationError, match=rf"belongs to another user \(uid {NOBODY}; "):
        await use(path)


async def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    os.chown(path.parent, NOBODY, NOBODY)
    with pytest.raises(ConfigurationError, match=r"belongs to another user .* may replace the"):
        await use(path)


@pytest.mark.parametrize("planted", ["", "tokens.json", "tokens.json.new"])
def test_a_user_without_rights_shares_tokens_only_in_files_of_its_own(
    path: Path, planted: str
) -> None:
    """Root's files are as foreign to it as those of others."""
    if planted:
        path.with_name(planted).write_bytes(b"")
        path.with_name(planted).chmod(0o666)
    command = [sys.executable, "-c", AS_NOBODY, str(NOBODY), str(path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    said = {
        "": "Bearer tok-1 Bearer tok-1",
        "tokens.json": "belongs to another user (uid 0; this process has uid 65534)",
        # It cannot be removed from a folder with the sticky bit, so nothing is shared.
        "tokens.json.new": "Bearer tok-1 Bearer tok-2",
    }
    assert said[planted] in done.stdout
    assert done.stderr.count("the token store") == (planted == "tokens.json.new")
