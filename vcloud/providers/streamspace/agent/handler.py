"""What the user of an agent writes: how its commands are carried out."""

from __future__ import annotations

import os
from typing import Protocol

from vcloud.errors.text import printable
from vcloud.providers.streamspace.agent.messages import (
    Command,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    VNCProxyRequest,
    WakeSession,
)

__all__ = ["AgentHandler", "CommandFailed"]

#: Host and port, or the absolute path of a Unix socket.
VNCAddress = tuple[str, int] | str | os.PathLike[str]


class CommandFailed(Exception):
    """For a handler to raise: the command failed, for this reason.

    Args:
        code: what the control plane gets as ``error_code``, such as ``INSUFFICIENT_RESOURCES``.
        message: the reason, in words; it is sent too. Of an exception its text is, or the name of its class
            if it has none.
    """

    def __init__(self, code: str, message: str | Exception) -> None:
        self.code = str(code)
        self.message = str(message) or ("" if isinstance(message, str) else type(message).__name__)
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        return printable(f"{self.code}: {self.message}")


class AgentHandler(Protocol):
    """What an agent does. Each method may run many times at once, for different commands, and may be cancelled.

    Sessions beyond the declared ``max_sessions`` are refused before it hears of them.

    It raises :class:`CommandFailed` to say why it cannot; of any other exception the control plane learns the class's
    name alone. A command whose method returns anything but a :class:`SessionResult` or None, or a result that
    JSON cannot hold, is answered as ``failed`` with ``INTERNAL_ERROR``, and ``on_error`` is told.
    """

    async def start_session(self, command: StartSession) -> SessionResult | None:
        """Start a session; what is returned goes back, with the session's id."""
        ...

    async def hibernate_session(self, command: HibernateSession) -> SessionResult | None:
        """Save a session's state and give up its container.

        It takes no room of ``max_sessions`` from then on: a handler that keeps anything for it bounds
        that itself.
        """
        ...

    async def wake_session(self, command: WakeSession) -> SessionResult | None:
        """Let a hibernated session go on."""
        ...

    async def stop_session(self, command: StopSession) -> SessionResult | None:
        """End a session; one that is not there is ended already."""
        ...

    async def vnc_address(self, request: VNCProxyRequest) -> VNCAddress:
        """Where the session's VNC server can be reached from here.

        Either ``(host, port)``, or the absolute path of its Unix socket as a ``str`` or as an
        ``os.PathLike`` of ``str``, such as :class:`pathlib.Path`. A path is better where there is a
        choice: the rights of its folder say which users of this machine can connect, while a port
        on loopback takes all of them.
        """
        ...


def words(value: object) -> str:
    """What an object of a handler's says, which may be an error in the place of a text.

    One that cannot say anything gives the name of its class.
    """
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever a class of the user's does
        return type(value).__name__


async def carry_out(handler: AgentHandler, command: Command) -> SessionResult | None:
    """Give a command to the method that is for it.

    Raises:
        CommandFailed: there is none, or the handler says so.
    """
    match command:
        case StartSession():
            return await handler.start_session(command)
        case HibernateSession():
            return await handler.hibernate_session(command)
        case WakeSession():
            return await handler.wake_session(command)
        case StopSession():
            return await handler.stop_session(command)
    raise CommandFailed("UNKNOWN_COMMAND", "this agent does not know such a command")
