"""What the calls of one bulk run have in common."""

from __future__ import annotations

import math
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
        refused_since: when the service refused a request because of a rate limit and no item was
            over since, in monotonic seconds; None: not so.
    """

    left: Callable[[], float] | None = None
    shown: bool = False
    waits: dict[Wait, None] = msgspec.field(default_factory=dict)
    refused_since: float | None = None

    def patience(self, usual: float) -> float:
        """Seconds for which a rate limit may be used up.

        Args:
            usual: for a call outside of a run.
        """
        return usual if self.left is None else self.left()

    def forgives(self, now: float, usual: float) -> bool:
        """Whether a refusal because of a rate limit does not count as an attempt.

        Of thousands of calls, some meet it again and again. A run that has a deadline ends with
        that, and one that has none when no item is over for as long as a call would wait.

        Args:
            now: when the service refused, in monotonic seconds.
            usual: the seconds for which a call outside of a run waits.
        """
        if self.refused_since is None:
            self.refused_since = now
        return self.left is not None or now - self.refused_since <= usual

    def end(self) -> None:
        """It is over. What its items left running waits as any other call does."""
        self.left, self.refused_since = None, -math.inf


#: The run whose work runs here, the innermost of several.
RUN: Final[ContextVar[BulkRun | None]] = ContextVar("vcloud_run", default=None)
