"""The four cloud-desktop APIs on a loopback socket, with their state in memory."""

from __future__ import annotations

from vcloud.emulator.clock import Clock
from vcloud.emulator.faults import Fault, Faults
from vcloud.emulator.server import Call, Emulator

__all__ = ["Call", "Clock", "Emulator", "Fault", "Faults"]
