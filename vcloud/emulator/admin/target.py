"""The part of an emulator that its own routes use."""

from __future__ import annotations

import asyncio
from typing import Protocol

from vcloud.emulator.calls import CallLog
from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.service import Computers
from vcloud.emulator.faults.redirect_host import RedirectHost
from vcloud.emulator.faults.rules import Faults
from vcloud.emulator.streams.service import Streams
from vcloud.emulator.vagon.service import Organization


class Target(Protocol):
    """An emulator that the routes read and change."""

    clock: Clock
    faults: Faults
    calls: CallLog
    elsewhere: RedirectHost
    organization: Organization
    computers: Computers
    streams: Streams

    async def refuse_for(
        self, seconds: float, *, spare: asyncio.BaseTransport | None = None
    ) -> None:
        """Refuse connections for so many real seconds, except the connection `spare`."""
        ...
