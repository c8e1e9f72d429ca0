"""The service's side of each moment: its faults, and how the service detects the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from vcloud.emulator import Emulator, Fault

#: Seconds that a slow answer takes.
SLOW: Final = 0.5
#: Seconds after which a refused stop is sent again.
AGAIN: Final = 1.0
PAUSE: Final = 600.0
FOR_EVER: Final = 3600.0
#: How many creates of a bulk run are answered.
ANSWERED: Final = 2
LAUNCH: Final = "POST */desktop"
STOP: Final = "POST */stop"
STOP_MACHINE: Final = "POST */stop-machine"
REFUSAL: Final = Fault.reply(
    403,
    '{"client_code":4710,"message":"Permission required"}',
    content_type="application/json",
)

#: Whether the moment is reached, as far as the service can tell.
Reached = Callable[[], bool]
Stage = Callable[[Emulator], Reached]


@frozen
class Played:
    """A fault. The moment is reached when it has applied ``hits`` times."""

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
    """Reached when the list was read: the start is the next request."""
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


#: The service acts at once, and answers late or never; or it acts late or never.
_LATE, _LOST = Fault.stall_headers(SLOW), Fault.stall_headers()
_SLOW, _UNANSWERED = Fault.delay(SLOW), Fault.delay(FOR_EVER)

STAGES: Final[dict[str, Stage]] = {
    "queue.slot": Played("GET */desktop/*", _LOST),
    "queue.limit": _at_once,
    "queue.pause": Played("GET */desktop/*", Fault.too_many(PAUSE)),
    "queue.backoff": Played(LAUNCH, Fault.server_error(503, PAUSE)),
    "queue.login": Played("POST */login", _LOST),
    "queue.create": Played("GET */machines/100", _LOST),
    "queue.connect": _connected,
    "queue.bulk": Played("GET */machines/100", _LOST),
    "create": Played(LAUNCH, _LATE),
    "create.lost": Played(LAUNCH, _LOST),
    "block": _block(),
    "block.unanswered": _block(_UNANSWERED),
    # The desktop is waited for with one request. The other one gets the 429.
    "block.paused": Played("GET */desktop/770e8400*", Fault.too_many(PAUSE)),
    "stopping": Played(STOP, _SLOW),
    "stopping.again": Played(STOP, Fault.server_error(503, AGAIN), times=1),
    "stopping.unanswered": Played(STOP, _UNANSWERED),
    "closing": Played(STOP, _SLOW),
    "closing.unanswered": Played(STOP, _UNANSWERED),
    "starting": Played("POST */start-machine", _LATE),
    "starting.lost": Played("POST */start-machine", _LOST),
    "assigning": Played("POST */assign-machine", _LATE),
    "assigning.lost": Played("POST */assign-machine", _LOST),
    "undo": _undo(_SLOW),
    "undo.unanswered": _undo(_UNANSWERED),
    "anytime": _anytime,
    "bulk": Played("POST */machines", _LOST, hits=3, skip=ANSWERED),
}
