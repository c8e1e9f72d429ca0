"""What one piece of work has sent so far, for whoever must say afterwards what became of it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import msgspec


class Tally(msgspec.Struct):
    """Counts the attempts that a task and its children send.

    Attributes:
        attempts: requests sent, each repeat counted; logins are not.
    """

    attempts: int = 0


#: The tally of the work that runs here, if anybody keeps one.
TALLY: Final[ContextVar[Tally | None]] = ContextVar("vcloud_tally", default=None)
