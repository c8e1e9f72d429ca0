"""How much of a desktop's picture goes into one message, and when it is sent. No I/O.

The server keeps 256 messages of an agent for its viewers, and drops what comes while these wait: a
picture with a hole, for good. It says nothing back. So messages are filled, and the fewer of them a
viewer has answered, the longer is waited for more bytes. A viewer asks for each update after the
one before, so that small updates are not delayed.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_MESSAGE", "Pace", "capacity"]

#: Bytes of a message of an agent; above it the server ends the connection (1009).
MAX_MESSAGE: Final = 512 * 1024
#: Messages without an answer that are sent at once.
FREE: Final = 4
#: Seconds that one more message waits for each such message after these, and the most.
STEP: Final = 0.002
LONGEST: Final = 0.25


def capacity(overhead: int) -> int:
    """How many bytes fit into one message as base64.

    Args:
        overhead: bytes of the message around the base64.
    """
    return (MAX_MESSAGE - overhead) // 4 * 3


class Pace:
    """Counts the messages that a viewer has not answered."""

    __slots__ = ("_unanswered",)

    def __init__(self) -> None:
        self._unanswered = 0

    def sent(self) -> None:
        """One more message was sent."""
        self._unanswered += 1

    def answered(self) -> None:
        """The viewer sent something."""
        self._unanswered = 0

    @property
    def delay(self) -> float:
        """Seconds for which the next message, unless it is full, waits for more bytes."""
        return min(LONGEST, STEP * max(0, self._unanswered - FREE))
