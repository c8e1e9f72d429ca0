"""The requests that an emulator received, and how it answered them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from attrs import evolve, field, frozen

_TOKEN = re.compile(r"(?<![^&])token=[^&]*")
"""The credential of a viewer's connection. Calls are printed."""


BODY: Final = web.RequestKey("vcloud_body", bytes)
"""The body of a request, where the service has read it."""
LONGEST_BODY: Final = 100_000
"""Bytes of a body that are recorded; a longer one is not."""
_SECRET: Final = re.compile(r"password|secret|token|api_?key|credential", re.IGNORECASE)
"""Names of the fields whose values are not recorded."""
_SHOWN: Final = 10
"""Calls that a message lists."""


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
    json: Any = field(default=None, eq=False, repr=False)
    """The body, as decoded from JSON, as in `call.json["region"]`.

    None without one, for other bodies, for one that no service has read because of a fault, and for
    one over 100 000 bytes. Passwords, tokens and keys are "***".
    """

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the query, decoded."""
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def __str__(self) -> str:
        """Method, path, query and status, on one line."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.method} {self.path}{query} -> {self.status or 'no answer'}"

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
        body = _recorded(request.get(BODY, b""))
        query = without_token(query)
        return cls(request.method, path, query, status, processed, fault, at, body)


class CallLog(list[Call]):
    """Every call, in the order in which its answer was decided: before its first byte is sent.

    It is a list: `len(emulator.calls)`, `emulator.calls[-1]`, `emulator.calls.clear()`.
    """

    def __init__(
        self, keep: int | None = None, *, route: str | None = None, among: Sequence[Call] = ()
    ) -> None:
        """Keep the last `keep` calls; None keeps all.

        With a `route`, these are the calls `among` some that match it.
        """
        super().__init__(among if route is None else _matching(among, route))
        if keep is not None and keep < 1:
            msg = f"keep at least 1 call, or None for all, not {keep!r}"
            raise ValueError(msg)
        self._keep = keep
        self._route = route
        self._among = among

    def matching(self, route: str) -> CallLog:
        """The calls so far that match a route, oldest first.

        `route` is a shell pattern over method and path, as for `Faults.add`: "POST */machines".
        `len()` of the result counts, `.last` is the newest one, and it can be narrowed further.

        Raises:
            ValueError: the route is not a method and a path, so that no call can match it.
        """
        # A copy, because the emulator's thread adds calls meanwhile.
        return CallLog(route=route, among=tuple(self))

    @property
    def last(self) -> Call:
        """The newest call.

        Raises:
            LookupError: there is none; the message lists the calls that there were.
        """
        if self:
            return self[-1]
        shown = [f"  {call}" for call in self._among[-_SHOWN:]]
        which = "no call" if self._route is None else f"no call matches {self._route!r}"
        msg = "\n".join([f"{which}; the last ones were:" if shown else f"{which} so far", *shown])
        raise LookupError(msg)

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


def checked_route(route: str) -> str:
    """A route, with its method in capitals.

    Raises:
        ValueError: no request can match it.
    """
    method, blank, path = route.partition(" ")
    if not (path.startswith(("/", "*")) if blank else "*" in method) or method.startswith("/"):
        msg = (
            "a route is a method and a path, with * for any text, as in 'POST */machines' or "
            f"'* */machines/100', not {route!r}"
        )
        raise ValueError(msg)
    return f"{method.upper()} {path}" if blank else route


def _matching(calls: Sequence[Call], route: str) -> list[Call]:
    route = checked_route(route)
    return [call for call in calls if fnmatchcase(f"{call.method} {call.path}", route)]


def _recorded(body: bytes) -> Any:
    """A JSON body without the values of secret fields; None for anything else."""
    if not body or len(body) > LONGEST_BODY:
        return None
    try:
        return _without_secrets(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: "***" if _SECRET.search(name) else _without_secrets(inner)
            for name, inner in value.items()
        }
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value
