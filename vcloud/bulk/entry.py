"""One item in the journal, and the row of the database that holds it."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from vcloud._core.model import Model
from vcloud.bulk.outcome import OutcomeStatus
from vcloud.errors.text import printable

#: 100 years in seconds: no action takes as long, and a timedelta can hold it.
MAX_SECONDS: Final = 36_525 * 86_400.0
#: The columns that :func:`entry_of` reads.
COLUMNS: Final = "key, status, attempts, seconds, error, recorded"


@frozen
class Entry(Model):
    """One item in the journal.

    Attributes:
        key: the item's name.
        status: its outcome: done, failed or unknown. An undone item has no entry.
        attempts: requests sent; 0 if the process was killed meanwhile.
        duration: how long the action took; zero if the process was killed meanwhile.
        error: what went wrong, on one printable line; None if nothing did, or if the process was
            killed.
        recorded: what was kept of the result.
    """

    key: str
    status: OutcomeStatus
    attempts: int = 0
    duration: timedelta = timedelta()
    error: str | None = None
    recorded: Any = None


def _finite(text: str) -> float:
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(f"{text:.80} is not a JSON number")


#: Arguments with which `json.loads` refuses NaN, infinities, and numbers too large for a float.
_FINITE: Final[dict[str, Any]] = {"parse_constant": _finite, "parse_float": _finite}


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry in a row.

    Raises:
        ValueError: it has a value that no run writes.
    """
    key, status, attempts, seconds, error, recorded = row
    # A column of SQLite takes any value, and 1e300 s is not a duration.
    sound = isinstance(attempts, int) and isinstance(seconds, int | float)
    if not (sound and attempts >= 0 and 0 <= seconds <= MAX_SECONDS):
        raise ValueError(f"attempts or seconds of {key!r:.80} are out of range")
    try:
        kept = None if recorded is None else json.loads(recorded, **_FINITE)
    except (TypeError, RecursionError):
        raise ValueError(f"what was recorded of {key!r:.80} cannot be read") from None
    # Earlier versions, and other programs, wrote a service's message as it was.
    words = None if error is None else printable(str(error))
    return Entry(key, OutcomeStatus(status), attempts, timedelta(seconds=seconds), words, kept)
