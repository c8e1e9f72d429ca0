"""When a machine may be started, assigned or stopped: the refusals that depend on the state."""

from __future__ import annotations

from vcloud.emulator.streams.fleet import Fleet
from vcloud.emulator.streams.state import Machine, Stream
from vcloud.emulator.vagon.account import Account
from vcloud.emulator.vagon.service import VagonError


def require_startable(
    stream: Stream, region: str, fleet: Fleet, account: Account, now: float
) -> None:
    """Refuse a start with 4610 by the stream's kind, 480 without balance, 440 without capacity."""
    if stream.capacity_type != "on_demand":
        raise VagonError(4610, "Only machines of cost optimized streams can be started")
    if account.balance <= 0:
        raise VagonError(480, "Insufficient balance")
    if fleet.running(stream, now)[region] >= stream.capacities.get(region, 0):
        raise VagonError(440, f"No capacity is left in {region}")


def require_assignable(stream: Stream, region: str, fleet: Fleet, now: float) -> Machine:
    """The machine that an assignment gets; refuse with 440 if there is none."""
    machine = fleet.assignable(stream, region, now)
    if machine is None:
        raise VagonError(440, f"No machine is available in {region}")
    return machine


def require_running(machine: Machine, now: float) -> None:
    """Refuse with 4204 if the machine has terminated."""
    if machine.end_at(now) is not None:
        raise VagonError(4204, "Machine is not running (terminated)")
