"""Whether a request is sent again, and when: a pure function of what happened.

It reads no clock, opens no socket and draws no random number.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from attrs import field, frozen

from vcloud._core.arguments import configured, in_seconds, positive_integer, seconds_from_zero
from vcloud._core.guided import Guided
from vcloud._core.wrong_arguments import explained_constructor
from vcloud.errors import (
    APIError,
    AuthenticationError,
    RateLimitError,
    ServerError,
    TransportError,
    VCloudError,
)


class Verdict(Enum):
    """What to do, if not to wait and send again."""

    STOP = "stop"
    REAUTHENTICATE = "reauthenticate"


class RetryAfter(msgspec.Struct, frozen=True):
    """Send again after this many seconds."""

    seconds: float


Decision = RetryAfter | Verdict


#: Statuses that another attempt may not get: they are about the connection or the moment.
_TRANSIENT = frozenset({408, 421, 425, 503})


def _is_transient(error: VCloudError) -> bool:
    """Whether another attempt may succeed."""
    return isinstance(error, TransportError | RateLimitError | ServerError) or (
        isinstance(error, APIError) and error.status in _TRANSIENT
    )


@explained_constructor("RetryPolicy")
@frozen
class RetryPolicy(Guided):
    """How often a request is sent again, and after which pauses.

    Args:
        attempts: how often one request may be sent in all; 1: it is never sent again.
        base: the average pause before the second attempt. It doubles with each further attempt.
            Seconds or a timedelta, as all times here. A ``Retry-After`` that asks for longer is
            obeyed; one that asks for less shortens nothing.
        cap: the longest average pause. Half of each pause is random, so that a single one may take
            half as long again.
        max_retry_after: the longest ``Retry-After`` that is waited for. If the service asks for
            longer, the call ends at once with its error: a :class:`~vcloud.RateLimitError` or,
            after a 503, a :class:`~vcloud.ServerError`. In a bulk run that has a deadline, a rate
            limit is waited for until that deadline instead. In any bulk run, refusals for the rate
            do not count as attempts.
    """

    attempts: int = field(default=4, validator=configured(positive_integer))
    base: float = field(default=0.25, converter=in_seconds, validator=configured(seconds_from_zero))
    cap: float = field(default=8.0, converter=in_seconds, validator=configured(seconds_from_zero))
    max_retry_after: float = field(
        default=120.0, converter=in_seconds, validator=configured(seconds_from_zero)
    )

    def backoff(self, attempt: int, random: float) -> float:
        """Seconds to wait after an attempt: they grow exponentially, and half of them is jitter.

        Args:
            attempt: its number, from 1.
            random: a number in 0..1.
        """
        # The exponent is bounded, because a float overflows for large ones.
        return min(self.cap, self.base * 2.0 ** min(attempt - 1, 64)) * (0.5 + random)


def decide(
    policy: RetryPolicy,
    error: VCloudError,
    *,
    repeatable: bool,
    attempt: int,
    random: float,
    renewed: bool,
    forgiven: int = 0,
    longest_wait: float | None = None,
) -> Decision:
    """What to do after an attempt failed.

    Args:
        policy: how often, and after which pauses.
        error: how it failed.
        repeatable: whether the request may be sent again at all, by
            :func:`vcloud._core.outcome.may_repeat`.
        attempt: its number, from 1.
        random: a number in 0..1, for jitter.
        renewed: whether a credential was already renewed for this call.
        forgiven: how many of the attempts so far do not count.
        longest_wait: the seconds that a ``Retry-After`` may ask for; None: ``max_retry_after``.
    """
    if not repeatable:
        return Verdict.STOP
    if isinstance(error, AuthenticationError):
        return Verdict.STOP if renewed else Verdict.REAUTHENTICATE
    if attempt - forgiven >= policy.attempts or not _is_transient(error):
        return Verdict.STOP
    pause = policy.backoff(attempt, random)
    asked = error.retry_after if isinstance(error, APIError) else None
    if asked is None:
        return RetryAfter(pause)
    if asked > (policy.max_retry_after if longest_wait is None else longest_wait):
        return Verdict.STOP
    # The longer of the two, because "0 seconds" does not mean that the service has recovered.
    # The jitter is added: a thousand clients that got "45 seconds" must come back neither earlier
    # nor all at once.
    return RetryAfter(max(pause, asked + policy.base * random))
