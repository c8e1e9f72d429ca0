"""TLS for the emulator: a certificate authority for one run, made with trustme."""

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
"""The names that are in every certificate."""


def require() -> None:
    """Raise ModuleNotFoundError, with the name of the extra, unless trustme is installed."""
    try:
        import trustme  # noqa: F401, PLC0415 - an extra
    except ImportError:
        msg = "to serve TLS, the emulator needs the extra: pip install 'vcloud-sdk[tls]'"
        raise ModuleNotFoundError(msg, name="trustme") from None


def certificate_names(host: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """The names and addresses in the certificate of a server on `host`.

    Clients do not connect to an address that stands for all, such as 0.0.0.0, so it is left out.
    """
    names = [name for name in (*LOOPBACK, host, *more) if not _is_every_address(name)]
    return tuple(dict.fromkeys(names))


def _is_every_address(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


class Authority:
    """The certificate authority of one emulator.

    Its key stays in memory. Its certificate is a file for clients.

    Attributes:
        server_context: what the emulator serves with.
        ca_file: the authority's certificate, in PEM, readable by this user alone.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Make an authority, a server certificate for these names, and the file.

        Raises:
            ModuleNotFoundError: trustme is not installed.
            ValueError: one of the names is invalid.
        """
        require()
        import trustme  # noqa: PLC0415 - an extra

        authority = trustme.CA(organization_name="vcloud emulator")
        self.server_context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Writes the server's key to a file that only this user can read, and removes it at once.
        authority.issue_cert(*names).configure_cert(self.server_context)
        self.server_context.set_alpn_protocols(["http/1.1"])
        self._folder = Path(tempfile.mkdtemp(prefix="vcloud-emulator-"))
        self.ca_file: Path = self._folder / "ca.pem"
        descriptor = os.open(self.ca_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(authority.cert_pem.bytes())

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts only this authority."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def remove(self) -> None:
        """Remove the file; may be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)
