"""The registry of the desktops that a client launched."""

from __future__ import annotations

from typing import Final

__all__ = ["LaunchRegistry"]

#: The registry is searched for desktops that have ended once it has at least so many.
_MIN_SEARCHED: Final = 64


class LaunchRegistry:
    """The ids of launched desktops that may still exist. The service has no list of them."""

    __slots__ = ("_ends", "_search_at")

    def __init__(self) -> None:
        #: When each desktop stops by itself, in monotonic seconds, in the order of their launch.
        self._ends: dict[str, float] = {}
        #: The number of desktops at which those that have ended are searched for.
        self._search_at = _MIN_SEARCHED

    def add(self, id: str, *, now: float, ends: float) -> None:
        """Add a desktop, until it stops by itself; both in monotonic seconds."""
        # The oldest come first, so a client that launches for years keeps only what may still run.
        while self._ends and next(iter(self._ends.values())) <= now:
            del self._ends[next(iter(self._ends))]
        # Any number of desktops that have ended may come after one that runs long.
        if len(self._ends) >= self._search_at:
            self._ends = {one: end for one, end in self._ends.items() if end > now}
            self._search_at = max(_MIN_SEARCHED, 2 * len(self._ends))
        self._ends[id] = ends

    def discard(self, id: str) -> None:
        """Remove a desktop that has ended, if it is there."""
        self._ends.pop(id, None)

    def ids(self) -> tuple[str, ...]:
        """All ids, in the order of their launch."""
        return tuple(self._ends)
