"""Links from a service, which a person's browser or viewer opens.

An application redirects its customer to such a link, or puts it into a page. So a compromised
service could make a browser open anything. This module decides, without I/O, which links are safe
to open. It accepts fewer links than browsers do (https://url.spec.whatwg.org), and none that a
browser reads differently: one scheme, two slashes, and a host that needs no normalization.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from vcloud._core.addresses import is_loopback
from vcloud.errors import DecodeError
from vcloud.errors.text import printable, shortened

__all__ = ["fault_of_link", "refused_link"]

#: Schemes that are encrypted, and schemes that are not.
_ENCRYPTED: Final = frozenset({"https", "wss"})
_PLAIN: Final = frozenset({"http", "ws"})
#: Characters of a scheme that an error shows: no registered scheme is longer.
_SHOWN: Final = 20
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
#: Characters that no URI has (RFC 3986, appendix A) and that end an attribute or a tag of a page,
#: or that a browser reads as a slash.
_NEVER_IN_URI: Final = frozenset(' "<>\\`')
_AUTHORITY_ENDS: Final = re.compile(r"[/?#]")
_HOST_AND_PORT: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
#: Labels of a name in ASCII. Browsers map other characters to these (UTS 46), so a person would
#: read a different name from the one that is opened.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
#: A last label that makes browsers read a name as an IPv4 address, in one of its many spellings.
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_MAX_PORT: Final = 65_535


def fault_of_link(link: str, *, allow_http: bool) -> str | None:  # noqa: PLR0911 - one for each rule
    """Why a link is not safe to open, without repeating it; None for a safe link.

    A safe link has the scheme https or wss; or http or ws if it leads to loopback or
    ``allow_http`` is True. It has a host, and no user or password before it. It has no spaces,
    control characters or backslashes, and nothing that ends an attribute or a tag of a page. Its
    path, query and fragment are the service's own.

    Args:
        link: as the service sent it. It may be a secret.
        allow_http: whether the Endpoint allows plain http.
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
            f"its scheme is {scheme}, which is not encrypted (Endpoint(allow_http=True) allows it)"
        )
    return None


def refused_link(what: str, fault: str) -> DecodeError:
    """The error for a link that is not safe to open.

    Args:
        what: which link, such as ``"connection_link"``.
        fault: what :func:`fault_of_link` returned.
    """
    return DecodeError(f"the service sent a {what} that is not safe to open: {fault}")


def _host(authority: str) -> str | None:
    """The host of an authority, without brackets; None if it is missing or not a plain one."""
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
