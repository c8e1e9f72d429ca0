"""Valid HTTP requests that an HTTP server refuses, whatever the service behind it."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from vcloud.emulator.net.connection import Request, expectations, plain

_EXPECTED: Final = "100-continue"
#: Names for "not encoded".
_IDENTITY: Final = ("", "identity")


def refusal(request: web.BaseRequest) -> web.Response | None:
    """The refusal by an HTTP server; None if it accepts the request.

    - 505 for another major version than 1 (RFC 9110, 15.6.6); 400 for 0.9, which has no headers.
    - 417 for an expectation other than `100-continue` (RFC 9110, 10.1.1).
    - 501 for a transfer coding other than `chunked` (RFC 9112, 6.1).
    - 415 for a content coding; `Accept-Encoding` says that none is accepted (RFC 9110, 12.5.3).
    """
    if isinstance(request, Request) and request.asked_version.major != 1:
        version = ".".join(map(str, request.asked_version))
        return plain(505 if request.asked_version.major else 400, f"HTTP/{version} is not served")
    if set(expectations(request)) - {_EXPECTED}:
        return plain(417, f"the only expectation that is met is {_EXPECTED}")
    if (coding := request.headers.get("Transfer-Encoding", "chunked")).strip().lower() != "chunked":
        return plain(501, f"transfer coding {coding!r}: only chunked is decoded")
    codings = ",".join(request.headers.getall("Content-Encoding", [])).split(",")
    if any(one.strip().lower() not in _IDENTITY for one in codings):
        return plain(
            415, "bodies with a content coding are not decoded", **{"Accept-Encoding": "identity"}
        )
    return None
