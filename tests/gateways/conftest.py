"""Starts each gateway once, for the first test that uses it, before one emulator for all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.gateways.programs import PROGRAMS, Gateway, running
from tests.seeded import SEED
from vcloud.emulator import Emulator


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    # nginx calls a service by the name of its block `upstream`.
    names = ["one", "two"]
    with Emulator(rate_limits=False, balance=10**9, seed=SEED, allow_hosts=names) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def started(shared_emulator: Emulator) -> Iterator[Callable[[str], Gateway]]:
    """A function that starts the gateway of a name, unless it runs already."""
    port = urlsplit(shared_emulator.url).port
    assert port is not None
    gateways: dict[str, Gateway] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Gateway:
            if name not in gateways:
                gateways[name] = stack.enter_context(running(name, port))
            return gateways[name]

        yield start


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    """The service behind the gateways, without faults and recorded calls."""
    shared_emulator.run(shared_emulator.calls.clear)
    yield shared_emulator
    shared_emulator.faults.clear()


@pytest.fixture(params=PROGRAMS)
def gateway(
    request: pytest.FixtureRequest, emulator: Emulator, started: Callable[[str], Gateway]
) -> Gateway:
    """Each gateway in turn."""
    return started(request.param)
