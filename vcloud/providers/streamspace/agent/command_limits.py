"""How much an agent takes on at once: the sessions that it declared, and commands of each kind."""

from __future__ import annotations

from collections import Counter
from typing import Final

from vcloud.providers.streamspace.agent.messages import Command, StartSession, WakeSession

__all__ = ["CommandLimits"]

#: How many commands of one kind are under way at once, where the declared capacity is not more.
MAX_IN_FLIGHT: Final = 1024
#: Characters of the messages that brought them. A start may bring an environment of many KiB.
MAX_IN_FLIGHT_SIZE: Final = 8 * 1024 * 1024


class CommandLimits:
    """Counts what is under way, and says what there is no room for.

    A session takes its place from the moment that its start or wake is accepted until it is
    hibernated or stopped, or the start or wake has failed. One that is there already, or under
    way, takes no second one.

    Commands of each kind are counted by themselves, so that starts that hang do not keep stops
    out, nor the other way about.

    Args:
        max_sessions: how many sessions the agent declared to take at once; None: it did not.
    """

    def __init__(self, max_sessions: int | None) -> None:
        self._max_sessions = max_sessions
        self._most = max(MAX_IN_FLIGHT, max_sessions or 0)
        self._counts: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        #: The sessions of starts and wakes that are under way, and how often.
        self._coming: Counter[str] = Counter()
        #: The sessions that are there: started or woken, and neither hibernated nor stopped.
        self.sessions: set[str] = set()

    def refusal(self, command: Command, size: int) -> str | None:
        """Why there is no room for this command; None if there is.

        Args:
            command: what is to be done.
            size: characters of the message that brought it.
        """
        kind = command.command_type or ""
        count = self._counts[kind]
        # One that is alone has the room that the Endpoint's max_message gave it.
        if count >= self._most or (count and self._sizes[kind] + size > MAX_IN_FLIGHT_SIZE):
            return f"{count} commands {kind} are under way, and the agent takes no more at once"
        if not isinstance(command, StartSession | WakeSession) or self._max_sessions is None:
            return None
        if command.session_id in self.sessions or command.session_id in self._coming:
            return None
        if len(self.sessions | self._coming.keys()) < self._max_sessions:
            return None
        return f"the agent has no room for another session: it takes {self._max_sessions} at once"

    def enter(self, command: Command, size: int) -> None:
        """A command is accepted."""
        kind = command.command_type or ""
        self._counts[kind] += 1
        self._sizes[kind] += size
        if isinstance(command, StartSession | WakeSession):
            self._coming[command.session_id] += 1

    def leave(self, command: Command, size: int) -> None:
        """A command is over, whatever became of it."""
        kind = command.command_type or ""
        self._counts[kind] -= 1
        self._sizes[kind] -= size
        if isinstance(command, StartSession | WakeSession):
            self._coming[command.session_id] -= 1
            if not self._coming[command.session_id]:
                del self._coming[command.session_id]

    def completed(self, command: Command) -> None:
        """The handler has carried the command out."""
        if isinstance(command, StartSession | WakeSession):
            self.sessions.add(command.session_id)
        else:
            self.sessions.discard(command.session_id)
