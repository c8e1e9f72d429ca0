"""How one provider is reached: time limits, TLS, proxy, sizes."""

from __future__ import annotations

import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from vcloud._core.addresses import check_proxy, is_loopback
from vcloud._core.endpoint import HEARTBEAT
from vcloud._core.redaction.secretive import Credentials, concealing
from vcloud._core.timing.attempt_timeout import AttemptTimeouts

#: For aiohttp: this package limits the time of a whole attempt itself.
NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)


class TransportOptions(msgspec.Struct, frozen=True):
    """How one provider is reached: the parts that only the transport understands."""

    #: The time limits that aiohttp applies: those of connecting.
    timeout: aiohttp.ClientTimeout
    #: Of each attempt.
    attempt_timeouts: AttemptTimeouts
    #: The timeout of everything before the request can be written; None: that of the attempt.
    connect_timeouts: AttemptTimeouts | None
    #: Seconds for that, as they were chosen.
    connect_timeout: float
    #: Arguments of aiohttp's: TLS and the proxy.
    extra: Mapping[str, Any]
    #: Bytes of a success's body, decompressed. A refusal is read to :data:`MAX_REFUSAL` at most.
    max_response: int
    #: Bytes of a WebSocket's message.
    max_message: int
    #: Seconds; see :class:`Socket`.
    heartbeat: float = HEARTBEAT
    #: Headers that authenticate to a proxy, where they are sent with the request itself.
    proxy_headers: Mapping[str, str] = Credentials()

    @classmethod
    def of(
        cls,
        *,
        base_url: str,
        timeout: float,
        connect_timeout: float,
        ssl: SSLContext | bool,
        proxy: str | None,
        max_response: int,
        max_message: int,
        heartbeat: float = HEARTBEAT,
    ) -> TransportOptions:
        """Resolve what can be resolved once.

        Looking for a proxy in the environment on every request would triple the time of a call.
        """
        extra: dict[str, Any] = {}
        if ssl is not True:
            extra["ssl"] = ssl
        found = proxy_from_environment(base_url) if proxy == "environment" else proxy
        proxy_headers = Credentials()
        if found:
            address, credentials = _without_user(found)
            extra["proxy"] = address
            if credentials and URL(base_url).scheme == "https":
                extra["proxy_headers"] = credentials
            elif credentials:
                # A proxied plain request has one head, which the proxy reads.
                proxy_headers = credentials
        return cls(
            *_time_limits(timeout, connect_timeout),
            connect_timeout,
            extra,
            max_response,
            max_message,
            heartbeat,
            proxy_headers,
        )

    def __repr__(self) -> str:
        # A proxy's address may hold a password.
        return f"TransportOptions(timeout={self.attempt_timeouts.seconds:g})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # rich would show each field.
        return [("timeout", self.attempt_timeouts.seconds)]

    def within(self, seconds: float) -> TransportOptions:
        """The same options with another time limit for the attempt."""
        if self.connect_timeouts is not None and seconds > self.connect_timeout:
            return msgspec.structs.replace(self, attempt_timeouts=AttemptTimeouts(seconds))
        timeout, attempt_timeouts, connect_timeouts = _time_limits(seconds, self.connect_timeout)
        return msgspec.structs.replace(
            self,
            timeout=timeout,
            attempt_timeouts=attempt_timeouts,
            connect_timeouts=connect_timeouts,
        )


def _time_limits(
    timeout: float, connect_timeout: float
) -> tuple[aiohttp.ClientTimeout, AttemptTimeouts, AttemptTimeouts | None]:
    """Aiohttp's time limits, that of a whole attempt, and that of its connection."""
    if connect_timeout >= timeout:
        # One suffices: whether a connection was made is known without another.
        return NO_TIMEOUT, AttemptTimeouts(timeout), None
    connecting = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
    return connecting, AttemptTimeouts(timeout), AttemptTimeouts(connect_timeout)


@concealing
def _without_user(proxy: str) -> tuple[str, Credentials]:
    """A proxy's address without its user and password, and those as a header.

    aiohttp keeps a proxy's address in the key of a connection, and prints that with a connection
    that was never closed.
    """
    url = URL(proxy)
    if url.raw_user is None and url.raw_password is None:
        return proxy, Credentials()
    both = f"{url.user or ''}:{url.password or ''}"
    # RFC 7617 leaves the encoding open; aiohttp's is Latin-1, if that has the characters.
    encoded = both.encode("latin-1" if max(both) <= "\xff" else "utf-8")
    credentials = Credentials({"Proxy-Authorization": f"Basic {b64encode(encoded).decode()}"})
    return str(url.with_user(None)), credentials


@concealing
def proxy_from_environment(base_url: str) -> str | None:
    """The proxy that the environment configures for this address; None: there is none."""
    url = URL(base_url)
    # Requests to this machine never go through another one, which could read plain http.
    if url.host is None or is_loopback(url.host) or urllib.request.proxy_bypass(url.host):
        return None
    found = urllib.request.getproxies().get(url.scheme)
    if found:
        check_proxy(found, f"the environment's {url.scheme.upper()}_PROXY")
    return found
