"""The four cloud-desktop APIs on a loopback socket, with their state in memory."""

from __future__ import annotations

from vcloud.emulator.calls import Call, CallLog
from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials
from vcloud.emulator.desktops import Ran
from vcloud.emulator.endpoints import Endpoints
from vcloud.emulator.faults.fault import Fault
from vcloud.emulator.faults.redirect_host import Arrival
from vcloud.emulator.faults.rules import Faults, Rule
from vcloud.emulator.net.listener import Refusing
from vcloud.emulator.server import Emulator, EmulatorStats

__all__ = [
    "Arrival",
    "Call",
    "CallLog",
    "Clock",
    "Credentials",
    "Emulator",
    "EmulatorStats",
    "Endpoints",
    "Fault",
    "Faults",
    "Ran",
    "Refusing",
    "Rule",
]
