"""Whether to send again, as data. No clock, no socket, no randomness of its own."""

from __future__ import annotations

from enum import Enum

import msgspec
from attrs import field, frozen

from vcloud._core.arguments import configured, in_seconds, positive_integer, seconds_from_zero
from vcloud.errors import (
    APIError,
    AuthenticationError,
    RateLimitError,
    ServerError,
    TransportError,
    VCloudError,
)


class Verdict(Enum):
    """What to do besides waiting and sending again."""

    STOP = "stop"
    REAUTHENTICATE = "reauthenticate"


class RetryAfter(msgspec.Struct, frozen=True):
    """Send again, not before this many seconds."""

    seconds: float


Decision = RetryAfter | Verdict


#: Refusals that another attempt may not meet: they are about the connection or the moment.
_TRANSIENT = frozenset({408, 421, 425, 503})


def _passes(error: VCloudError) -> bool:
    """Whether it is of a kind that another attempt may not end with."""
    return isinstance(error, TransportError | RateLimitError | ServerError) or (
        isinstance(error, APIError) and error.status in _TRANSIENT
    )


@frozen
class RetryPolicy:
    """How often and how patiently to try again.

    Args:
        attempts: how often one call may be sent in all; 1 never sends again.
        base: before the second attempt, on average; doubles with each further one. Seconds or timedelta, as all here.
            A ``Retry-After`` that asks for longer is waited for; one that asks for less shortens
            nothing.
        cap: what they grow to, on average too: half of each pause is chance, so that one may take half as much again.
        max_retry_after: the longest ``Retry-After`` that is waited for. A longer one is never undercut:
            the call ends at once with its error instead, a :class:`~vcloud.RateLimitError` or, after a 503, a
            :class:`~vcloud.ServerError`. In a bulk run that has a deadline, a rate limit is waited for
            until that instead, and in any bulk run its refusals do not count as attempts.
    """

    attempts: int = field(default=4, validator=configured(positive_integer))
    base: float = field(default=0.25, converter=in_seconds, validator=configured(seconds_from_zero))
    cap: float = field(default=8.0, converter=in_seconds, validator=configured(seconds_from_zero))
    max_retry_after: float = field(
        default=120.0, converter=in_seconds, validator=configured(seconds_from_zero)
    )

    def backoff(self, attempt: int, random: float) -> float:
        """Seconds to wait after the ``attempt``-th try (from 1): exponential, half of it jitter (``random`` in 0..1)."""
        # The exponent is bounded because a float overflows long before patience ends.
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 64)) * (0.5 + random)

    def decide(
        self,
        error: VCloudError,
        *,
        repeatable: bool,
        attempt: int,
        random: float,
        renewed: bool,
        forgiven: int = 0,
        longest_wait: float | None = None,
    ) -> Decision:
        """What to do after the ``attempt``-th try failed with ``error``.

        Args:
            error: how it failed.
            repeatable: whether the request may be sent again at all, by
                :func:`vcloud._core.outcome.may_repeat`.
            attempt: how many were sent so far, from 1.
            random: a number in 0..1, for jitter.
            renewed: whether a credential was already renewed for this call.
            forgiven: how many of those do not count.
            longest_wait: the seconds that a ``Retry-After`` may ask for; None: ``max_retry_after``.
        """
        if not repeatable:
            return Verdict.STOP
        if isinstance(error, AuthenticationError):
            return Verdict.STOP if renewed else Verdict.REAUTHENTICATE
        if attempt - forgiven >= self.attempts or not _passes(error):
            return Verdict.STOP
        pause = self.backoff(attempt, random)
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is None:
            return RetryAfter(pause)
        if asked > (self.max_retry_after if longest_wait is None else longest_wait):
            return Verdict.STOP
        # The longer of the two: "0 seconds" is no promise that the service is well again. Jitter on
        # top, never below: a thousand clients told "45 seconds" should not come back in the same
        # instant.
        return RetryAfter(max(pause, asked + self.base * random))
