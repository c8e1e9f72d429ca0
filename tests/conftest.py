"""Fixtures and hooks for all tests."""

from __future__ import annotations

import signal

import pytest

from vcloud._core.connections import aiohttp_compat

# A shell's background job ignores Ctrl-C, and so would all programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["with private parts of aiohttp", "without private parts of aiohttp"])
def aiohttp_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: as aiohttp is, and as if it had renamed its private parts."""
    way: str = request.param
    if way.startswith("without"):
        monkeypatch.setattr(aiohttp_compat, "_REQUEST", None)
        monkeypatch.setattr(aiohttp_compat, "private", lambda owner, name: None)
    return way
