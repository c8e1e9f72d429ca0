"""How many calls wait, for what, and until when: for the log and the progress of a bulk run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from vcloud._core.observe import WaitReason


class Waiting(NamedTuple):
    """Calls of one provider that wait for the same reason."""

    provider: str
    reason: WaitReason
    #: How many there are.
    calls: int
    #: When the first of them can continue; None if unknown.
    until: datetime | None


class WaitingCall(Protocol):
    """One call that waits."""

    @property
    def provider(self) -> str:
        """The provider that it is for."""
        ...

    @property
    def reason(self) -> WaitReason:
        """What it waits for."""
        ...

    @property
    def is_long(self) -> bool:
        """Whether it has waited for more than a second, or will."""
        ...

    @property
    def ends(self) -> float | None:
        """When its wait ends at the earliest, in monotonic seconds; None if unknown."""
        ...

    def at(self, when: float | None) -> datetime | None:
        """A monotonic time as a point in time."""
        ...


def summary(waits: Iterable[WaitingCall]) -> list[Waiting]:
    """How many calls wait for each reason, without those whose wait may be shorter than a second.

    Args:
        waits: the calls that wait.
    """
    counts: Counter[tuple[str, WaitReason]] = Counter()
    first: dict[tuple[str, WaitReason], tuple[float, WaitingCall]] = {}
    for wait in waits:
        if not wait.is_long:
            continue
        key, ends = (wait.provider, wait.reason), wait.ends
        counts[key] += 1
        if ends is not None and (key not in first or ends < first[key][0]):
            first[key] = ends, wait
    return [
        Waiting(*key, count, first[key][1].at(first[key][0]) if key in first else None)
        for key, count in counts.items()
    ]


def as_datetime(seconds: float) -> datetime | None:
    """A time in Unix seconds as a datetime; None if it is too far away for one."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


#: Each reason in words.
_WORDS: Final = {
    WaitReason.SLOT: "a free slot (concurrency)",
    WaitReason.RATE_LIMIT: "the rate limit",
    WaitReason.PAUSE: "a pause that the service asked for",
    WaitReason.LOGIN: "a login",
    WaitReason.RETRY: "the next attempt",
    WaitReason.SHARED_BUDGET: "the shared budget",
    WaitReason.DESCRIPTORS: "free file descriptors or ports",
}


def in_words(waiting: Waiting) -> str:
    """One line for the log: ``computers: 40 calls wait for a free slot (concurrency)``."""
    one = waiting.calls == 1
    calls = "1 call waits" if one else f"{waiting.calls} calls wait"
    until = "" if waiting.until is None else f", until at least {waiting.until:%H:%M:%S} UTC"
    return f"{waiting.provider}: {calls} for {_WORDS[waiting.reason]}{until}"


def briefly(waiting: Waiting) -> str:
    """The same for a progress bar: ``computers: 40 wait for a free slot (concurrency)``."""
    wait = "waits" if waiting.calls == 1 else "wait"
    until = "" if waiting.until is None else f" until {waiting.until:%H:%M:%S} UTC"
    return f"{waiting.provider}: {waiting.calls} {wait} for {_WORDS[waiting.reason]}{until}"
