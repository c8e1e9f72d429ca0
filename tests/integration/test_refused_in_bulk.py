"""Bulk runs whose credentials are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.refused_calls import WRONG, Later, client, refused
from tests.seeded import SEED
from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    Bulk,
    Endpoint,
    Outcome,
    OutcomeStatus,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Clock, Emulator


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(
        machines=3, clock=Clock.stopped(), rate_limits=False, seed=SEED
    ) as emulator:
        yield emulator


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.mark.parametrize("kind", WRONG)
async def test_a_bulk_run_of_one_client_ends_when_its_credentials_are_refused(
    kind: str, emulator: Emulator, tmp_path: Path
) -> None:
    api, auth, call = WRONG[kind]
    async with client(emulator, auth(), api) as cloud:
        run = cloud.bulk(
            range(500), lambda _: call(cloud), concurrency=5, journal=tmp_path / "journal"
        )
        outcomes = await collect(run)
    assert len(emulator.calls) <= 5
    assert len(outcomes) < 20
    totals = run.totals
    assert totals.failed == sum(outcome.status is OutcomeStatus.FAILED for outcome in outcomes) > 0
    assert totals.undone == 500 - totals.failed
    assert totals.stopped == "credentials"
    unsent = [outcome for outcome in outcomes if outcome.status is OutcomeStatus.UNDONE]
    assert unsent
    for outcome in unsent:
        assert isinstance(outcome.error, AuthenticationError)
        assert outcome.error.remembered
        assert outcome.attempts == 0


async def test_a_bulk_run_over_several_clients_goes_on_with_the_others(emulator: Emulator) -> None:
    known = emulator.endpoints()
    ends: dict[str, Any] = {
        **known,
        "desktops": Endpoint(known["desktops"].base_url, auth=APIKeyAuth("wrong")),
    }
    async with VCloud(**ends) as cloud:

        async def act(number: int) -> object:
            if number % 2:
                return await cloud.computers.machines.get("100")
            return await cloud.desktops.launch()

        run = cloud.bulk(range(100), act, concurrency=4)
        outcomes = await collect(run)
    by_status = {
        status: {outcome.item % 2 for outcome in outcomes if outcome.status is status}
        for status in OutcomeStatus
    }
    assert by_status[OutcomeStatus.DONE] == {1}
    assert by_status[OutcomeStatus.FAILED] == by_status[OutcomeStatus.UNDONE] == {0}
    assert run.totals.done == 50
    assert run.totals.failed <= 4
    assert run.totals.stopped is None
    assert sum(call.status == 401 for call in emulator.calls) == run.totals.failed


async def test_an_item_that_sent_something_before_the_refusal_has_failed(
    emulator: Emulator,
) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        async with client(emulator, APIKeyAuth("wrong"), "desktops") as wrong:
            await refused(wrong.desktops.launch())

            async def after_another(_: int) -> object:
                await cloud.computers.machines.get("100")
                return await wrong.desktops.launch()

            async def in_a_group(_: int) -> object:
                async with asyncio.TaskGroup() as group:
                    return group.create_task(_started(wrong))

            async def with_words_of_its_own(_: int) -> object:
                try:
                    return await wrong.desktops.launch()
                except VCloudError as error:
                    raise RuntimeError("mine") from error

            sent = await collect(cloud.bulk([1], after_another))
            unsent = [
                outcome
                for act in (in_a_group, with_words_of_its_own)
                for outcome in await collect(cloud.bulk([1], act))
            ]
    assert [outcome.status for outcome in sent] == [OutcomeStatus.FAILED]
    assert [outcome.status for outcome in unsent] == [OutcomeStatus.UNDONE] * 2


async def collect(run: Bulk[Any, Any]) -> list[Outcome[Any, Any]]:
    async with run:
        return [outcome async for outcome in run]


async def _started(cloud: VCloud) -> object:
    return await cloud.desktops.launch()
