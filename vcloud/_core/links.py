"""Links that a service hands out, for a person's browser or viewer to open.

An application redirects its customer to such a link, or puts it into a page, and would run what a service
that was broken into says. Which links are handed out is decided here, by a function without I/O. It
accepts less than browsers do (https://url.spec.whatwg.org), and nothing that they read differently:
one scheme, two slashes, and a host that is written the one way that needs no repair.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from vcloud._core.endpoint import is_loopback
from vcloud.errors import DecodeError
from vcloud.errors.text import printable, shortened

__all__ = ["fault_of_link", "refused_link"]

#: Those that travel encrypted, and those that do not.
_ENCRYPTED: Final = frozenset({"https", "wss"})
_PLAIN: Final = frozenset({"http", "ws"})
#: Characters of a scheme that an error shows: none that is registered is longer.
_SHOWN: Final = 20
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
#: What no URI has in it (RFC 3986, appendix A), as far as it ends an attribute or a tag of a page, or is
#: a slash to a browser.
_NEVER_IN_URI: Final = frozenset(' "<>\\`')
_AUTHORITY_ENDS: Final = re.compile(r"[/?#]")
_HOST_AND_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
#: Labels of a name in ASCII. Browsers map other characters to these (UTS 46), so that what is read is
#: not what is opened.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
#: A last label by which browsers take a name for an IPv4 address, in one of its many spellings.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_MAX_PORT: Final = 65_535


def fault_of_link(link: str, *, allow_http: bool) -> str | None:  # noqa: PLR0911 - one for each rule
    """Why a link is not handed out, in words that do not repeat it; None for one that is.

    Handed out are https and wss, and http and ws to loopback or where they are allowed; with a host,
    without a user or password before it, without spaces, control characters, backslashes, and what
    ends a page's attribute or tag. What stands in the path, the query or the fragment is the
    service's own.

    Args:
        link: as the service sent it. It may be a secret.
        allow_http: what the Endpoint says.
    """
    if not link:
        return "it is empty"
    if not link.isprintable() or not _NEVER_IN_URI.isdisjoint(link):
        return (
            "it has characters that no link has (spaces, control characters, backslashes, quotes)"
        )
    found = _SCHEME.match(link)
    if found is None:
        return "it has no scheme"
    scheme = found[1].lower()
    if scheme not in _ENCRYPTED | _PLAIN:
        return f"its scheme is {printable(shortened(scheme, _SHOWN))}, not https or wss"
    rest = link[found.end() :]
    if not rest.startswith("//"):
        return "it has no host"
    authority = _AUTHORITY_ENDS.split(rest[2:], maxsplit=1)[0]
    if "@" in authority:
        return "it has a user before its host"
    host = _host(authority)
    if host is None:
        return "it has no host, or one that is not a plain name, address or port"
    if scheme in _PLAIN and not allow_http and not is_loopback(host):
        return (
            f"its scheme is {scheme}, which is readable on the way (Endpoint(allow_http=True) "
            "permits that)"
        )
    return None


def refused_link(what: str, fault: str) -> DecodeError:
    """The error for a link that is not handed out.

    Args:
        what: which link, such as ``"connection_link"``.
        fault: what :func:`fault_of_link` said.
    """
    return DecodeError(f"the service gave a {what} that is not safe to open: {fault}")


def _host(authority: str) -> str | None:
    """The host of an authority, without brackets; None where there is none, or no plain one."""
    found = _HOST_AND_PORT.fullmatch(authority)
    if found is None or (found[2] is not None and int(found[2]) > _MAX_PORT):
        return None
    host = found[1]
    if host.startswith("["):
        return _address(host[1:-1], IPv6Address) if "%" not in host else None
    if not _NAME.fullmatch(host):
        return None
    if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        return _address(host, IPv4Address)
    return host


def _address(text: str, kind: type[IPv4Address | IPv6Address]) -> str | None:
    try:
        return str(kind(text))
    except AddressValueError:
        return None
