"""Requests and responses as plain values. Only this module quotes paths and queries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from vcloud._core.arguments import identifier, instant
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import printable

QueryValue = str | int | bool | datetime | Sequence[str] | None

#: The path of an API with its version, at the end of a base URL.
_API_PATH = re.compile(r"/api/v[0-9]+\Z")
#: The bucket of WebSocket upgrades. The documents' rate limits are for the REST endpoints, so it
#: has no window of its own. A 429 for an upgrade pauses the upgrades.
UPGRADES = "upgrades"
#: The bucket of upgrades that take no slot. In the bucket of the others they would have to wait
#: behind those that need one.
UPGRADES_WITHOUT_SLOT = "upgrades without a slot"
#: A repeat of these does no harm (RFC 9110, 9.2.2), so a lost answer may be asked for again.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
#: These change nothing (RFC 9110, 9.2.1), so a lost answer leaves nothing unknown.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


#: The most bytes of a refusal that are read, decompressed. The reason is in its first lines.
MAX_REFUSAL: Final = 64 * 1024

# These are structs because one of each is made per call: making a frozen attrs object takes six
# times as long.


class Request(msgspec.Struct, frozen=True):
    """One call to a service, before it is signed.

    ``path`` and ``query`` are encoded already, and ``body`` holds the bytes that are sent.
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    #: The answer carries a secret, so no error quotes it.
    sensitive: bool = False
    #: False for the one request that obtains a credential.
    authenticated: bool = True
    #: The name of the rate limit of the provider that counts it.
    bucket: str = ""
    #: True for a POST that may be repeated without harm, by the service's documents.
    repeatable: bool = False
    #: False: it takes none of the slots of ``concurrency``, because requests that hold slots may
    #: wait for it.
    slot: bool = True
    #: It may start something that costs money until it is stopped.
    starts: bool = False
    #: True for a PUT or DELETE that must not be repeated: the service refuses it the second time.
    once: bool = False
    #: What messages show in place of a path that holds a secret: ``/machines/{uid}``.
    label: str = ""

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return self.repeatable or (self.method in IDEMPOTENT and not self.once)

    @property
    def shown_path(self) -> str:
        """The path as errors, logs and reprs may show it."""
        return self.label or self.path

    @property
    def upgrades(self) -> bool:
        """Whether it asks for a WebSocket."""
        return self.bucket in {UPGRADES, UPGRADES_WITHOUT_SLOT}

    @property
    def safe(self) -> bool:
        """Whether it changes nothing at the service."""
        return self.method in SAFE

    def __repr__(self) -> str:
        # The body of a login is a password.
        return printable(f"Request({self.method} {self.shown_path})")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # rich would show each field.
        return [("method", self.method), ("path", self.shown_path)]


class Response(msgspec.Struct, frozen=True):
    """An answer. It is complete, unless it is a long refusal. ``headers`` is case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: Whether ``body`` is only the beginning of a long refusal.
    cut: bool = False

    def __repr__(self) -> str:
        # A body may carry a token or an access link.
        return f"Response(status={self.status}, body=<{len(self.body)} bytes>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("status", self.status)]


def path_segment(value: str | int, name: str = "id") -> str:
    """Quote an id from outside as exactly one path segment.

    Raises:
        InvalidArgumentError: it is not an id, or it is empty, ``.`` or ``..``.
    """
    if type(value) is str and value.isalnum() and value.isascii():
        return value
    return quote(identifier(value, name), safe="")


def path_before_api(path: str) -> str:
    """The path of an installation, from that of its API: ``/desktops`` for ``/desktops/api/v1``.

    A path that does not end like this is kept unchanged, because what is above it may belong to
    another installation.
    """
    return _API_PATH.sub("", path)


def query(parameters: Mapping[str, QueryValue]) -> str:
    """Encode the parameters that are not None, in order.

    Booleans become ``true`` and ``false``; sequences are joined by commas.
    """
    return "&".join(
        [
            f"{name}={_query_value(name, value)}"
            for name, value in parameters.items()
            if value is not None
        ]
    )


def _query_value(name: str, value: QueryValue) -> str:
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return quote(instant(value, name), safe="")
    try:
        if isinstance(value, str | int):
            return quote(str(value), safe="")
        return quote(",".join(value or ()), safe=",")
    except (TypeError, UnicodeEncodeError):
        raise InvalidArgumentError(f"{name} cannot be {value!r}") from None


def json_body(value: object) -> bytes:
    """The exact bytes that are signed and sent: compact JSON in UTF-8.

    Raises:
        InvalidArgumentError: it holds something that JSON cannot represent.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"an argument cannot be sent: {error}") from None


def drop_none(**fields: object) -> dict[str, object]:
    """The fields that are not None, in order. The others are not sent."""
    return {name: value for name, value in fields.items() if value is not None}
