"""Who may use a forwarded port: whose connections are taken, and how many that say nothing."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Final

from vcloud._core.timing.timeouts import DrainingTimer, call_when_due
from vcloud.providers.streamspace.realtime.relay import Relayed
from vcloud.providers.streamspace.realtime.socket_table import TABLES, LocalPeers

__all__ = ["Admission"]

LOG: Final = logging.getLogger("vcloud.streamspace")
#: Connections from which no byte was heard yet. Each may cost a tunnel. A viewer answers the VNC
#: server's first message at once, so that only a flood gets here.
MAX_SILENT: Final = 256
#: Seconds in which a viewer must have said something, from its connection on. Without this bound,
#: MAX_SILENT connections that never do would keep everybody out. To open the tunnel, and for the
#: agent to find the VNC server, may each take half a minute of it.
SILENCE: Final = 120.0


class Admission:
    """Decides on the connections of one port on loopback.

    Args:
        anyone: take every user's; otherwise those of this process's user and of root alone.
    """

    def __init__(self, *, anyone: bool) -> None:
        self._anyone = anyone
        self._port = 0
        self._peers: LocalPeers | None = None
        self._silent: dict[int, tuple[Relayed, DrainingTimer]] = {}
        #: Connections that were hung up on.
        self.refused = 0

    def listen(self, port: int) -> None:
        """Decide for this port. Warns if every user can use it, although that was not asked for."""
        self._port = port
        if self._anyone:
            return
        if TABLES[0].exists():
            self._peers = LocalPeers(port)
            return
        LOG.warning(
            "forward_vnc: this system has no table of sockets that names their users,"
            " so every user of this machine can use port %d",
            port,
        )

    def take(self, relayed: Relayed, hang_up: Callable[[], object]) -> bool:
        """Whether one more connection may be silent at first; its end is to :meth:`forget` it.

        Args:
            relayed: how far it has come; it is silent until its viewer's first byte is there.
            hang_up: ends it, when it has been silent for too long.
        """
        if len(self._silent) >= MAX_SILENT:
            self._drop_those_that_spoke()
        if len(self._silent) >= MAX_SILENT:
            self._refuse(f"{MAX_SILENT} others have said nothing yet")
            return False
        loop = asyncio.get_running_loop()
        over = functools.partial(self._silence_over, relayed, hang_up)
        timer = call_when_due(loop, loop.time() + SILENCE, over)
        self._silent[id(relayed)] = relayed, timer
        return True

    async def lets_in(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the other end is a user who may use the port."""
        reason = "it is another user's, or gone"
        try:
            if self._peers is None or await self._peers.are_ours(writer):
                return True
        except OSError as error:
            reason = f"whose it is cannot be read: {error}"
        self._refuse(f"{reason} (forward_vnc(anyone=True) takes all users)")
        return False

    def forget(self, relayed: Relayed) -> None:
        """A connection is over."""
        if (entry := self._silent.pop(id(relayed), None)) is not None:
            entry[1].cancel()

    def _drop_those_that_spoke(self) -> None:
        for relayed, _ in [entry for entry in self._silent.values() if entry[0].version]:
            self.forget(relayed)

    def _silence_over(self, relayed: Relayed, hang_up: Callable[[], object]) -> None:
        self.forget(relayed)
        if not relayed.version:
            self._refuse(f"its viewer has said nothing for {SILENCE:.0f} s")
            hang_up()

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        level = logging.WARNING if self.refused == 1 else logging.DEBUG
        LOG.log(level, "forward_vnc hung up on a connection to port %d: %s", self._port, reason)
