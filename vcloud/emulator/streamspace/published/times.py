"""Times as the published StreamSpace server writes them: in UTC, without final zeros."""

from __future__ import annotations

from vcloud.emulator.clock import Clock, written


def stored(at: float, clock: Clock) -> str:
    """A simulated instant that the database has kept, with up to six decimals."""
    return _cut(clock.iso(at, "microseconds"))


def exact(at: float, clock: Clock) -> str:
    """A simulated instant as the program has it, with up to nine decimals."""
    return _cut(_longer(clock.iso(at, "microseconds"), at))


def exact_of_day(at: float) -> str:
    """A time of day, in epoch seconds, with up to nine decimals."""
    return _cut(_longer(written(at, "microseconds"), at))


def _longer(text: str, at: float) -> str:
    return f"{text.removesuffix('Z')}{int(at * 1e7) % 999 + 1:03d}Z"


def _cut(text: str) -> str:
    return f"{text.removesuffix('Z').rstrip('0').removesuffix('.')}Z"
