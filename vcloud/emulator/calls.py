"""What was asked, and what became of it."""

from __future__ import annotations

import re

from aiohttp import web
from attrs import evolve, field, frozen

_TOKEN = re.compile(r"(?<![^&])token=[^&]*")
"""What opens a viewer's connection; the ledger is printed."""


def without_token(query: str) -> str:
    """Return a query as it may be printed."""
    return _TOKEN.sub("token=***", query)


@frozen
class Call:
    """One request as the emulator saw it."""

    method: str
    path: str
    query: str
    """As it was sent, but for the value of `token`: it opens a session's picture."""
    status: int | None
    """The status sent; 101 stands here once the WebSocket is over; None when none was: the connection was aborted, or stalls."""
    processed: bool
    """Whether the service ran; false when a fault kept it from that."""
    # Not compared, so that whoever lists the calls that he expects need not say when each came and how it went wrong.
    fault: str | None = field(default=None, eq=False)
    """The name of the fault that was done to it; None also when there was nothing in the answer that it could spoil."""
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
        """Write down a request."""
        path, _, query = request.raw_path.partition("?")
        return cls(request.method, path, without_token(query), status, processed, fault, at)


class Ledger(list[Call]):
    """Every call, in the order in which its fate was decided: before the first byte of its answer leaves."""

    def __init__(self, keep: int | None = None) -> None:
        """Keep the last so many calls; None keeps all."""
        super().__init__()
        if keep is not None and keep < 1:
            msg = f"keep at least 1 call, or None for all, not {keep!r}"
            raise ValueError(msg)
        self._keep = keep

    def note(self, call: Call) -> None:
        """Add a call, and forget the oldest beyond what is kept."""
        self.append(call)
        if self._keep is not None:
            del self[: -self._keep]

    def answered(self, call: Call, status: int) -> None:
        """Write the status down that was sent in the end."""
        for index in reversed(range(len(self))):
            if self[index] is call:
                self[index] = evolve(call, status=status)
                return
