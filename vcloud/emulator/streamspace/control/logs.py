"""Following a session's log over a WebSocket."""

from __future__ import annotations

from aiohttp import web
from attrs import define

from vcloud.emulator.clock import Clock
from vcloud.emulator.net.websockets import Close, Notifier, drain
from vcloud.emulator.streamspace.state import ENDED, Session
from vcloud.emulator.streamspace.views import line_view
from vcloud.emulator.tasks import first_completed

BATCH = 100
"""Maximum lines in one message."""
POLL = 0.03
"""Polling interval in real seconds, for lines that simulated time adds."""


@define(eq=False)
class Follower:
    """``GET /sessions/{session_id}/logs?follow=true``: the last lines, then each new one.

    It ends with the session. It has no queue: it keeps a position in the log, so a slow reader
    needs no memory. Lines that a full log has dropped meanwhile are skipped.
    """

    session: Session
    clock: Clock
    changes: Notifier
    tail: int
    timestamps: bool

    async def __call__(self, socket: web.WebSocketResponse) -> Close:
        """Send the lines; how to close the socket."""
        await first_completed(self._send(socket), drain(socket))
        state = self.session.state_at(self.clock.now())
        return Close(reason=f"the session is {state}" if state in ENDED else "")

    async def _send(self, socket: web.WebSocketResponse) -> None:
        session = self.session
        at = session.forgotten + max(0, len(list(session.lines(self.clock.now()))) - self.tail)
        while True:
            now = self.clock.now()
            # Before the lines are read, so that all of them are sent before the end.
            over = session.state_at(now) in ENDED
            at = max(at, session.forgotten)
            lines = list(session.lines(now))[at - session.forgotten :][:BATCH]
            if lines:
                text = "\n".join(
                    line_view(when, line, self.clock, timestamps=self.timestamps)
                    for when, line in lines
                )
                # Counted first, because the log may drop lines while this waits for a slow reader.
                at += len(lines)
                await socket.send_str(text)
            elif over:
                return
            else:
                await self.changes.wait(POLL)
