"""When a machine may be started, changed or reset: the refusals that depend on its state."""

from __future__ import annotations

from collections.abc import Iterable

from vcloud.emulator.computers.catalog import MachineType
from vcloud.emulator.computers.machine import Machine
from vcloud.emulator.computers.state import UNFINISHED
from vcloud.emulator.vagon.account import Account
from vcloud.emulator.vagon.service import VagonError


def require_startable(machine: Machine, now: float) -> None:
    """Refuse a start with 469 while the disk is resized, 4201 if not ready, 4206 unless off."""
    status = machine.status_at(now)
    if status == "resizing_disk":
        raise VagonError(469, "Disk is being resized")
    if status in UNFINISHED:
        raise VagonError(4201, f"Machine is not ready ({status})")
    require_off(machine, now)


def require_off(machine: Machine, now: float) -> None:
    """Refuse with 4206 unless the machine is off."""
    status = machine.status_at(now)
    if status != "off":
        raise VagonError(4206, f"Machine is running ({status})")


def require_machine_type(machine: Machine, id: int) -> MachineType:
    """The machine type with this id; refuse with 4205 if the machine's plan does not have it."""
    machine_type = machine.plan.machine_type(id)
    if machine_type is None:
        raise VagonError(4205, "Machine type is not available for this plan")
    return machine_type


def require_usage(machine: Machine, account: Account, now: float) -> None:
    """Refuse with 480 if neither the machine's own usage nor the organisation's balance pays."""
    if machine.remaining(now) > 0:
        return
    if machine.usage_source == "machine":
        raise VagonError(480, "Insufficient balance: no usage is left on the machine")
    if not account.solvent:
        raise VagonError(480, "Insufficient balance")


def require_capacity(
    machines: Iterable[Machine], region: str, limit: int | None, now: float
) -> None:
    """Refuse with 440 if `limit` machines are on in the region; None is no limit."""
    if limit is None:
        return
    busy = sum(one.region == region and one.status_at(now) != "off" for one in machines)
    if busy >= limit:
        raise VagonError(440, f"Cloud capacity is unavailable in {region}")
