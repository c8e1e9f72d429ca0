"""What the error of ``stream.connect`` says about machines that may be left running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.streams_connect.deployment import (
    POLL,
    STREAM,
    Deployment,
    Exchange,
    early,
    intercept,
    left_in_exchange,
    notes_of,
    sent,
    statuses,
)
from vcloud import (
    CleanupError,
    Endpoint,
    Response,
    TransportError,
    WaitTimeout,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    StreamRef,
    VagonStreams,
)


def slow_assignment(
    monkeypatch: pytest.MonkeyPatch, *, then: Callable[[], object], lose: bool
) -> None:
    """Hold back the answer of assign until the caller has given up, and perhaps lose it."""

    async def hold_back(through: Exchange, method: str, url: str, *rest: Any) -> Response:
        answer = await through(method, url, *rest)
        if url.endswith("/assign-machine") and b'"connection_link"' in answer.body:
            then()
            await asyncio.sleep(LONGER)
            if lose:
                raise TransportError("connection reset")
        return answer

    intercept(monkeypatch, hold_back)


#: A time limit that comes while the answer of assign is held back.
LIMIT, LONGER = 0.5, 0.6


@early
async def test_a_timeout_while_the_assignment_is_lost_names_the_machine_that_may_run(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_assignment(monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout, match="had not answered the request to assign one") as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    (machine,) = emulator.streams.machines
    assert error.value.outcome_unknown
    assert f"machine {machine} was started for this call, and may be assigned" in notes_of(
        error.value
    )
    assert "connection reset" in notes_of(error.value)
    assert statuses(emulator) == ["assigned"]


@early
async def test_a_cancellation_while_the_assignment_is_lost_names_the_machine_that_may_run(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cancel() -> None:
        task.cancel()

    slow_assignment(monkeypatch, then=cancel, lose=True)
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError) as error:
        await task
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started for this call, and may be assigned" in str(error.value)
    assert error.value.ids == (str(machine),)


@early
async def test_a_timeout_while_the_assignment_of_a_machine_left_over_is_lost_is_noted(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_in_exchange(emulator, deployment)
    slow_assignment(monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout, match="was taken by another visitor") as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    assert error.value.outcome_unknown
    assert "may have been given a machine of stream 1381" in notes_of(error.value)
    assert statuses(emulator) == ["connected", "assigned"]


async def test_a_cancellation_during_cleanup_names_the_machine_left(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel(answer: dict[str, Any]) -> dict[str, Any]:
        task.cancel()
        return {"client_code": 500, "message": "broken"}

    emulator.faults.add("POST *stop-machine", Fault.edit(cancel, status=500))
    task = asyncio.create_task(stream.connect("dublin", timeout=0.3, poll=POLL))
    with pytest.raises(CleanupError) as error:
        await task
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started" in str(error.value)
    assert error.value.ids == (str(machine),)


async def test_a_machine_that_could_not_be_stopped_is_named_and_leaves_the_outcome_unknown(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *stop-machine", Fault.reply(500, b"broken"), times=None)
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    (machine,) = emulator.streams.machines
    assert f"machine {machine} was started" in notes_of(error.value)
    assert error.value.outcome_unknown


@pytest.mark.parametrize("cleanup_timeout", [0.05])
async def test_a_cleanup_that_takes_too_long_names_the_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *stop-machine", Fault.delay(0.5))
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=0.3, poll=POLL)
    (machine,) = emulator.streams.machines
    assert f"machine {machine} may still run" in notes_of(error.value)
    assert error.value.outcome_unknown


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_machine_not_started_here_and_assigned_too_late_is_named(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    cancelled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = emulator.streams.add_machine(1381, status="available")
    slow_assignment(monkeypatch, then=lambda: task.cancel() if cancelled else None, lose=False)
    task = asyncio.create_task(stream.connect("dublin", timeout=LIMIT, poll=POLL))
    with pytest.raises(CleanupError if cancelled else WaitTimeout) as error:
        await task
    shown = str(error.value) if cancelled else notes_of(error.value)
    assert f"machine {machine.id} was assigned for this call" in shown
    assert statuses(emulator) == ["assigned"]
    if isinstance(error.value, WaitTimeout):
        assert error.value.outcome_unknown
        assert "one was available at the last poll" in str(error.value)
        assert "one was assigned as time was up" in str(error.value)


async def test_a_lost_assignment_of_a_machine_not_started_here_is_noted_after_a_timeout(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.streams.add_machine(1381, status="available")
    slow_assignment(monkeypatch, then=lambda: None, lose=True)
    with pytest.raises(WaitTimeout) as error:
        await stream.connect("dublin", timeout=LIMIT, poll=POLL)
    assert error.value.outcome_unknown
    assert "may have been given a machine of stream 1381" in notes_of(error.value)


async def test_a_queued_assignment_is_not_sent_after_the_cancellation(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.streams.add_machine(1381, status="available")
    endpoint = emulator.endpoints()["streams"]
    async with VagonStreams(
        Endpoint(endpoint.base_url, auth=endpoint.auth, concurrency=1)
    ) as client:
        ahead: list[asyncio.Task[object]] = []

        async def overtake(through: Exchange, method: str, url: str, *rest: Any) -> Response:
            if "/machines" in url:
                # It takes the only place before the assignment can.
                ahead.append(asyncio.create_task(client.applications.list().all()))
                await asyncio.sleep(0.01)
            elif "/applications" in url:
                # By then, the assignment is in line.
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.wait({task})
            return await through(method, url, *rest)

        intercept(monkeypatch, overtake)
        task = asyncio.create_task(client.streams.ref(STREAM).connect("dublin", poll=POLL))
        with pytest.raises(asyncio.CancelledError) as error:
            await task
        await asyncio.gather(*ahead)
    assert len(ahead) == 1
    assert sent(emulator, "POST", "/assign-machine") == 0
    assert not notes_of(error.value)
