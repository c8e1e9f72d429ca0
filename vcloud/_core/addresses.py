"""Addresses: which ones a client may use, and which of them are this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from vcloud.errors import ConfigurationError


def tidy_url(value: str | None) -> str | None:
    """A base URL without what makes no difference; None stays None.

    Raises:
        ConfigurationError: it is not a string.
    """
    if value is not None and type(value) is not str:
        raise ConfigurationError(
            f"base_url must be a string such as https://host/path, not {type(value).__name__}"
        )
    if value is None:
        return None
    # The scheme in lower case (RFC 3986, 3.1), so that no check of it depends on how it was
    # written.
    scheme, separator, rest = value.strip().rstrip("/").partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator else scheme


def check_url(base_url: str, *, allow_http: bool) -> None:
    """Refuse a base URL that cannot be used, or that would send credentials unencrypted.

    Raises:
        ConfigurationError: it is not an address, has a part that it may not have, or is plain
            ``http`` to another machine.
    """
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        # Its text quotes the host or the port, and either may be a misplaced password.
        raise ConfigurationError(
            "base_url is not an address: its host or its port is invalid"
        ) from None
    # First, because the messages below quote the address, and it may hold a password.
    if parts.query or parts.fragment or "@" in base_url:
        raise ConfigurationError(
            "base_url must have no user, query or fragment: credentials belong in auth"
        )
    if "://" not in base_url:
        # It is not shown: it may be a key in place of the address.
        raise ConfigurationError("base_url must look like https://host/path: it has no scheme")
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not base_url.isascii()
        or set(base_url) & set(" \t\r\n\\")
    ):
        raise ConfigurationError(f"base_url must look like https://host/path, not {base_url!r}")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"base_url {base_url!r} is plain http, which would send your credentials unencrypted "
            "over the network: use https, or give allow_http=True if you mean it"
        )


#: The kinds of proxy that aiohttp can use.
_PROXY_SCHEMES: Final = ("http", "https")


def check_proxy(address: str, source: str = "proxy") -> None:
    """Refuse the address of a proxy that cannot be used.

    Args:
        address: a URL. It is in no message, because it may hold a password.
        source: the argument or the environment variable that holds it.

    Raises:
        ConfigurationError: no scheme, a scheme other than http and https, no host, or an invalid
            port.
    """
    wanted = f"{source} must be a URL such as http://proxy.example:3128"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ConfigurationError(f"{wanted}: its host or port is invalid") from None
    if "://" not in address:
        raise ConfigurationError(f"{wanted}: it has no scheme")
    if parts.scheme not in _PROXY_SCHEMES:
        raise ConfigurationError(
            f"{wanted}: {parts.scheme[:20]} proxies are not supported, only http and https ones"
        )
    if not parts.hostname or port == 0 or set(address) & set(" \t\r\n\\"):
        raise ConfigurationError(f"{wanted}: its host or port is invalid")


def is_near(proxy: str | None) -> bool:
    """Whether a proxy is on this machine. The environment's is not used for this machine."""
    try:
        return (
            proxy is None or proxy == "environment" or is_loopback(urlsplit(proxy).hostname or "")
        )
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address or a name that this SDK resolves itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return is_localhost(host)


def is_localhost(name: str) -> bool:
    """Whether a name means the loopback addresses, whatever DNS says of it (RFC 6761, 6.3)."""
    bare = name.lower().removesuffix(".")
    return bare == "localhost" or bare.endswith(".localhost")
