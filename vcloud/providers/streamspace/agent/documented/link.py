"""The agent's messages as the document has them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vcloud._core.request import Request, query
from vcloud._core.session import Session
from vcloud._core.websocket import Socket
from vcloud.providers.streamspace.agent.documented.assigned import assigned_sessions
from vcloud.providers.streamspace.agent.messages import (
    Message,
    Register,
    SessionReport,
)
from vcloud.providers.streamspace.agent.parsing import iter_messages
from vcloud.providers.streamspace.agent.writing import encode_message
from vcloud.providers.streamspace.models import AgentSession

__all__ = ["DocumentedLink"]


class DocumentedLink:
    """``GET /agent/ws`` (WebSocket), and the messages on it.

    Args:
        client: the client's session, for requests.
        session: the agent's, for its sockets.
        register: what the agent sends about itself.
    """

    lists_sessions: bool = True
    reports_states: bool = False
    says_draining: bool = False
    short_lived: float = 0.0

    def __init__(self, client: Session, session: Session, register: Register) -> None:
        self._client = client
        self._session = session
        self._agent_id = register.agent_id
        #: See :class:`~vcloud.providers.streamspace.agent.link.Link`.
        self.registration: str | None = encode_message(register)
        self._query = query(
            {
                "agent_id": register.agent_id,
                "platform": register.platform,
                "region": register.region,
            }
        )

    async def connect(self) -> Socket:
        """Open a connection, on which :attr:`registration` comes first."""
        # Without a slot: viewers that use the same client may hold all of them, and wait for this.
        request = Request("GET", "/agent/ws", self._query, slot=False)
        return await self._session.connect(request, root=True)

    def encode(self, message: Message) -> str:
        """The JSON of a message."""
        return encode_message(message)

    def decode(self, text: str) -> Iterator[tuple[Message, int]]:
        """The messages of one frame."""
        return iter_messages(text)

    async def say_draining(self, sessions: int) -> None:
        """Nothing: an agent that drains refuses the commands, and the API sets its status."""

    async def assigned(self, known: Sequence[SessionReport]) -> Sequence[AgentSession]:  # noqa: ARG002 - as the protocol says
        """The sessions that the control plane has on this agent.  ``GET /agents/{agent_id}``"""
        return await assigned_sessions(self._client, self._agent_id)

    async def finish_requests(self) -> None:
        """Nothing: what is in flight may be given up."""
