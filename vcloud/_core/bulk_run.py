"""What the calls of one bulk run have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import msgspec

from vcloud._core.waiting_report import WaitingCall


class BulkRun(msgspec.Struct, eq=False):
    """One bulk run, as its calls see it.

    Attributes:
        left: the seconds until the run must be over. Its calls wait for rate limits that long.
            None: the run has no deadline.
        shown: whether the progress of the run is shown, with what its calls wait for.
        waits: the calls of the run that wait before they are sent, if it is shown.
        began: when the run began, in monotonic seconds.
        ended: whether the run is over.
    """

    left: Callable[[], float] | None = None
    shown: bool = False
    waits: dict[WaitingCall, None] = msgspec.field(default_factory=dict)
    began: float = 0.0
    ended: bool = False

    def longest_wait(self, usual: float, refused_since: float, now: float) -> float:
        """Seconds for which a rate limit may be used up.

        Args:
            usual: for a call outside of a run.
            refused_since: since when the service has refused every request; infinity: it does not.
            now: the time. All are monotonic seconds.
        """
        if self.left is not None:
            return self.left()
        return 0.0 if self.is_refused_for_good(usual, refused_since, now) else usual

    def is_refused_for_good(self, usual: float, refused_since: float, now: float) -> bool:
        """Whether the service has refused everything for as long as the run waits.

        This ends a run that has no deadline. Refusals do not count as attempts: among thousands of
        calls, some are refused again and again.

        Args:
            usual: as above.
            refused_since: as above.
            now: as above.
        """
        if self.left is not None or self.ended:
            return False
        return now - max(refused_since, self.began) > usual

    def end(self) -> None:
        """End the run. Calls that its items left running then wait as any other call does."""
        self.left, self.ended = None, True


#: The bulk run whose work runs here, the innermost of several.
RUN: Final[ContextVar[BulkRun | None]] = ContextVar("vcloud_run", default=None)
