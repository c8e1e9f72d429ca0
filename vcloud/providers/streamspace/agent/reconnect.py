"""The pauses between an agent's connections, and the sign of a second agent. No I/O."""

from __future__ import annotations

from typing import Final

from vcloud._core.retry import RetryPolicy

__all__ = ["DUPLICATE_AFTER", "STABLE_AFTER", "ReconnectBackoff"]

#: Seconds that an agent must have been registered so that the pauses start from the first again.
#: Two agents of one name displace each other whenever a pause ends, so a stable connection lasts
#: for longer than the longest pause (12 s by default). It also lasts for longer than the 45 seconds
#: after which the published server ends one without heartbeats (from its source).
STABLE_AFTER: Final = 60.0
#: After so many short registrations in a row a second agent of the same name is suspected. One or
#: two happen without: the published server ends the first connection after a drop that it has not
#: noticed.
DUPLICATE_AFTER: Final = 3


class ReconnectBackoff:
    """Counts the connections in a row that failed or did not last.

    Args:
        retry: ``base`` and ``cap`` of the pauses.
    """

    __slots__ = (
        "_again_at_once",
        "_failures",
        "_lost_at_once",
        "_retry",
        "_short_registrations",
        "stable_after",
    )

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._lost_at_once = 0
        self._again_at_once = False
        self._failures = self._short_registrations = 0
        #: Seconds that a connection must have lasted to count as stable.
        self.stable_after: float = max(STABLE_AFTER, 2 * retry.cap)

    def connection_lost(self, registered_for: float | None, *, short_lived: float = 0.0) -> bool:
        """Count a connection that was lost, or not made.

        Args:
            registered_for: seconds for which the agent was registered on it; None: it never was.
            short_lived: seconds; see :class:`~vcloud.providers.streamspace.agent.link.Link`.

        Returns:
            whether to report a suspected second agent: true once in a row of short registrations.
        """
        # One that was not made shows that the control plane itself is away, and no second agent.
        at_once = registered_for is not None and registered_for < short_lived
        self._lost_at_once = self._lost_at_once + 1 if at_once else 0
        self._again_at_once = self._lost_at_once == 1
        if registered_for is not None and registered_for >= self.stable_after:
            self._failures, self._short_registrations = 1, 0
            return False
        self._failures += 1
        if registered_for is None:
            return False
        self._short_registrations += 1
        return self._short_registrations == DUPLICATE_AFTER

    def delay(self, random: float) -> float:
        """Seconds until the next connection.

        Args:
            random: a number in 0..1, for jitter.
        """
        if self._again_at_once:
            return 0.0
        return self._retry.backoff(self._failures, random)

    @property
    def displaced(self) -> bool:
        """Whether so many connections in a row were lost at once that there is a second agent."""
        return self._lost_at_once >= DUPLICATE_AFTER
