"""Fixtures that several files of this folder use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.keeping import Service
from tests.integration.silent_peers import Resolver
from tests.secrets.tls import server_context


@pytest.fixture(params=[False, True], ids=["TCP", "TLS"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service in threads that does to its kept connections what a test says."""
    context = server_context("127.0.0.1") if request.param else None
    with Service(context).serving() as running:
        yield running


@pytest.fixture
def plain() -> Iterator[Service]:
    """The same over TCP only."""
    with Service().serving() as running:
        yield running


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    """Names below ``.example`` are not resolved until a test says so, or ends."""
    made = Resolver(monkeypatch)
    yield made
    made.answers.set()
