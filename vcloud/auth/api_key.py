"""A constant key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vcloud._core.auth import Auth, credential
from vcloud._core.redaction.secretive import Credentials, Secretive, concealing
from vcloud._core.request import Request
from vcloud._core.wrong_arguments import explained
from vcloud.errors import ConfigurationError

#: RFC 9110, 5.1.
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class APIKeyAuth(Secretive, Auth):
    """A constant key in one header: ``x-api-key``, as in the desktop-action API."""

    __slots__ = ("_headers",)

    @concealing
    @explained("APIKeyAuth")
    def __init__(self, key: str, *, header: str = "x-api-key") -> None:
        if not _HEADER.fullmatch(header):
            raise ConfigurationError(
                f"the header must have a name such as x-api-key, not {header!r:.80}"
            )
        self._headers = Credentials({header: credential(key, "the API key")})

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """The header with the key."""
        return self._headers
