"""How much an agent accepts at once: the sessions that it declared, and commands of each kind."""

from __future__ import annotations

from collections import Counter
from typing import Final

from vcloud.providers.streamspace.agent.messages import Command, StartSession, WakeSession

__all__ = ["CommandLimits"]

#: How many commands of one kind are in flight at once, unless the declared capacity is larger.
MAX_IN_FLIGHT: Final = 1024
#: Characters of the messages that brought them. A start may bring an environment of many KiB.
MAX_IN_FLIGHT_SIZE: Final = 8 * 1024 * 1024


class CommandLimits:
    """Counts sessions and commands in flight, and decides which new commands exceed the limits.

    A session counts from the moment that its start or wake is accepted until it is hibernated or
    stopped, or the start or wake has failed. A second command for the same session does not count
    again.

    Each kind of command has its own count, so that hanging starts do not block stops, or the
    reverse.

    Args:
        max_sessions: how many sessions the agent declared to take at once; None: it did not.
    """

    def __init__(self, max_sessions: int | None) -> None:
        self._max_sessions = max_sessions
        self._max_commands = max(MAX_IN_FLIGHT, max_sessions or 0)
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        #: The sessions whose starts and wakes are in flight, with the number of these commands.
        self._starting: Counter[str] = Counter()
        #: The sessions that were started or woken, and neither hibernated nor stopped.
        self.sessions: set[str] = set()

    def refusal(self, command: Command, size: int) -> str | None:
        """Why this command exceeds a limit; None if it does not.

        Args:
            command: the new command.
            size: characters of the message that brought it.
        """
        kind = command.command_type or ""
        count = self._counts[kind]
        # A single command may be as large as the Endpoint's max_message allows.
        if count >= self._max_commands or (count and self._sizes[kind] + size > MAX_IN_FLIGHT_SIZE):
            return f"{count} {kind} commands are in flight, and the agent accepts no more at once"
        if not isinstance(command, StartSession | WakeSession) or self._max_sessions is None:
            return None
        if command.session_id in self.sessions or command.session_id in self._starting:
            return None
        if len(self.sessions | self._starting.keys()) < self._max_sessions:
            return None
        return f"the agent has no room for another session: it takes {self._max_sessions} at once"

    def started(self, command: Command, size: int) -> None:
        """Count an accepted command."""
        kind = command.command_type or ""
        self._counts[kind] += 1
        self._sizes[kind] += size
        if isinstance(command, StartSession | WakeSession):
            self._starting[command.session_id] += 1

    def ended(self, command: Command, size: int) -> None:
        """Count it no longer, whatever its result was."""
        kind = command.command_type or ""
        self._counts[kind] -= 1
        self._sizes[kind] -= size
        if isinstance(command, StartSession | WakeSession):
            self._starting[command.session_id] -= 1
            if not self._starting[command.session_id]:
                del self._starting[command.session_id]

    def succeeded(self, command: Command) -> None:
        """Update :attr:`sessions` after the handler has run the command."""
        if isinstance(command, StartSession | WakeSession):
            self.sessions.add(command.session_id)
        else:
            self.sessions.discard(command.session_id)
