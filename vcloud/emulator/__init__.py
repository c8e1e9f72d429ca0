"""The four cloud-desktop APIs on a loopback socket, with their state in memory."""

from __future__ import annotations

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials
from vcloud.emulator.elsewhere import Arrival
from vcloud.emulator.faults import Fault
from vcloud.emulator.faults_table import Faults, Rule
from vcloud.emulator.ledger import Call
from vcloud.emulator.server import Emulator

__all__ = ["Arrival", "Call", "Clock", "Credentials", "Emulator", "Fault", "Faults", "Rule"]
