"""How an agent and its control plane talk: what the worker knows of the two dialects.

``documented/`` and ``published/`` each have a :class:`Link`, for the messages, and a
:class:`Viewers`, for VNC. ``choosing`` says which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from vcloud._core.websocket import Socket
from vcloud.providers.streamspace.agent.messages import Message, SessionReport
from vcloud.providers.streamspace.models import AgentSession

__all__ = ["Link", "Send", "Viewers"]

#: Sends one message over the connection, after those that are being sent; it waits while the
#: control plane is slow. It raises a TransportError when the connection is lost.
Send = Callable[[str], Awaitable[None]]


class Link(Protocol):
    """The messages between an agent and an installation of one dialect.

    Attributes:
        registration: the message that registers the agent on a new connection, and is answered;
            None: :meth:`connect` has registered it.
        reports_states: whether the state of a session changes by reports only, not by the results
            of commands.
        lists_sessions: whether :meth:`assigned` knows all sessions.
        says_draining: whether :meth:`say_draining` does something.
        short_lived: seconds; a connection that ends earlier is made once more at once, and three
            in a row end the agent. 0: it has no such rule.
    """

    @property
    def registration(self) -> str | None: ...
    @property
    def reports_states(self) -> bool: ...
    @property
    def lists_sessions(self) -> bool: ...
    @property
    def says_draining(self) -> bool: ...
    @property
    def short_lived(self) -> float: ...

    async def connect(self) -> Socket:
        """Open a connection."""
        ...

    def encode(self, message: Message) -> str:
        """The text of a message.

        Raises:
            InvalidArgumentError: it holds a value that JSON has no form for.
        """
        ...

    def decode(self, text: str) -> Iterator[tuple[Message, int]]:
        """The messages of one frame, each with the number of its characters.

        Commands are the same objects in both dialects.
        """
        ...

    async def say_draining(self, sessions: int) -> None:
        """Say that the agent takes no new sessions, where the heartbeat cannot.

        It is called after each heartbeat of a draining agent.

        Args:
            sessions: how many it has.
        """
        ...

    async def assigned(self, known: Sequence[SessionReport]) -> Sequence[AgentSession]:
        """The sessions that are on this agent and not over.

        Args:
            known: the last report of each session that this agent knows.
        """
        ...

    async def finish_requests(self) -> None:
        """Let those requests end that must not be given up: the connection, or the agent, ends."""
        ...


class Viewers(Protocol):
    """Connects viewers with the VNC servers of an agent's sessions."""

    def receive(self, message: Message) -> None:
        """Handle a message, if it is about viewers."""
        ...

    def connected(self, send: Send) -> None:
        """A connection begins."""
        ...

    def disconnected(self) -> None:
        """The connection has ended."""
        ...

    def session_ending(self, session_id: str) -> None:
        """A session is being stopped or hibernated; :meth:`session_changed` says what it became."""
        ...

    def session_changed(self, report: SessionReport) -> None:
        """A session has a new state: it runs, or no longer."""
        ...

    async def cancel(self) -> None:
        """End everything."""
        ...
