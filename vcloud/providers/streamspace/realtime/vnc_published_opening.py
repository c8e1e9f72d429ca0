"""Opens a tunnel of the published server, and waits for the desktop's first bytes.

The server accepts a viewer, and tells nothing more: not whether the agent has opened its side, nor
whether it is at the replica that was reached. So a tunnel is open when its first bytes came.

::

    upgrade      accepted: wait for the first bytes; 503 for the agent: pause, and upgrade again
    wait         after 5 s the viewer sends an empty message, which our agents take as a viewer
                 that waits; what a viewer before it left in the agent's queue is passed over
    closed       pause, and upgrade again, unless a later tunnel of this client took the session
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

from vcloud._core.decoding.plain_json import object_of
from vcloud._core.request import Request, Response, path_segment
from vcloud._core.session import Session
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import Socket
from vcloud.errors import (
    APIError,
    DecodeError,
    NotFoundError,
    TransportError,
    VCloudError,
)
from vcloud.errors.text import printable, shortened, word
from vcloud.providers.streamspace.models import SessionState
from vcloud.providers.streamspace.realtime.vnc_errors import (
    SessionStoppedError,
    StreamingProtocolError,
)
from vcloud.providers.streamspace.realtime.vnc_published_pings import CarefulPings
from vcloud.providers.streamspace.realtime.vnc_published_socket import (
    GONE,
    GREETING,
    MAX_UNREAD,
    PublishedVNCSocket,
    decoded,
)

__all__ = ["VNCOpening", "Viewer"]

#: Seconds without the first bytes after which the viewer makes itself known.
SILENCE: Final = 5.0
#: Seconds before the second upgrade, and the most before later ones; each pause doubles.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 8.0
#: The status for an agent that is not connected to the replica that was reached.
AGENT_AWAY: Final = 503
#: Characters of a protocol's name that an error shows.
MAX_PROTOCOL: Final = 40


class Viewer:
    """Identifies one tunnel, as long as it opens and is open."""

    __slots__ = ("__weakref__",)


class VNCOpening:
    """Opens one tunnel.

    Args:
        session: the client's.
        id: the session's name.
        first_bytes: seconds within which the first bytes must come, after the first answer.
        ask_state: asks the service for the session's state.
        newest: for each session's name, the last tunnel of this client; it adds itself.
    """

    def __init__(
        self,
        session: Session,
        id: str,
        first_bytes: float,
        *,
        ask_state: Callable[[], Awaitable[SessionState | None]],
        newest: MutableMapping[str, object],
    ) -> None:
        self._session = session
        self._id = id
        self._bound = first_bytes
        self._ask_state = ask_state
        self._newest = newest
        self._viewer = newest[id] = Viewer()
        self._request = Request("GET", f"/vnc/{path_segment(id)}")
        self._opened = self._closed = 0
        self._refusal: APIError | None = None

    async def open(self) -> PublishedVNCSocket:
        """Open it.

        Raises:
            StreamingProtocolError: the session is not VNC.
            TransportError: the first bytes did not come, or the connection failed.
            APIError: the service refuses the viewer, and not for its agent.
        """
        socket = await self._upgraded()
        pause = FIRST_PAUSE
        try:
            async with timeout(self._bound):
                while True:
                    if socket is not None and (opened := await self._opened_tunnel(socket)):
                        return opened
                    self._check_newest()
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    self._check_newest()
                    socket = await self._upgraded()
        except TimeoutError:
            raise self._nothing_came() from None

    async def _upgraded(self) -> Socket | None:
        """The WebSocket; None when the session's agent is not at this replica."""
        try:
            upgraded = await self._session.upgrade(self._request)
        except APIError as error:
            if error.status != AGENT_AWAY:
                raise
            self._refusal = error.with_traceback(None)
            return None
        if isinstance(upgraded, Response):
            raise self._no_vnc(upgraded)
        self._opened += 1
        return upgraded

    async def _opened_tunnel(self, socket: Socket) -> PublishedVNCSocket | None:
        pings = CarefulPings(asyncio.get_running_loop().time())
        socket.read_on(pings, MAX_UNREAD)
        if first := await self._first_bytes(socket):
            return PublishedVNCSocket(socket, pings, first, self._ask, self._viewer)
        return None

    async def _first_bytes(self, socket: Socket) -> bytes:
        """The VNC server's first message; empty when the WebSocket was closed before it."""
        open_until_the_end = False
        try:
            try:
                async with timeout(SILENCE):
                    first = await _greeting(socket)
            except TimeoutError:
                await socket.send_text("")
                first = await _greeting(socket)
            open_until_the_end = bool(first)
        except TransportError:
            first = b""
        finally:
            if not open_until_the_end:
                await socket.close()
        self._closed += not first
        return first

    def _check_newest(self) -> None:
        """A session has one viewer: two that wait would close each other's connections in turn."""
        if self._newest.get(self._id, self._viewer) is not self._viewer:
            raise TransportError(
                f"session {word(self._id)}: this client opened another tunnel to it, which took "
                "this one's place before its first byte came"
            )

    async def _ask(self) -> None:
        """Raise if the session does not run. What else goes wrong is no reason to end a tunnel."""
        state: SessionState | None
        try:
            state = await self._ask_state()
            if state is None or state == SessionState.RUNNING:
                return
        except NotFoundError:
            state = None
        except VCloudError:
            return
        now = "it is gone" if state is None else f"it is {printable(shortened(state, 40))}"
        raise SessionStoppedError(
            f"session {word(self._id)} no longer runs: {now}", session_id=self._id, state=state
        )

    def _nothing_came(self) -> TransportError:
        known = []
        if self._opened:
            known.append(f"it accepted the viewer {_times(self._opened)}")
        if self._closed:
            known.append(f"it closed the connection {_times(self._closed)}")
        if self._refusal is not None:
            known.append(f"it refused with {self._refusal.status} ({self._refusal.message})")
        return TransportError(
            f"session {word(self._id)}: no byte came from its desktop within {self._bound:g} s. "
            f"What is known of the server: {'; '.join(known)}. It does not say why: the agent may "
            "be away, its desktop not up yet, or a viewer of another of its sessions in the way"
        )

    def _no_vnc(self, answer: Response) -> VCloudError:
        """The error for an answer without an upgrade: the desktop is a page."""
        protocol = _protocol(answer.body)
        if not protocol:
            return DecodeError(
                f"session {word(self._id)}: a WebSocket was requested, and the answer is a plain "
                f"one ({answer.status})"
            )
        return StreamingProtocolError(
            f"session {word(self._id)} shows its desktop by {protocol}, not by VNC: "
            "`await session.connect_url()` gives the address of its page",
            session_id=self._id,
            protocol=protocol,
        )


async def _greeting(socket: Socket) -> bytes:
    """The message with which a VNC server begins; empty when the WebSocket is closed.

    Those before it are what a former viewer's connection left in the agent's queue.
    """
    while (message := await socket.receive()) is not None:
        if isinstance(message, str) and message.startswith(GONE):
            continue
        data = decoded(message)
        if data and data[: len(GREETING)] == GREETING[: len(data)]:
            return data
    return b""


def _protocol(body: bytes) -> str:
    named = object_of(body).get("protocol")
    return printable(shortened(named, MAX_PROTOCOL)) if isinstance(named, str) else ""


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"
