"""Decides which connections to a forwarded port are accepted, by their users and their number."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Final

from vcloud._core.timing.timeouts import DrainingTimer, call_when_due
from vcloud.providers.streamspace.realtime.socket_table import TABLES, LocalPeers
from vcloud.providers.streamspace.realtime.vnc_relay import RelayProgress

__all__ = ["ViewerAdmission"]

LOG: Final = logging.getLogger("vcloud.streamspace")
#: Connections that have not sent a byte yet. Each may cost a tunnel. A viewer answers the VNC
#: server's first message at once, so only a flood reaches this number.
MAX_SILENT: Final = 256
#: Seconds after the connection within which a viewer must send its first byte. Without this bound,
#: MAX_SILENT silent connections would block all others. Opening the tunnel may take half a minute
#: of it, and so may the agent's connection to the VNC server.
SILENCE_TIMEOUT: Final = 120.0


class ViewerAdmission:
    """Decides which connections to one loopback port are accepted.

    Args:
        anyone: accept every user's; otherwise only those of this process's user and of root.
    """

    def __init__(self, *, anyone: bool) -> None:
        self._anyone = anyone
        self._port = 0
        self._peers: LocalPeers | None = None
        self._silent: dict[int, tuple[RelayProgress, DrainingTimer]] = {}
        #: How many connections were refused.
        self.refused: int = 0

    def start(self, port: int) -> None:
        """Decide for this port. Warn if every user can use it although ``anyone`` is false."""
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

    def reserve(self, progress: RelayProgress, hang_up: Callable[[], object]) -> bool:
        """Count one more connection as silent; False when there are too many.

        Call :meth:`release` when the connection has ended.

        Args:
            progress: of the connection's relay. It is silent until its viewer's first byte.
            hang_up: ends the connection when it has been silent for too long.
        """
        if len(self._silent) >= MAX_SILENT:
            self._release_those_that_spoke()
        if len(self._silent) >= MAX_SILENT:
            self._refuse(f"{MAX_SILENT} others have sent nothing yet")
            return False
        loop = asyncio.get_running_loop()
        on_timeout = functools.partial(self._silent_too_long, progress, hang_up)
        timer = call_when_due(loop, loop.time() + SILENCE_TIMEOUT, on_timeout)
        self._silent[id(progress)] = progress, timer
        return True

    async def is_allowed(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the other end belongs to a user who may use the port."""
        reason = "it belongs to another user, or has ended"
        try:
            if self._peers is None or await self._peers.are_ours(writer):
                return True
        except OSError as error:
            reason = f"its user cannot be read: {error}"
        self._refuse(f"{reason} (forward_vnc(anyone=True) accepts all users)")
        return False

    def release(self, progress: RelayProgress) -> None:
        """Stop counting a connection."""
        if (entry := self._silent.pop(id(progress), None)) is not None:
            entry[1].cancel()

    def _release_those_that_spoke(self) -> None:
        for progress, _ in [entry for entry in self._silent.values() if entry[0].version]:
            self.release(progress)

    def _silent_too_long(self, progress: RelayProgress, hang_up: Callable[[], object]) -> None:
        self.release(progress)
        if not progress.version:
            self._refuse(f"its viewer has sent nothing for {SILENCE_TIMEOUT:.0f} s")
            hang_up()

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        level = logging.WARNING if self.refused == 1 else logging.DEBUG
        LOG.log(level, "forward_vnc hung up on a connection to port %d: %s", self._port, reason)
