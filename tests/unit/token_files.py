"""What the tests of tokens in files share."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from tests.unit.auth_service import NOW, Service, bearer, refusal
from vcloud import (
    BearerAuth,
    Request,
    TokenStore,
)

URL = "https://desktops.example/api/v1"


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
