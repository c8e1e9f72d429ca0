"""The quotas of the published StreamSpace server, which are the same for every user."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from attrs import frozen

from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.state import Session

MOST: Final = 5
"""Sessions of a user."""
EACH: Final = (2000, 4096)
TOGETHER: Final = (4000, 8192)
"""Thousandths of a core, and MiB."""
COUNTED: Final = frozenset({"running", "starting", "hibernated", "waking"})
"""The states that count. Others do not, so that many creates at once are let through."""
MEMORY: Final = "2Gi"
CPU: Final = "1000m"
"""What a session has if the request does not say."""

_QUANTITY: Final = re.compile(r"([+-]?[0-9]*(?:\.[0-9]*)?)([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT: Final = re.compile(r"[eE][-+]?[0-9]{1,5}")
_NO_DIGIT: Final = ("", "+", "-", ".")
_LARGEST: Final = 2**63 - 1
_FACTORS: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal("1e3"), "M": Decimal("1e6"), "G": Decimal("1e9"), "T": Decimal("1e12"),
    "P": Decimal("1e15"), "E": Decimal("1e18"),
    **{f"{letter}i": Decimal(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", start=1)},
}  # fmt: skip
_MALFORMED: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_BOUNDS: Final = ((100, "100m", 64_000, "64000m"), (128, "128Mi", 524_288, "512Gi"))


@frozen
class Resources:
    """What a session takes: thousandths of a core, and MiB."""

    cpu: int
    memory: int

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Resources:
        """Read the quantities of a session.

        Raises:
            PublishedError: one is malformed, or out of the bounds for all.
        """
        cpu = _checked("CPU", math.ceil(_quantity("CPU", given["cpu"]) * 1000), _BOUNDS[0])
        mebibytes = int(math.ceil(_quantity("memory", given["memory"])) // 2**20)
        return cls(cpu, _checked("memory", mebibytes, _BOUNDS[1]))


def check(wanted: Resources, sessions: Iterable[Session], now: float) -> None:
    """Refuse a session that exceeds the quota of its user, who has these sessions.

    Raises:
        PublishedError: the refusal.
    """
    counted = [Resources.of(one.resources) for one in sessions if one.state_at(now) in COUNTED]
    if len(counted) >= MOST:
        raise _exceeded(f"session quota exceeded: {len(counted)}/{MOST} sessions active")
    cpu, memory = EACH
    if wanted.cpu > cpu:
        raise _exceeded(f"CPU quota exceeded: requested {wanted.cpu}m, limit is {cpu}m per session")
    if wanted.memory > memory:
        raise _exceeded(
            f"memory quota exceeded: requested {wanted.memory}Mi, limit is {memory}Mi per session"
        )
    cpu, memory = TOGETHER
    used = wanted.cpu + sum(one.cpu for one in counted)
    if used > cpu:
        raise _exceeded(f"total CPU quota exceeded: would use {used}m, limit is {cpu}m")
    used = wanted.memory + sum(one.memory for one in counted)
    if used > memory:
        raise _exceeded(f"total memory quota exceeded: would use {used}Mi, limit is {memory}Mi")


def unknown_user() -> PublishedError:
    """The refusal of a create for a user whose name is unknown."""
    return _exceeded("failed to get user limits: failed to get user: user not found")


def _exceeded(message: str) -> PublishedError:
    return PublishedError(403, "Quota exceeded", message=message)


def _quantity(kind: str, text: str) -> Decimal:
    """A quantity as Kubernetes reads it. What does not fit into 64 bits is as good as nothing."""
    found = _QUANTITY.fullmatch(text)
    if found is None or not text:
        raise _invalid(f"invalid {kind} quantity: invalid resource quantity: {_MALFORMED}")
    number, suffix = found.groups()
    if suffix not in _FACTORS and not _EXPONENT.fullmatch(suffix):
        why = "unable to parse quantity's suffix"
        raise _invalid(f"invalid {kind} quantity: invalid resource quantity: {why}")
    value = Decimal(f"{number}0" if number[-1:] in _NO_DIGIT else number)
    value *= _FACTORS[suffix] if suffix in _FACTORS else Decimal(f"1{suffix}")
    return value if value * (1000 if kind == "CPU" else 1) <= _LARGEST else Decimal(0)


def _checked(kind: str, value: int, bounds: tuple[int, str, int, str]) -> int:
    least, shown_least, most, shown_most = bounds
    if value < least:
        raise _invalid(f"{kind} request too low: minimum {shown_least}")
    if value > most:
        raise _invalid(f"{kind} request too high: maximum {shown_most}")
    return value


def _invalid(message: str) -> PublishedError:
    return PublishedError(400, "Invalid resource request", message=message)
