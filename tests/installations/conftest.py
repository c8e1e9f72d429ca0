"""Each test here runs against the emulator, and against a published server, if one is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.installations.places import Place, opened
from tests.x11.conftest import temporary

__all__ = ["place", "temporary"]


@pytest.fixture(params=["emulator", "server"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with opened(request.param) as place:
        yield place
