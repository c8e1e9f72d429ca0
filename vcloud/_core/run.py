"""What the calls of one bulk run have in common."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from vcloud._core.waiting import Wait


class BulkRun(msgspec.Struct, eq=False):
    """One bulk run, as its calls see it.

    Attributes:
        left: the seconds until the run must be over, for as long as which a rate limit is waited
            for; None: the run may last as long as it takes.
        shown: whether somebody watches what its calls wait for.
        waits: those of its calls that wait before they are sent, if it is.
        refused_since: when the service refused a request because of a rate limit and neither let
            one in nor was an item over since, in monotonic seconds; None: not so.
        ended: whether it is over.
    """

    left: Callable[[], float] | None = None
    shown: bool = False
    waits: dict[Wait, None] = msgspec.field(default_factory=dict)
    refused_since: float | None = None
    ended: bool = False

    def patience(self, usual: float, now: float) -> float:
        """Seconds for which a rate limit may be used up.

        Args:
            usual: for a call outside of a run.
            now: the time, in monotonic seconds.
        """
        if self.left is not None:
            return self.left()
        return 0.0 if self.is_refused_for_good(usual, now) else usual

    def refused(self, now: float) -> None:
        """The service refused a request because of a rate limit.

        Of thousands of calls, some meet it again and again, so it does not count as an attempt.

        Args:
            now: when, in monotonic seconds.
        """
        if self.refused_since is None:
            self.refused_since = now

    def let_in(self) -> None:
        """A request got through, or an item is over."""
        if not self.ended:
            self.refused_since = None

    def is_refused_for_good(self, usual: float, now: float) -> bool:
        """Whether a run without a deadline has waited in vain for as long as it should.

        A run that has a deadline ends with that.

        Args:
            usual: the seconds for which a call outside of a run waits.
            now: the time, in monotonic seconds.
        """
        return self.left is None and (
            self.refused_since is not None and now - self.refused_since > usual
        )

    def end(self) -> None:
        """It is over. What its items left running waits as any other call does."""
        self.left, self.refused_since, self.ended = None, None, True


#: The run whose work runs here, the innermost of several.
RUN: Final[ContextVar[BulkRun | None]] = ContextVar("vcloud_run", default=None)
