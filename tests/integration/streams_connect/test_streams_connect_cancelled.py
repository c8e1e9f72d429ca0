"""``stream.connect`` that is cancelled at any moment leaves no machine running, or names it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.streams_connect.deployment import (
    EARLY,
    OLDER,
    POLL,
    STREAM,
    WAITS,
    Deployment,
    Exchange,
    do,
    early,
    every_kind,
    exchange,
    intercept,
    left_in_exchange,
    sent,
    set_capacity,
    statuses,
    until,
)
from vcloud import (
    CleanupError,
    ConnectError,
    Response,
    TransportError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    StreamRef,
    VagonStreams,
)

#: The requests of a connect that starts a machine, which is available at the second poll.
STEPS = {
    WAITS: ("/1381/machines", "/start-machine", "/assign-machine", "/machines/", "/assign-machine"),
    OLDER: (
        "/1381/machines",
        "/start-machine",
        "/assign-machine",
        "/1381/machines",
        "/machines/",
        "/assign-machine",
    ),
    EARLY: ("/1381/machines", "/start-machine", "/assign-machine"),
}


async def cancelled_at(
    step: int,
    monkeypatch: pytest.MonkeyPatch,
    connect: Callable[[], Awaitable[object]],
    *,
    answered: bool,
    then: Callable[[int], None] = lambda number: None,
    raises: type[BaseException] = asyncio.CancelledError,
) -> list[str]:
    """Cancel as a request is sent or answered; the URLs until then, in order."""
    asked: list[str] = []

    async def watched(through: Exchange, method: str, url: str, *rest: Any) -> Response:
        asked.append(url)
        number = len(asked) - 1
        if number == step and not answered:
            task.cancel()
        answer = await through(method, url, *rest)
        if number == step and answered:
            task.cancel()
        then(number)
        return answer

    intercept(monkeypatch, watched)
    task = asyncio.ensure_future(connect())
    with pytest.raises(raises):
        await task
    return asked


when_cancelled = pytest.mark.parametrize(
    "answered", [False, True], ids=["as it is sent", "as it is answered"]
)


@pytest.mark.parametrize(
    ("kind", "step"), [(kind, step) for kind, steps in STEPS.items() for step in range(len(steps))]
)
@when_cancelled
async def test_connect_cancelled_at_any_request_leaves_no_machine_running(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    kind: str,
    step: int,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = len(STEPS[kind])
    asked = await cancelled_at(
        step,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=answered,
        then=lambda number: emulator.clock.advance(15) if number == last - 3 else None,
    )
    assert len(asked) > step
    assert all(part in url for part, url in zip(STEPS[kind][: step + 1], asked, strict=False))
    assert set(statuses(emulator)) <= {"terminated"}
    assert len(emulator.streams.machines) == sent(emulator, "POST", "/stop-machine") <= 1


#: The same if there is no capacity at first.
FULL = ("/1381/machines", "/start-machine", *STEPS[WAITS])


@pytest.mark.parametrize("step", range(len(FULL)))
@when_cancelled
async def test_connect_that_waited_for_capacity_leaves_no_machine_running_if_cancelled(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    step: int,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def then(number: int) -> None:
        if number == 1:
            set_capacity(emulator, 1)
        if number == 4:
            emulator.clock.advance(15)

    set_capacity(emulator, 0)
    asked = await cancelled_at(
        step,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=answered,
        then=then,
    )
    assert len(asked) > step
    assert all(part in url for part, url in zip(FULL[: step + 1], asked, strict=False))
    assert set(statuses(emulator)) <= {"terminated"}
    assert len(emulator.streams.machines) == sent(emulator, "POST", "/stop-machine") <= 1


@early
@when_cancelled
async def test_connect_cancelled_while_it_takes_an_exchanged_machine_stops_that_machine(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exchange(emulator)
    await cancelled_at(
        2, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert statuses(emulator) == ["connected", "terminated"]


@when_cancelled
async def test_connect_cancelled_while_it_asks_for_a_machine_left_over_stops_that_machine(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    deployment: Deployment,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left_in_exchange(emulator, deployment)
    asked = await cancelled_at(
        4, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert asked[4].endswith("/assign-machine")
    assert statuses(emulator) == ["connected", "terminated"]


@when_cancelled
async def test_connect_cancelled_after_another_machine_was_assigned_stops_both(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    answered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    await cancelled_at(
        2, monkeypatch, lambda: stream.connect("dublin", poll=POLL), answered=answered
    )
    assert statuses(emulator) == ["terminated", "terminated"]


async def test_a_machine_that_cannot_be_stopped_does_not_keep_others_running(
    emulator: Emulator,
    client: VagonStreams,
    stream: StreamRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator.faults.add(
        "POST *start-machine", do(lambda: emulator.streams.add_machine(1381, status="available"))
    )
    emulator.faults.add("POST *stop-machine", Fault.reply(500, b"broken"))
    await cancelled_at(
        2,
        monkeypatch,
        lambda: stream.connect("dublin", poll=POLL),
        answered=True,
        raises=CleanupError,
    )
    assert statuses(emulator) == ["terminated", "assigned"]


@every_kind
async def test_a_start_whose_answer_was_lost_says_that_its_outcome_is_unknown(
    emulator: Emulator, stream: StreamRef
) -> None:
    emulator.faults.add("POST *start-machine", Fault.reset_after())
    with pytest.raises(TransportError) as error:
        await stream.connect("dublin", poll=POLL)
    assert error.value.outcome_unknown
    assert sent(emulator, "POST", "/start-machine") == 1


async def test_a_start_that_fails_after_its_cancellation_is_named(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel(answer: dict[str, Any]) -> dict[str, Any]:
        task.cancel()
        return answer

    emulator.faults.add("POST *start-machine", Fault.edit(cancel, status=500))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError, match="may still run in stream 1381") as error:
        await task
    assert error.value.outcome_unknown


async def test_connect_cancelled_between_two_polls_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    task = asyncio.create_task(stream.connect("dublin", poll=60))
    await until(lambda: sent(emulator, "POST", "/start-machine") == 1)
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_twice_stops_its_machine(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel() -> None:
        task.cancel()

    emulator.faults.add("POST *start-machine", do(cancel))
    emulator.faults.add("POST *stop-machine", do(cancel))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert statuses(emulator) == ["terminated"]


async def test_connect_cancelled_while_it_assigns_a_machine_it_did_not_start_stops_nothing(
    emulator: Emulator, stream: StreamRef
) -> None:
    def cancel() -> None:
        task.cancel()

    emulator.streams.add_machine(1381, status="available")
    emulator.faults.add("POST *assign-machine", do(cancel))
    task = asyncio.create_task(stream.connect("dublin", poll=POLL))
    with pytest.raises(CleanupError, match="was assigned for this call") as error:
        await task
    assert error.value.ids == tuple(map(str, emulator.streams.machines))
    assert sent(emulator, "POST", "/stop-machine") == 0


@pytest.mark.parametrize("unknown", [True, False])
async def test_connect_cancelled_while_it_starts_names_a_machine_that_may_have_been_started(
    emulator: Emulator, client: VagonStreams, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_to_start(through: Exchange, method: str, url: str, *rest: Any) -> Response:
        if not url.endswith("/start-machine"):
            return await through(method, url, *rest)
        task.cancel()
        await asyncio.sleep(0.01)
        raise TransportError("reset") if unknown else ConnectError("refused")

    intercept(monkeypatch, fail_to_start)
    task = asyncio.create_task(client.streams.ref(STREAM).connect("dublin", poll=POLL))
    with pytest.raises(CleanupError if unknown else asyncio.CancelledError) as caught:
        await task
    assert ("may still run" in str(caught.value)) is unknown
