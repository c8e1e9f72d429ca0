"""Real desktops for tests: an emulator that serves them, a client of it, and one desktop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.x11.machine import require_x11
from vcloud.emulator import Emulator
from vcloud.providers.desktops import Desktop, Desktops


@pytest.fixture
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where desktops have their directories. The path is short, as unix sockets require."""
    require_x11()
    path = tmp_path_factory.mktemp("x")
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(backend="x11", allow_exec=True) as emulator:
        yield emulator


@pytest.fixture
async def desktops(emulator: Emulator) -> AsyncIterator[Desktops]:
    async with Desktops(emulator.endpoints()["desktops"]) as desktops:
        yield desktops


@pytest.fixture
async def desktop(desktops: Desktops) -> AsyncIterator[Desktop]:
    async with desktops.launch(timedelta(hours=1), poll=0.01) as desktop:
        yield desktop
