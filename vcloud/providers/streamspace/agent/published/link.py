"""The agent's messages as the published server has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from vcloud._core.request import Request, json_body, path_segment, query
from vcloud._core.session import Session
from vcloud._core.websocket import Socket
from vcloud.errors import InvalidArgumentError, NotFoundError
from vcloud.providers.streamspace.agent.messages import (
    Message,
    Register,
    SessionReport,
)
from vcloud.providers.streamspace.agent.parsing import iter_messages
from vcloud.providers.streamspace.agent.published.approval import Approval, register
from vcloud.providers.streamspace.agent.published.envelope import (
    enveloped,
    payload_of,
    read,
    with_capacity,
)
from vcloud.providers.streamspace.agent.published.whole_requests import WholeRequests
from vcloud.providers.streamspace.agent.writing import UNWRITABLE
from vcloud.providers.streamspace.models import TERMINAL_STATES, AgentSession
from vcloud.providers.streamspace.refusals import check_query_value

__all__ = ["PublishedLink"]

#: Bytes of a message on the agent's socket. The server joins what waits for an agent into one
#: message, up to 256 of them, and a viewer may send each of these as large as it likes.
MAX_MESSAGE: Final = 64 * 1024**2
#: Seconds; see :class:`~vcloud.providers.streamspace.agent.link.Link`. The server ends both
#: connections when an agent makes a second one: the second within a second. So the first
#: connection after one whose end it has not noticed is lost at once, and the next one holds.
SHORT_LIVED: Final = 5.0


class PublishedLink:
    """``POST /agents/register``, ``GET /agents/connect`` (WebSocket), and the messages on it.

    Args:
        session: sends with the agent's key.
        own: what the agent sends about itself.
        approval: how it waits for an administrator.
        lists_sessions: whether the agent knows its sessions, those of earlier processes too.

    Raises:
        UnsupportedError: the server's filter refuses the agent's name.
    """

    registration: str | None = None
    reports_states: bool = True
    says_draining: bool = True
    short_lived: float = SHORT_LIVED

    def __init__(
        self, session: Session, own: Register, approval: Approval, *, lists_sessions: bool
    ) -> None:
        self._session = session.with_max_message(MAX_MESSAGE)
        self._agent_id = own.agent_id
        self._capacity = own.capacity
        self._approval = approval
        #: See :class:`~vcloud.providers.streamspace.agent.link.Link`.
        self.lists_sessions: bool = lists_sessions
        self._registered = False
        self._requests = WholeRequests()
        check_query_value(session, own.agent_id, "agent_id", "choose another name for the agent")
        given = {
            "agentId": own.agent_id,
            "platform": str(own.platform),
            "region": own.region,
            "metadata": own.metadata,
        }
        self._fields: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        } | with_capacity(own.capacity)
        self._query = query({"agent_id": own.agent_id})

    async def connect(self) -> Socket:
        """Register the agent, if it is not, and open a connection."""
        request = Request("GET", "/agents/connect", self._query, slot=False)
        if self._registered:
            # An administrator may have deleted the agent: then it registers again.
            with suppress(NotFoundError):
                return await self._session.connect(request)
        await register(self._session, self._agent_id, self._fields, self._approval, self._requests)
        self._registered = True
        return await self._session.connect(request)

    def encode(self, message: Message) -> str:
        """The JSON of a message."""
        now = datetime.fromtimestamp(self._session.now(), UTC)
        timestamp = now.isoformat().replace("+00:00", "Z")
        try:
            kind, payload = payload_of(message, capacity=self._capacity)
            return enveloped(kind, payload, timestamp)
        except UNWRITABLE as error:
            raise InvalidArgumentError(
                f"a {type(message).__name__} cannot be written as JSON: {error}"
            ) from None

    def decode(self, text: str) -> Iterator[tuple[Message, int]]:
        """The messages of one frame."""
        return iter_messages(text, read=read)

    async def say_draining(self, sessions: int) -> None:
        """``POST /agents/{agent_id}/heartbeat``: the one over the socket sets ``online``."""
        fields = {"status": "draining", "activeSessions": sessions}
        path = f"/agents/{path_segment(self._agent_id, 'agent_id')}/heartbeat"
        body = json_body(fields | with_capacity(self._capacity))
        request = Request("POST", path, body=body, slot=False, repeatable=True)
        await self._requests.send(self._session.send(request))

    async def assigned(self, known: Sequence[SessionReport]) -> Sequence[AgentSession]:
        """The sessions that this agent itself knows: no path of the server lists them."""
        return tuple(
            AgentSession(
                id=report.session_id, name=report.session_id, user=None, template=None,
                state=report.state,
            )
            for report in known
            if report.state not in TERMINAL_STATES
        )  # fmt: skip

    async def finish_requests(self) -> None:
        """Let the requests in flight end: the server goes on with those that are given up.

        It notes that an agent is offline when its socket ends. A request that says ``draining`` and
        is carried out later would leave the agent so for good.
        """
        await self._requests.finish()
