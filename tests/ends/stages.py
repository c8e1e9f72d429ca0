"""The service's side of each moment: what is slow or refused there, and how one sees that it has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from vcloud.emulator import Emulator, Fault

#: Seconds that an answer takes which does come.
SLOW: Final = 0.5
#: Seconds after which a stop that was refused is sent again.
AGAIN: Final = 1.0
PAUSE: Final = 600.0
FOR_EVER: Final = 3600.0
#: The creates of a bulk run that are answered.
ANSWERED: Final = 2
LAUNCH: Final = "POST */desktop"
STOP: Final = "POST */stop"
STOP_MACHINE: Final = "POST */stop-machine"
REFUSAL: Final = Fault.reply(
    403,
    '{"client_code":4710,"message":"Permission required"}',
    content_type="application/json",
)

#: Whether the moment has come, as far as the service can tell.
Reached = Callable[[], bool]
Stage = Callable[[Emulator], Reached]


@frozen
class Played:
    """A fault that was ordered, and happened when the moment has come."""

    route: str
    fault: Fault
    times: int | None = None
    hits: int = 1
    skip: int = 0

    def __call__(self, emulator: Emulator) -> Reached:
        rule = emulator.faults.add(self.route, self.fault, self.times, skip=self.skip)
        return lambda: rule.hits >= self.hits


def _at_once(_: Emulator) -> Reached:
    return lambda: True


def _block(fault: Fault | None = None) -> Stage:
    def stage(emulator: Emulator) -> Reached:
        if fault is not None:
            emulator.faults.add(STOP, fault, None)
        return lambda: True

    return stage


def _connected(emulator: Emulator) -> Reached:
    """The list was read, so the start is the next request."""
    return lambda: any(call.path.endswith("/machines") for call in list(emulator.calls))


def _anytime(emulator: Emulator) -> Reached:
    for route in (LAUNCH, STOP, "POST */start-machine", STOP_MACHINE):
        emulator.faults.add(route, Fault.stall_headers(SLOW / 3), None)
    emulator.faults.add("POST */assign-machine", REFUSAL, None)
    return lambda: True


def _undo(fault: Fault) -> Stage:
    def stage(emulator: Emulator) -> Reached:
        emulator.faults.add("POST */assign-machine", REFUSAL, None)
        return Played(STOP_MACHINE, fault)(emulator)

    return stage


#: It is done at once, and the answer comes late, or never; or it is done late, or never.
_LATE, _LOST = Fault.stall_headers(SLOW), Fault.stall_headers()
_SLOW, _DEAF = Fault.delay(SLOW), Fault.delay(FOR_EVER)

STAGES: Final[dict[str, Stage]] = {
    "line.slot": Played("GET */desktop/*", _LOST),
    "line.limit": _at_once,
    "line.pause": Played("GET */desktop/*", Fault.too_many(PAUSE)),
    "line.backoff": Played(LAUNCH, Fault.server_error(503, PAUSE)),
    "line.login": Played("POST */login", _LOST),
    "line.create": Played("GET */machines/100", _LOST),
    "line.connect": _connected,
    "line.bulk": Played("GET */machines/100", _LOST),
    "create": Played(LAUNCH, _LATE),
    "create.lost": Played(LAUNCH, _LOST),
    "block": _block(),
    "block.deaf": _block(_DEAF),
    # Two: the desktop is waited for with one, the other meets the limit.
    "block.paused": Played("GET */desktop/770e8400*", Fault.too_many(PAUSE)),
    "stopping": Played(STOP, _SLOW),
    "stopping.again": Played(STOP, Fault.server_error(503, AGAIN), times=1),
    "stopping.deaf": Played(STOP, _DEAF),
    "closing": Played(STOP, _SLOW),
    "closing.deaf": Played(STOP, _DEAF),
    "starting": Played("POST */start-machine", _LATE),
    "starting.lost": Played("POST */start-machine", _LOST),
    "assigning": Played("POST */assign-machine", _LATE),
    "assigning.lost": Played("POST */assign-machine", _LOST),
    "undo": _undo(_SLOW),
    "undo.deaf": _undo(_DEAF),
    "anytime": _anytime,
    "bulk": Played("POST */machines", _LOST, hits=3, skip=ANSWERED),
}
