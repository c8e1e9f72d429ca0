"""Fixtures and hooks for all tests."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Iterator

import pytest

from vcloud._core.connections import aiohttp_compat

# A shell's background job ignores Ctrl-C, and so would all programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Seconds after a test's timeout in which it must have ended.
GRACE = 60.0
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr, which is captured while a test runs."""
    config.stash[_STDERR] = os.dup(2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name has an address: each process of a run would know another one."""
    named = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if named:
        msg = f"give these parameters ids, because their reprs differ in each process: {named}"
        raise pytest.UsageError(msg)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process of a test that its timeout could not end, and print where it stands.

    The exception of pytest-timeout is lost if its signal arrives in a callback of an event loop.
    Without this the run would hang for ever. xdist reports the test, and goes on without it.
    """
    marker = item.get_closest_marker("timeout")
    allowed = float(marker.args[0] if marker else item.config.getini("timeout"))
    stderr = item.config.stash[_STDERR]
    faulthandler.dump_traceback_later(allowed + GRACE, exit=True, file=stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(params=["with private parts of aiohttp", "without private parts of aiohttp"])
def aiohttp_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test twice: as aiohttp is, and as if it had renamed its private parts."""
    way: str = request.param
    if way.startswith("without"):
        monkeypatch.setattr(aiohttp_compat, "_REQUEST", None)
        monkeypatch.setattr(aiohttp_compat, "private", lambda owner, name: None)
    return way
