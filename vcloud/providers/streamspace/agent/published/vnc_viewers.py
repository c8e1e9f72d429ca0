"""The viewers of an agent's sessions on the published server: all of them over its own socket."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Coroutine
from typing import Any, Final

from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import DecodeError, TransportError
from vcloud.errors.text import shortened, word
from vcloud.providers.streamspace.agent.handler import AgentHandler, CommandFailed, text_of
from vcloud.providers.streamspace.agent.link import Send
from vcloud.providers.streamspace.agent.messages import (
    Message,
    SessionReport,
    VNCProxyData,
    VNCProxyRequest,
)
from vcloud.providers.streamspace.agent.published.vnc import VNCClose, VNCData
from vcloud.providers.streamspace.agent.published.vnc_batches import capacity
from vcloud.providers.streamspace.agent.published.vnc_desktop import (
    Desktop,
    DesktopError,
    Streams,
)
from vcloud.providers.streamspace.agent.vnc_server import connect_to_vnc_server
from vcloud.providers.streamspace.models import SessionState
from vcloud.providers.streamspace.realtime.vnc_published import GONE

__all__ = ["PublishedViewers"]

#: Seconds in which a VNC server has to accept a connection.
CONNECT_TIMEOUT: Final = 30.0
#: How many desktops are connected at once. Each takes a socket, and a process may open 1024 by
#: default.
MAX_DESKTOPS: Final = 400
#: Characters of a reason that are sent.
MAX_REASON: Final = 4096
#: By how many bytes the time in a message may be longer than in another.
TIMESTAMPS: Final = 32
_UNREACHABLE: Final = "the VNC server cannot be reached"


class _Outlet:
    """Sends one session's messages over the agent's connection."""

    def __init__(self, session_id: str, encode: Callable[[Message], str], send: Send) -> None:
        self._session_id = session_id
        self._encode = encode
        self._send = send
        empty = encode(VNCData(session_id=session_id, data=""))
        #: See :class:`~vcloud.providers.streamspace.agent.published.vnc_desktop.Outlet`.
        self.capacity: int = capacity(len(empty.encode()) + TIMESTAMPS)

    async def data(self, data: bytes) -> None:
        text = base64.b64encode(data).decode("ascii")
        await self._send(self._encode(VNCData(session_id=self._session_id, data=text)))

    async def error(self, reason: str) -> None:
        # Not as vnc_error: while a viewer is there, and for the next one that comes, it ends the
        # server's whole process (a send on a closed channel; seen with a build of it).
        # A handler may have put another object in the place of its failure's message.
        error = shortened(text_of(reason), MAX_REASON)
        await self._send(self._encode(VNCData(session_id=self._session_id, data=GONE + error)))


class PublishedViewers:
    """Connects the desktops of the sessions that run, so that their viewers get a picture.

    Args:
        handler: knows where the VNC servers are.
        encode: makes the text of a message.
        on_error: is called with what goes wrong.
    """

    def __init__(
        self,
        handler: AgentHandler,
        encode: Callable[[Message], str],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._handler = handler
        self._encode = encode
        self._on_error = on_error
        #: The last report of each session that runs.
        self._running: dict[str, SessionReport] = {}
        self._desktops: dict[str, tuple[Desktop, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._send: Send | None = None

    def receive(self, message: Message) -> None:
        """Handle a message, if it is about viewers."""
        match message:
            case VNCData(data=""):
                self._viewer_waits(message.session_id)
            case VNCData():
                self._data(message)
            case VNCClose() if message.session_id in self._desktops:
                self._desktops[message.session_id][0].viewer_left()
            case _:
                pass

    def connected(self, send: Send) -> None:
        """A connection begins; nothing of the one before is left at the server."""
        self.disconnected()
        self._send = send
        for session_id in self._running:
            self._open(session_id)

    def disconnected(self) -> None:
        """The connection has ended, and so have all viewers."""
        self._send = None
        for session_id in list(self._desktops):
            self._end(session_id)

    def session_ending(self, session_id: str) -> None:
        """A session is being stopped or hibernated, which may end its desktop."""
        if session_id in self._desktops:
            self._desktops[session_id][0].may_end()

    def session_changed(self, report: SessionReport) -> None:
        """A session has a new state: it runs, or no longer."""
        session_id = str(report.session_id)
        if report.state == SessionState.RUNNING:
            self._running[session_id] = report
            if session_id in self._desktops:
                self._desktops[session_id][0].goes_on()
            else:
                self._open(session_id)
            return
        self._running.pop(session_id, None)
        desktop = self._end(session_id)
        if desktop is not None and desktop.in_use and self._send is not None:
            # The server itself tells its viewer nothing.
            outlet = _Outlet(session_id, self._encode, self._send)
            self._run(outlet.error(f"the session is {report.state}"))

    async def cancel(self) -> None:
        """End everything."""
        self.disconnected()
        await cancel_and_wait(set(self._tasks))

    # -- one session ------------------------------------------------------------------------------

    def _viewer_waits(self, session_id: str) -> None:
        # Also for a session of which this process does not know that it runs.
        if session_id in self._desktops or self._open(session_id):
            self._desktops[session_id][0].viewer_waits()

    def _data(self, message: VNCData) -> None:
        if message.session_id not in self._desktops:
            return
        desktop = self._desktops[message.session_id][0]
        try:
            data = base64.b64decode(message.data, validate=True)
        except (binascii.Error, ValueError):
            error = DecodeError(
                f"session {word(message.session_id)}: its viewer sent a message that is not base64"
            )
            desktop.fail(DesktopError("what the viewer sends is not base64", error))
        else:
            desktop.receive(data)

    def _open(self, session_id: str) -> bool:
        """Connect a session's desktop, and keep it connected; return whether there is room."""
        if self._send is None:
            return False
        outlet = _Outlet(session_id, self._encode, self._send)
        if len(self._desktops) >= MAX_DESKTOPS:
            reason = f"the agent has {MAX_DESKTOPS} desktops connected, and takes no more"
            self._run(outlet.error(reason))
            return False
        desktop = Desktop(
            lambda: self._connect(session_id),
            outlet,
            self._on_error,
            lasting=session_id in self._running,
        )
        task = self._run(desktop.run())
        self._desktops[session_id] = desktop, task
        task.add_done_callback(lambda task: self._ended(session_id, task))
        return True

    def _end(self, session_id: str) -> Desktop | None:
        desktop, task = self._desktops.pop(session_id, (None, None))
        if task is not None:
            task.cancel()
        return desktop

    def _ended(self, session_id: str, task: asyncio.Task[None]) -> None:
        """Forget a desktop whose work ended by itself."""
        if session_id in self._desktops and self._desktops[session_id][1] is task:
            del self._desktops[session_id]

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._reporting(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _reporting(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TransportError:
            # The agent's own connection was lost, which is reported once, by the connection.
            pass
        except Exception as error:  # noqa: BLE001 - one desktop must not end the others
            self._on_error(error.with_traceback(None))

    async def _connect(self, session_id: str) -> Streams:
        report = self._running.get(session_id)
        data = (
            VNCProxyData()
            if report is None
            else VNCProxyData(pod_name=report.pod_name, vnc_port=report.vnc_port)
        )
        # The proxy of the document is one viewer's; here a session has one.
        request = VNCProxyRequest(session_id=session_id, proxy_id=session_id, data=data)
        try:
            async with timeout(CONNECT_TIMEOUT):
                return await connect_to_vnc_server(await self._handler.vnc_address(request))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # This task was not cancelled, but one that the handler awaited.
            raised = RuntimeError(f"vnc_address raised {type(error).__name__}")
            raise DesktopError(_UNREACHABLE, raised) from None
        except Exception as error:  # noqa: BLE001 - the text of a user's exception is not sent
            reason = error.message if isinstance(error, CommandFailed) else ""
            raise DesktopError(reason or _UNREACHABLE, error.with_traceback(None)) from None
