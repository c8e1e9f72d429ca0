"""The pictures that an agent delivers: a WebSocket of its own for each viewer of a session."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from vcloud._core.request import Request, path_segment
from vcloud._core.session import Session
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud._core.websocket import Socket
from vcloud.errors import AuthenticationError, VCloudError
from vcloud.errors.text import shortened
from vcloud.providers.streamspace.agent.dial import dial
from vcloud.providers.streamspace.agent.handler import AgentHandler, CommandFailed, words
from vcloud.providers.streamspace.agent.messages import VNCProxyError, VNCProxyRequest
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.realtime.relay import close_writer, relay
from vcloud.providers.streamspace.realtime.vnc import VNCTunnel

__all__ = ["Pictures"]

#: Seconds in which a VNC server has to take a connection.
PATIENCE: Final = 30.0
#: How many pictures are open at once. Each takes two sockets, and a process has 1024 by default.
MAX_PICTURES: Final = 400
#: How many of them show the same session: half, so that none takes those of all others.
MAX_OF_A_SESSION: Final = 200
#: Characters of a reason that are sent.
MAX_REASON: Final = 4096
_UNREACHED: Final = "the VNC server cannot be reached"


class Pictures:
    """Connects viewers with the VNC servers of an agent's sessions.

    At most as many WebSockets as the endpoint's ``concurrency`` are being opened at once. They take none of the
    client's own slots, because viewers of the same client hold those while they wait for them.

    Args:
        session: the agent's.
        handler: knows where the VNC servers are.
        outbox: takes the refusals.
        trouble: is told what went wrong.
        ended: is called with a refusal that ends the agent: its token is not accepted.
    """

    def __init__(
        self,
        session: Session,
        handler: AgentHandler,
        outbox: Outbox,
        trouble: Callable[[Exception], None],
        ended: Callable[[AuthenticationError], None],
    ) -> None:
        self._session = session
        self._handler = handler
        self._outbox = outbox
        self._trouble = trouble
        self._ended = ended
        self._opening = asyncio.Semaphore(session.concurrency)
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_session: Counter[str] = Counter()

    def deliver(self, request: VNCProxyRequest) -> None:
        """Open the picture that a viewer waits for, and relay it until one side ends.

        A viewer beyond the bounds is refused.
        """
        session_id = request.session_id
        if (open_here := self._of_session[session_id]) >= MAX_OF_A_SESSION:
            reason = f"the session has {open_here} viewers, and the agent takes no more of it"
            self.refuse(request.proxy_id, session_id, reason)
            return
        if len(self._tasks) >= MAX_PICTURES:
            reason = f"the agent has {MAX_PICTURES} viewers, and takes no more"
            self.refuse(request.proxy_id, session_id, reason)
            return
        self._of_session[session_id] += 1
        task = asyncio.create_task(self._relay(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda task: self._ended_for(session_id))

    def refuse(self, proxy_id: str, session_id: str | None, reason: str) -> None:
        """Say why a viewer gets no picture."""
        # A handler may have put another object in the place of its failure's message.
        error = shortened(words(reason), MAX_REASON)
        self._outbox.say(VNCProxyError(proxy_id=proxy_id, session_id=session_id, error=error))

    async def cancel(self) -> None:
        """End all of them."""
        await cancel_and_wait(set(self._tasks))

    def _ended_for(self, session_id: str) -> None:
        self._of_session[session_id] -= 1
        if not self._of_session[session_id]:
            del self._of_session[session_id]

    async def _relay(self, request: VNCProxyRequest) -> None:
        try:
            path = f"/agent/vnc/{path_segment(request.proxy_id, 'proxy_id')}"
            async with timeout(PATIENCE):
                reader, writer = await dial(await self._handler.vnc_address(request))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled the picture: a task was that the handler awaited.
            self._failed(
                request, RuntimeError(f"vnc_address raised {type(error).__name__}"), _UNREACHED
            )
            return
        except Exception as error:  # noqa: BLE001 - the handler is the user's; its words are not for the wire
            said = error.message if isinstance(error, CommandFailed) else ""
            self._failed(request, error, said or _UNREACHED)
            return
        tunnel = VNCTunnel(lambda: self._connect(path))
        try:
            await tunnel.aopen()
            await relay(tunnel, reader, writer, broken="the connection of the VNC server was lost")
        except (VCloudError, OSError) as error:
            if tunnel.opened:
                self._trouble(error.with_traceback(None))
            else:
                self._failed(request, error, "the agent cannot open the tunnel")
            if isinstance(error, AuthenticationError):
                self._ended(error)
        finally:
            await close_writer(writer)

    async def _connect(self, path: str) -> Socket:
        async with self._opening:
            return await self._session.connect(Request("GET", path, slot=False), root=True)

    def _failed(self, request: VNCProxyRequest, error: Exception, reason: str) -> None:
        self._trouble(error.with_traceback(None))
        self.refuse(request.proxy_id, request.session_id, reason)
