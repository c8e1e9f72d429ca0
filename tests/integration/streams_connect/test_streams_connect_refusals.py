"""``stream.connect`` where the service refuses to start or to assign a machine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.streams_connect.deployment import (
    OLDER,
    POLL,
    STREAM,
    Deployment,
    boot,
    do,
    early,
    every_kind,
    sent,
    statuses,
    unless_early,
)
from vcloud import (
    ConflictError,
    NotFoundError,
    ServerError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    StreamRef,
)


@every_kind
async def test_connect_starts_nothing_for_a_visitor_who_is_not_known(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    emulator.streams.add_machine(1381, status="available")
    with pytest.raises(NotFoundError, match="User not found"):
        await stream.connect("dublin", "NOBODY", poll=60)
    assert (deployment.asked, statuses(emulator)) == (1, ["available"])
    assert sent(emulator, "POST", "/start-machine") == 0


async def test_connect_ends_with_a_404_of_start(emulator: Emulator, stream: StreamRef) -> None:
    emulator.faults.add(
        "POST *start-machine", Fault.reply(404, b'{"client_code":404,"message":"gone"}'), times=None
    )
    with pytest.raises(NotFoundError, match="gone"):
        await stream.connect("dublin", poll=60)
    assert (emulator.streams.machines, sent(emulator, "POST", "/start-machine")) == ({}, 1)


async def test_a_404_of_assign_means_no_machine_if_the_list_shows_none(
    emulator: Emulator, stream: StreamRef
) -> None:
    def go(answer: dict[str, Any]) -> dict[str, Any]:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")
        return {"client_code": 404, "message": "Machine not found"}

    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add("POST *assign-machine", Fault.edit(go))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    await task
    assert statuses(emulator) == ["connected", "assigned"]


@unless_early
async def test_a_404_while_a_machine_is_available_ends_connect_and_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    with pytest.raises(NotFoundError, match="User not found"):
        await stream.connect("dublin", "NOBODY", poll=60)
    assert statuses(emulator) == ["terminated", "available"]


async def test_a_machine_that_becomes_available_right_after_a_404_is_assigned(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    deployment.kind, deployment.refused = OLDER, lambda: emulator.clock.advance(15)
    await stream.connect("dublin", poll=60)
    assert (deployment.asked, statuses(emulator)) == (2, ["assigned"])


async def test_a_poll_that_fails_after_a_404_stops_the_machine(
    emulator: Emulator, stream: StreamRef, deployment: Deployment
) -> None:
    deployment.kind = OLDER
    emulator.faults.add(
        f"GET */streams/{STREAM}/machines", Fault.reply(500, b"broken"), skip=1, times=4
    )
    with pytest.raises(ServerError):
        await stream.connect("dublin", poll=POLL)
    assert statuses(emulator) == ["terminated"]


@pytest.mark.parametrize("code", [400, 4201, 4204])
@early
async def test_connect_waits_if_a_machine_is_refused_as_not_ready_with_another_code(
    emulator: Emulator, stream: StreamRef, deployment: Deployment, code: int
) -> None:
    emulator.faults.add(
        "POST *assign-machine",
        Fault.reply(200, b'{"client_code":%d,"message":"Machine is not ready"}' % code),
    )
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    await task
    assert (deployment.asked, statuses(emulator)) == (2, ["assigned"])


@every_kind
async def test_connect_ends_with_a_refusal_of_a_machine_that_is_available(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add(
        "POST *assign-machine", Fault.reply(200, b'{"client_code":4201}'), times=None
    )
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    await boot(emulator)
    with pytest.raises(ConflictError):
        await task
    assert statuses(emulator) == ["terminated"]
