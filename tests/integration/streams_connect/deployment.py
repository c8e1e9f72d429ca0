"""Streams as the kinds of deployment have them, and what the tests of ``stream.connect`` share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from vcloud import (
    Response,
)
from vcloud._core.transport import Transport
from vcloud.emulator import Emulator, Fault
from vcloud.providers.streams import (
    StreamRef,
)

APPLICATION, STREAM = "1143", "1381"


POLL = 0.002


#: Kinds of deployment. WAITS: assign gives machines that are available, and answers 440 if there is
#: none. OLDER: the same with 404. EARLY: assign also gives machines that are still turning on, as
#: in the document's example.
WAITS, OLDER, EARLY = "waits", "older", "early"


Exchange = Callable[..., Awaitable[Response]]


def intercept(monkeypatch: pytest.MonkeyPatch, around: Callable[..., Awaitable[Response]]) -> None:
    """Call ``around(through, method, url, *rest)`` in place of each exchange with a service."""
    through = Transport.exchange

    async def exchange(transport: Transport, *args: Any) -> Response:
        return await around(partial(through, transport), *args)

    monkeypatch.setattr(Transport, "exchange", exchange)


class Deployment:
    """Makes assign answer as one kind of deployment does, whichever of them the emulator models."""

    def __init__(self, emulator: Emulator, kind: str) -> None:
        self._emulator = emulator
        self.kind = kind
        #: Assignments that were asked for, with those that never reached the emulator.
        self.asked = 0
        #: Called when one was refused.
        self.refused: Callable[[], object] = lambda: None

    async def exchange(
        self,
        through: Exchange,
        method: str,
        url: str,
        headers: Any,
        body: bytes | None,
        *rest: Any,
    ) -> Response:
        if url.endswith("/assign-machine"):
            self.asked += 1
            if (refusal := self._prepare(url, json.loads(body or b"{}"))) is not None:
                self.refused()
                return Response(200, {}, json.dumps(refusal).encode())
        return await through(method, url, headers, body, *rest)

    def _prepare(self, url: str, body: dict[str, Any]) -> dict[str, Any] | None:
        streams, now = self._emulator.streams, self._emulator.clock.now()
        found = {"available": [], "waiting": []}  # type: dict[str, list[int]]
        for machine in streams.machines.values():
            if f"/streams/{machine.stream.id}/" in url and machine.region == body["region"]:
                found.setdefault(machine.status_at(now), []).append(machine.id)
        if found["available"]:
            return None
        if self.kind == EARLY:
            # An unknown visitor is given nothing.
            if found["waiting"] and body.get("user_id") in {None, *streams.users}:
                streams.set_status(found["waiting"][0], "available")
            return None
        code = 404 if self.kind == OLDER else 440
        return {"client_code": code, "message": "No machine is available"}


every_kind = pytest.mark.parametrize("kind", [WAITS, OLDER, EARLY])


unless_early = pytest.mark.parametrize("kind", [WAITS, OLDER])


early = pytest.mark.parametrize("kind", [EARLY])


def statuses(emulator: Emulator) -> list[str]:
    now = emulator.clock.now()
    return [machine.status_at(now) for machine in emulator.streams.machines.values()]


def sent(emulator: Emulator, method: str, ending: str) -> int:
    return sum(call.method == method and call.path.endswith(ending) for call in emulator.calls)


def do(then: Callable[[], object]) -> Fault:
    """Let the service carry out a request, then call ``then``, then send the answer."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        then()
        return answer

    return Fault.edit(edit)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the emulator has no event for its calls
            await asyncio.sleep(POLL)


def polled_three_times(emulator: Emulator, stream: StreamRef) -> bool:
    return sent(emulator, "GET", f"/streams/{stream.id}/machines") >= 3


async def boot(emulator: Emulator) -> None:
    """Wait for a start, and let the time pass that a machine takes to start."""
    await until(lambda: sent(emulator, "POST", "/start-machine") == 1)
    emulator.clock.advance(15)


def set_capacity(emulator: Emulator, machines: int) -> None:
    emulator.streams.streams[int(STREAM)].capacities["dublin"] = machines


async def refused_for_lack_of_capacity(emulator: Emulator, times: int = 1) -> None:
    await until(lambda: sent(emulator, "POST", "/start-machine") >= times)


def exchange(emulator: Emulator) -> None:
    """Assign our machine to another visitor, who started one at the same time, before we ask."""

    def given() -> None:
        ours = next(iter(emulator.streams.machines))
        emulator.streams.add_machine(1381)
        emulator.streams.set_status(ours, "connected")

    emulator.faults.add("POST *start-machine", do(given))


def left_in_exchange(emulator: Emulator, deployment: Deployment) -> None:
    """Refuse the first assignment. Then another visitor gets ours, and leaves one turning on."""

    def left() -> None:
        emulator.streams.set_status(next(iter(emulator.streams.machines)), "connected")
        emulator.streams.add_machine(1381)
        deployment.kind, deployment.refused = EARLY, lambda: None

    deployment.kind, deployment.refused = WAITS, left


def notes_of(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))
