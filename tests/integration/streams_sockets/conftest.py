"""A client of Vagon Streams in the emulator, whose clock stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.seeded import SEED
from vcloud._core.closing import close
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streams import (
    StreamRef,
    VagonStreams,
)
from vcloud.providers.streams.errors import SERVICE

STREAM = "1381"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(), seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[VagonStreams]:
    async with VagonStreams(emulator.endpoints()["streams"]) as client:
        yield client


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[Session]:
    """Sends requests that the client would not send."""
    endpoint = emulator.endpoints()["streams"]
    assert endpoint.base_url is not None
    transport = Transport()
    transport.open()
    session = Session(SERVICE, endpoint, endpoint.base_url, transport)
    yield session
    await close(transport, [session])


@pytest.fixture
def stream(client: VagonStreams) -> StreamRef:
    return client.streams.ref(STREAM)
