"""A session's log as it is written, over a WebSocket."""

from __future__ import annotations

from aiohttp import web
from attrs import define

from vcloud.emulator.clock import Clock
from vcloud.emulator.net.websockets import Close, Pulse, drain
from vcloud.emulator.streamspace.state import ENDED, Session
from vcloud.emulator.streamspace.views import line_view
from vcloud.emulator.tasks import first_completed

BATCH = 100
"""Lines in one message at most."""
LOOK = 0.03
"""Real seconds between two looks at what the passing of simulated time has brought."""


@define(eq=False)
class Follower:
    """``GET /sessions/{session_id}/logs?follow=true``: the last lines, then each new one, until the session is over.

    Nothing is queued: the log itself is read on from where this follower is, so one that reads slowly costs nothing. Lines that
    a full log has dropped meanwhile are passed over.
    """

    session: Session
    clock: Clock
    pulse: Pulse
    tail: int
    timestamps: bool

    async def __call__(self, socket: web.WebSocketResponse) -> Close:
        """Send it all; return what to close with."""
        await first_completed(self._send(socket), drain(socket))
        state = self.session.state(self.clock.now())
        return Close(reason=f"the session is {state}" if state in ENDED else "")

    async def _send(self, socket: web.WebSocketResponse) -> None:
        session = self.session
        at = session.forgotten + max(0, len(list(session.lines(self.clock.now()))) - self.tail)
        while True:
            now = self.clock.now()
            # Asked before the lines are read: what was written until the end is sent before the end.
            over = session.state(now) in ENDED
            at = max(at, session.forgotten)
            lines = list(session.lines(now))[at - session.forgotten :][:BATCH]
            if lines:
                text = "\n".join(
                    line_view(when, line, self.clock, timestamps=self.timestamps)
                    for when, line in lines
                )
                # Counted first: the log may lose its beginning while this waits for a slow reader.
                at += len(lines)
                await socket.send_str(text)
            elif over:
                return
            else:
                await self.pulse.wait(LOOK)
