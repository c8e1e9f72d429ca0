"""Which hosts requests may be addressed to, and which web pages may send them.

A web page in a browser on this machine can send requests to loopback. It cannot read the answers,
but many requests do harm without being read. A page can also give its own name this machine's
address after it was loaded (DNS rebinding). It then has the same origin as the emulator, and reads
the answers too. The browser sends two headers that a page cannot change: `Host` has the name that
the page used, and `Origin` has where the page came from. If either of them is foreign, the request
is refused before anything is done.

Sources: RFC 9110, 7.2 and 15.5.20 (Host, 421); RFC 9112, 3.2 (400 for an invalid Host); RFC 6455,
10.2 (Origin of WebSockets); WHATWG Fetch (Origin); W3C Fetch Metadata (Sec-Fetch-Site).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from aiohttp import HttpVersion11, web

from vcloud.emulator.net.connection import Request

_AUTHORITY: Final = re.compile(
    r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::[0-9]*)?", re.ASCII | re.IGNORECASE
)
#: The origin of a web page that has a host.
_ORIGIN: Final = re.compile(r"https?://(?P<authority>[^/?#]*)", re.ASCII | re.IGNORECASE)
SHOWN: Final = 100
"""Characters of a header that a refusal quotes, to show a mistyped name."""


def host_of(authority: str) -> str | None:
    """The host of `host[:port]`; None if it is invalid, as with a user part.

    Names are returned in lower case and without a final dot, addresses without brackets.
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    if (address := found["address"]) is not None:
        return _address(address)
    name: str = found["name"].lower().removesuffix(".")
    return name or None


def checked_host(host: str) -> str:
    """A name or an address to allow, in the form of `host_of`.

    Raises:
        ValueError: it is neither, such as a URL or a name with a port.
    """
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        found = host_of(host)
    if found is None or ":" in host:
        msg = f"a host to allow must be a name or an address, without a port, not {host!r}"
        raise ValueError(msg)
    return found


def is_loopback(host: str) -> bool:
    """Whether a host is this machine for every client: an address, or a reserved name.

    No DNS server answers for `localhost` and the names below it (RFC 6761, 6.3).
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class Hosts:
    """The hosts that an emulator answers to: loopback, and those that were allowed."""

    def __init__(self, allowed: Iterable[str] = (), *, any_address: bool = False) -> None:
        """Answer to these names and addresses too; with `any_address` to every address.

        DNS rebinding needs a name, so any address is safe.
        """
        self._allowed = frozenset(allowed)
        self._any_address = any_address

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The refusal of a request that is not for this emulator; None for others.

        - 400 for several hosts, or an invalid one.
        - 421 for a foreign host, in `Host` or in a target in absolute form.
        - 403 for an `Origin` that is foreign, `null`, or repeated, and for a request without one
          that a browser marks as sent by a page of another site.
        """
        hosts = request.headers.getall("Host", [])
        if len(hosts) > 1 or (not hosts and request.version >= HttpVersion11):
            return _refuse(400, "a request has one Host header")
        # The target's takes precedence (RFC 9112, 3.2.2), but neither may be foreign.
        target = request.target_authority if isinstance(request, Request) else None
        for authority in (*hosts, *([] if target is None else [target])):
            host = host_of(authority)
            if host is None:
                return _refuse(400, f"{_shown(authority)} is not a host")
            if not self._answers_to(host):
                return _refuse(
                    421,
                    f"this emulator does not answer to the host {_shown(host)}: to have it do so, "
                    f"start it with --allow-host {host[:SHOWN]}, "
                    "or as Emulator(allow_hosts=[...])",
                )
        return self._refused_page(request, hosts)

    def _refused_page(self, request: web.BaseRequest, hosts: list[str]) -> web.Response | None:
        origins = request.headers.getall("Origin", [])
        if not origins:
            # A page's image or form by GET has no Origin. Browsers send Sec-Fetch-Site instead,
            # because loopback counts as trustworthy. Other clients do not send it.
            site = ",".join(request.headers.getall("Sec-Fetch-Site", []))
            if "cross-site" not in site.lower():
                return None
            return _refuse(403, "this emulator does not answer pages of another site")
        if len(origins) == 1 and self._trusts(origins[0], hosts):
            return None
        return _refuse(
            403,
            f"this emulator does not answer web pages of {_shown(', '.join(origins))}: to have it "
            "do so, start it with --allow-host NAME, or as Emulator(allow_hosts=[...])",
        )

    def _answers_to(self, host: str) -> bool:
        if is_loopback(host) or host in self._allowed:
            return True
        return self._any_address and _address(host) is not None

    def _trusts(self, origin: str, hosts: list[str]) -> bool:
        found = _ORIGIN.fullmatch(origin)
        host = None if found is None else host_of(found["authority"])
        if found is None or host is None:
            return False
        # Another port is another origin, also on loopback, where any user of this machine can serve
        # pages. So is another server's address, even where requests to any address are answered.
        same = [found["authority"].lower()] == [one.lower() for one in hosts]
        return same or host in self._allowed


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _shown(text: str) -> str:
    return ascii(text[:SHOWN])


def _refuse(status: int, message: str) -> web.Response:
    response = web.json_response({"error": message}, status=status)
    # What follows on the connection is foreign too, above all a body that was not read.
    response.force_close()
    return response
