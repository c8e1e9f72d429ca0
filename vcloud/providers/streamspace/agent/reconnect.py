"""How patiently an agent connects again, and when it says that another one has its name. No I/O."""

from __future__ import annotations

from typing import Final

from vcloud._core.retry import RetryPolicy

__all__ = ["DUPLICATE_AFTER", "STABLE_AFTER", "ReconnectBackoff"]

#: Seconds that an agent must have been registered, so that the first pause comes again. Of two
#: agents of one name, each displaces the other when its own pause is over, so a connection must
#: last for longer than the longest pause (12 by default). It must also outlive the 45 seconds after
#: which the published server ends one without heartbeats (from its source).
STABLE_AFTER: Final = 60.0
#: So many registrations in a row that did not last are no accident: the published server ends the
#: first connection after a drop as well, when it has not noticed the drop.
DUPLICATE_AFTER: Final = 3


class ReconnectBackoff:
    """The connections in a row that were not made, or did not last.

    Args:
        retry: ``base`` and ``cap`` of the pauses.
    """

    __slots__ = ("_displaced", "_failures", "_retry", "lasted")

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._failures = self._displaced = 0
        #: Seconds that a connection must have lasted.
        self.lasted = max(STABLE_AFTER, 2 * retry.cap)

    def lost(self, registered: float | None) -> bool:
        """A connection was lost, or was not made.

        Args:
            registered: for how many seconds the agent was registered on it; None: it never was.

        Returns:
            whether to say, now and not again in this streak, that another agent has its name.
        """
        if registered is not None and registered >= self.lasted:
            self._failures, self._displaced = 1, 0
            return False
        self._failures += 1
        self._displaced += registered is not None
        return registered is not None and self._displaced == DUPLICATE_AFTER

    def pause(self, random: float) -> float:
        """Seconds until it connects again.

        Args:
            random: a number in 0..1, for jitter.
        """
        return self._retry.backoff(self._failures, random)
