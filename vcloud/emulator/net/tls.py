"""TLS for the emulator: a certificate authority that lives as long as one run, by way of trustme."""

from __future__ import annotations

import ipaddress
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""What a certificate is always for."""


def require() -> None:
    """Raise ModuleNotFoundError, which names the extra, if trustme is not installed."""
    try:
        import trustme  # noqa: F401, PLC0415 - an extra
    except ImportError:
        msg = "to serve TLS, the emulator needs the extra: pip install 'vcloud-sdk[tls]'"
        raise ModuleNotFoundError(msg, name="trustme") from None


def certificate_names(host: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names and addresses that a certificate of a server on `host` is for.

    An address that stands for all of them, such as 0.0.0.0, is none that a client connects to.
    """
    names = [name for name in (*LOOPBACK, host, *more) if not _is_every_address(name)]
    return tuple(dict.fromkeys(names))


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class Authority:
    """Vouches for one emulator. Its key stays in memory; its certificate is a file for clients.

    Attributes:
        server_context: what the emulator serves with.
        ca_file: the authority's certificate, in PEM, readable by this user alone.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Make an authority, a certificate of its for these names, and the file.

        Raises ModuleNotFoundError without trustme, and ValueError for what is no name.
        """
        require()
        import trustme  # noqa: PLC0415 - an extra

        authority = trustme.CA(organization_name="vcloud emulator")
        self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Writes the server's key to a file that only this user reads, for as long as it is loaded.
        authority.issue_cert(*names).configure_cert(self.server_context)
        self.server_context.set_alpn_protocols(["http/1.1"])
        self._folder = Path(tempfile.mkdtemp(prefix="vcloud-emulator-"))
        self.ca_file = self._folder / "ca.pem"
        descriptor = os.open(self.ca_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(authority.cert_pem.bytes())

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts this authority and no other."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def remove(self) -> None:
        """Remove the file; may be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)
