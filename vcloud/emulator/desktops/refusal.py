"""What a simulated desktop does not do."""

from __future__ import annotations


class NotSimulatedError(Exception):
    """A simulated desktop does not do this. A real one might, so no answer would be right.

    The message says what, in words that follow "not simulated:".
    """
