"""The requests that an emulator received, and how it answered them."""

from __future__ import annotations

import re

from aiohttp import web
from attrs import evolve, field, frozen

_TOKEN = re.compile(r"(?<![^&])token=[^&]*")
"""The credential of a viewer's connection. Calls are printed."""


def without_token(query: str) -> str:
    """A query with its token redacted."""
    return _TOKEN.sub("token=***", query)


@frozen
class Call:
    """One request as the emulator saw it."""

    method: str
    path: str
    query: str
    """As it was sent, except the value of `token`, which opens a session's picture."""
    status: int | None
    """The status sent; None when none was: the connection was aborted, or stalls.

    A WebSocket is recorded, with 101, once it is closed.
    """
    processed: bool
    """Whether the service handled the request; false when a fault prevented that."""
    # Not compared, so that a test can list the calls it expects without times and faults.
    fault: str | None = field(default=None, eq=False)
    """The name of the fault that was applied; None also if the answer had nothing to change."""
    at: float = field(default=0.0, eq=False)
    """When it arrived, in seconds of `vcloud.emulator.clock.monotonic`."""

    @classmethod
    def of(
        cls,
        request: web.BaseRequest,
        at: float,
        status: int | None,
        *,
        processed: bool,
        fault: str | None = None,
    ) -> Call:
        """Record a request."""
        path, _, query = request.raw_path.partition("?")
        return cls(request.method, path, without_token(query), status, processed, fault, at)


class CallLog(list[Call]):
    """Every call, in the order in which its answer was decided: before its first byte is sent."""

    def __init__(self, keep: int | None = None) -> None:
        """Keep the last `keep` calls; None keeps all."""
        super().__init__()
        if keep is not None and keep < 1:
            msg = f"keep at least 1 call, or None for all, not {keep!r}"
            raise ValueError(msg)
        self._keep = keep

    def note(self, call: Call) -> None:
        """Add a call, and drop the oldest ones beyond `keep`."""
        self.append(call)
        if self._keep is not None:
            del self[: -self._keep]

    def answered(self, call: Call, status: int) -> None:
        """Record the status that was sent in the end."""
        for index in reversed(range(len(self))):
            if self[index] is call:
                self[index] = evolve(call, status=status)
                return
