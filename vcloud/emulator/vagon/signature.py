"""HMAC signatures of both Vagon APIs, checked independently of the client's signing code.

The string to sign is not in the API document. It is the one that Vagon's documentation site and
example client use. The rules for timestamps and nonces are not documented; these are strict ones.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import deque
from collections.abc import Mapping, Sequence

from attrs import frozen

from vcloud.emulator.clock import Clock

WINDOW = 300
"""Seconds by which a request's timestamp may differ from the service's clock, either way."""

_FORM = "HMAC {key}:{signature}:{nonce}:{timestamp}"
_PARTS = 4
_TIMESTAMP = re.compile(r"[0-9]{1,18}")


@frozen
class _Claim:
    key: str
    signature: str
    nonce: str
    timestamp: str


class Signatures:
    """Checks signatures and keeps used nonces, for every key of the service."""

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        """Check with these secrets, by key."""
        self.secrets: dict[str, str] = dict(secrets)
        """The secret of each key. Tests may change them."""
        self._clock = clock
        self._used: set[tuple[str, str]] = set()
        self._order: deque[tuple[float, tuple[str, str]]] = deque()

    def refusal(self, method: str, path: str, headers: Sequence[str], body: bytes) -> str | None:
        """The reason to refuse a request, None to accept it; `path` is raw, without the query.

        Accepting a request uses its nonce. Refusing one does not, because any client could then use
        up the nonces of others.
        """
        claim = _parse(headers)
        if isinstance(claim, str):
            return claim
        if claim.key not in self.secrets:
            return f"unknown key {claim.key!r}"
        wall = self._clock.wall()
        off = int(claim.timestamp) / 1000 - wall
        if abs(off) > WINDOW:
            return (
                f"timestamp {off:+.0f} s off the service's clock (at most {WINDOW} s; "
                "timestamps are milliseconds)"
            )
        self._forget(wall)
        used = (claim.key, claim.nonce)
        if used in self._used:
            return f"nonce {claim.nonce!r} already used"
        if not self._matches(claim, method, path, body):
            return (
                "signature does not match: expected HMAC-SHA256 over "
                f"{{key}}{method}{path}{{timestamp}}{{nonce}}{{{len(body)} body bytes}}, "
                "in lower-case hex"
            )
        self._used.add(used)
        self._order.append((wall, used))
        return None

    def _matches(self, claim: _Claim, method: str, path: str, body: bytes) -> bool:
        head = f"{claim.key}{method}{path}{claim.timestamp}{claim.nonce}"
        signed = head.encode(errors="surrogateescape") + body
        right = hmac.new(self.secrets[claim.key].encode(), signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(right.encode(), claim.signature.encode(errors="surrogateescape"))

    def _forget(self, wall: float) -> None:
        # A timestamp may be a window ahead, so a signature stays valid for two windows.
        while self._order and self._order[0][0] < wall - 2 * WINDOW:
            self._used.discard(self._order.popleft()[1])


def _parse(headers: Sequence[str]) -> _Claim | str:
    if not headers:
        return f"missing Authorization header: expected {_FORM}"
    if len(headers) > 1:
        return f"malformed Authorization header: sent {len(headers)} times"
    scheme, _, rest = headers[0].partition(" ")
    parts = rest.split(":")
    flaw = _flaw(scheme, parts)
    return f"malformed Authorization header: {flaw}, expected {_FORM}" if flaw else _Claim(*parts)


def _flaw(scheme: str, parts: list[str]) -> str | None:
    if scheme != "HMAC":
        return "the scheme is not HMAC"
    if len(parts) != _PARTS:
        return f"{len(parts)} parts instead of {_PARTS}"
    if any(part.split() != [part] for part in parts):
        return "a part is empty or holds a space"
    if not _TIMESTAMP.fullmatch(parts[-1]):
        return "the timestamp is not a whole number of milliseconds"
    return None
