"""The limits of the arguments of faults, and how they are checked."""

from __future__ import annotations

from typing import Final, TypeVar

T = TypeVar("T")

MEGABYTE: Final = 10**6
MOST_SIZE: Final = 4000 * MEGABYTE
"""Maximum bytes of `huge_body` and `gzip_bomb`: more than any client's own limit accepts."""
MOST_LEVELS: Final = 10**6
"""Maximum levels of `deep`: its body is in memory, and has eleven bytes for each."""
LONGEST_VALUE: Final = 64 * 1024
"""Maximum characters of `unknown_values`: they are in every field of every item of an answer."""
LONGEST: Final = 86_400
"""Maximum seconds of a fault. With None, a stall lasts until the client disconnects."""
FARTHEST: Final = 1e9
"""Maximum seconds in an answer: later dates cannot be written."""


def seconds(name: str, value: float) -> float:
    """Check how long a fault lasts."""
    # False for NaN, too.
    if not 0 <= value <= LONGEST:
        msg = f"{name} must be at least 0 and at most {LONGEST}, not {value!r}"
        raise ValueError(msg)
    return value


def finite(value: T) -> T:
    """Check the seconds in an answer; strings and None pass."""
    # False for NaN, too.
    if isinstance(value, int | float) and not abs(value) <= FARTHEST:
        msg = f"{value!r} is not a number of seconds of at most {FARTHEST:.0f}"
        raise ValueError(msg)
    return value


def count(name: str, value: int, *, least: int = 0, most: int | None = None) -> int:
    """Check a number of bytes or levels."""
    if value < least:
        msg = f"{name} must be at least {least}, not {value!r}"
        raise ValueError(msg)
    if most is not None and value > most:
        msg = f"{name} must be at most {most}, not {value!r}"
        raise ValueError(msg)
    return value


def status(value: int) -> int:
    """Check the status of an answer."""
    if not 200 <= value <= 999:
        msg = f"an answer's status is from 200 to 999, not {value!r}"
        raise ValueError(msg)
    return value
