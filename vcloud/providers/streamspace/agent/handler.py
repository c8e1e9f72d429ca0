"""What the user of an agent writes: how its commands are carried out."""

from __future__ import annotations

import os
from typing import Final, Protocol

from vcloud.errors import InvalidArgumentError
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

__all__ = ["AgentHandler", "CommandFailed", "VNCAddress", "check_handler"]

#: Host and port, or the absolute path of a Unix socket.
VNCAddress = tuple[str, int] | str | os.PathLike[str]


class CommandFailed(Exception):
    """Raised by a handler to fail a command, with a reason.

    Args:
        code: what the control plane gets as ``error_code``, such as ``INSUFFICIENT_RESOURCES``.
        message: the reason, which is sent too. For an exception, its text is sent, or the name of
            its class if it has none.
    """

    code: str
    message: str

    def __init__(self, code: str, message: str | Exception) -> None:
        self.code = str(code)
        self.message = str(message) or ("" if isinstance(message, str) else type(message).__name__)
        super().__init__(self.code, self.message)

    def __str__(self) -> str:
        return printable(f"{self.code}: {self.message}")


class AgentHandler(Protocol):
    """Carries out an agent's commands.

    Each method may run many times at once, for different commands, and may be cancelled. It is not
    called for sessions beyond the declared ``max_sessions``, which are refused.

    A method raises :class:`CommandFailed` to fail its command with a reason; of any other exception
    the control plane gets the name of its class only. If a method returns anything but a
    :class:`SessionResult` or None, or a result that JSON cannot hold, its command is answered as
    ``failed`` with ``INTERNAL_ERROR``, and ``on_error`` is called.
    """

    async def start_session(self, command: StartSession) -> SessionResult | None:
        """Start a session. The control plane gets the returned result, with the session's id."""
        ...

    async def hibernate_session(self, command: HibernateSession) -> SessionResult | None:
        """Save a session's state and give up its container.

        From then on it does not count towards ``max_sessions``: a handler that keeps anything for
        it limits that itself.
        """
        ...

    async def wake_session(self, command: WakeSession) -> SessionResult | None:
        """Wake a hibernated session."""
        ...

    async def stop_session(self, command: StopSession) -> SessionResult | None:
        """End a session. A session that does not exist has ended already: that is not an error."""
        ...

    async def vnc_address(self, request: VNCProxyRequest) -> VNCAddress:
        """Where the agent can reach the session's VNC server.

        For a published server it is called when the session runs, before any viewer, and again
        after each viewer; ``request.proxy_id`` is then the session's id.

        Either ``(host, port)``, or the absolute path of its Unix socket as a ``str`` or as an
        ``os.PathLike`` of ``str``, such as :class:`pathlib.Path`. Prefer a path: the permissions of
        its folder decide which users of this machine can connect, while all of them can connect to
        a port on loopback.
        """
        ...


_METHODS: Final = (
    "start_session",
    "hibernate_session",
    "wake_session",
    "stop_session",
    "vnc_address",
)


def check_handler(handler: object) -> None:
    """Check that an object has the methods of :class:`AgentHandler`.

    Raises:
        InvalidArgumentError: it lacks some of them.
    """
    missing = [name for name in _METHODS if not callable(getattr(handler, name, None))]
    if missing:
        raise InvalidArgumentError(
            f"handler must be an AgentHandler; {type(handler).__name__} has no {', '.join(missing)}"
        )


def text_of(value: object) -> str:
    """The text of an object that a handler gave; the name of its class if it raises instead.

    A handler may have put an exception in the place of a text.
    """
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a class of the user's may do anything
        return type(value).__name__


async def carry_out(handler: AgentHandler, command: Command) -> SessionResult | None:
    """Call the handler's method for a command.

    Raises:
        CommandFailed: there is no such method, or the handler raised it.
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
