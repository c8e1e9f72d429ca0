"""A client of the emulator, and one stream of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from attrs import evolve

from tests.integration.streams_connect.deployment import (
    STREAM,
    WAITS,
    Deployment,
    intercept,
)
from vcloud import (
    RetryPolicy,
)
from vcloud.emulator import Clock, Emulator
from vcloud.providers.streams import (
    StreamRef,
    VagonStreams,
)


@pytest.fixture
def kind() -> str:
    return WAITS


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped()) as emulator:
        yield emulator


@pytest.fixture
def cleanup_timeout() -> float:
    return 25.0


@pytest.fixture
async def client(emulator: Emulator, cleanup_timeout: float) -> AsyncIterator[VagonStreams]:
    endpoint = evolve(
        emulator.endpoints()["streams"],
        retry=RetryPolicy(base=0.001),
        cleanup_timeout=cleanup_timeout,
    )
    async with VagonStreams(endpoint) as client:
        yield client


@pytest.fixture
def deployment(emulator: Emulator, kind: str, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = Deployment(emulator, kind)
    intercept(monkeypatch, deployment.exchange)
    return deployment


@pytest.fixture
def stream(client: VagonStreams, deployment: Deployment) -> StreamRef:
    return client.streams.ref(STREAM)
