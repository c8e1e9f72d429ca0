"""Where an emulator listens, and which hosts and certificate names it has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Self

from attrs import frozen

from vcloud.emulator.net.hosts import Hosts, checked_host, host_of
from vcloud.emulator.net.tls import certificate_names, require


@frozen(kw_only=True)
class Address:
    """The host and port to listen on, and the names by which clients may address the emulator."""

    host: str
    port: int
    hosts: Hosts
    """Decides on the `Host` and `Origin` of each request."""
    certified: tuple[str, ...]
    """The names and addresses in the certificate; empty without TLS."""

    @classmethod
    def checked(
        cls,
        host: str,
        port: int,
        allow_hosts: Iterable[str],
        tls_names: Iterable[str],
        *,
        tls: bool,
        allow_remote: bool,
    ) -> Self:
        """Check the arguments of an `Emulator`.

        Raises:
            ValueError: they do not fit together, or one of them is invalid.
            ModuleNotFoundError: TLS is asked for, and its extra is not installed.
        """
        if not allow_remote and not is_loopback_address(host):
            msg = (
                f"{host!r} is not a loopback address; pass allow_remote=True (--allow-remote) to "
                "serve it all the same"
            )
            raise ValueError(msg)
        tls_names = tuple(tls_names)
        if tls:
            require()
        elif tls_names:
            msg = "tls_names are for tls=True (--tls)"
            raise ValueError(msg)
        allow_hosts = (allow_hosts,) if isinstance(allow_hosts, str) else tuple(allow_hosts)
        served = (host, *tls_names) if allow_remote else tls_names
        hosts = Hosts(
            # A certificate's wildcard is not a host, and no request is addressed to one.
            (
                *map(checked_host, allow_hosts),
                *(found for one in served if (found := host_of(one))),
            ),
            any_address=allow_remote,
        )
        certified = certificate_names(host, tls_names) if tls else ()
        return cls(host=host, port=port, hosts=hosts, certified=certified)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback_address(self.host)

    @property
    def socket_host(self) -> str:
        """The host for the socket. DNS does not decide what localhost is (RFC 6761, 6.3)."""
        return "127.0.0.1" if self.host == "localhost" else self.host

    @property
    def url_host(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


def is_loopback_address(host: str) -> bool:
    """Whether a host to listen on is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
