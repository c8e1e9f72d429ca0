"""What an error says of clocks that differ. Imports nothing of the package."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["clocks_differ"]


def clocks_differ(difference: timedelta) -> str:
    """Why a wrong clock may be the reason of a refusal.

    Args:
        difference: by how much the answer's ``Date`` is ahead of this machine's clock.
    """
    side = "behind" if difference > timedelta() else "ahead of"
    return (
        f"this machine's clock is {abs(difference)} {side} the Date of the answer, and more than a "
        "day is not corrected: set this machine's clock, or, if it is right, find what sent that "
        "Date (a proxy?)"
    )
