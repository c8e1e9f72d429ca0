"""Requests and responses as plain values, and the only place where paths and queries are quoted."""

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
#: The bucket of WebSocket upgrades. The documents' rate limits are for the REST endpoints, so it has
#: no window of its own; a 429 for an upgrade pauses the upgrades.
UPGRADES = "upgrades"
#: The bucket of upgrades that take no slot. Behind the others, which do, they would have to wait.
UPGRADES_WITHOUT_SLOT = "upgrades without a slot"
#: A repeat of these does no harm (RFC 9110, 9.2.2), so a lost answer may be asked for again.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
#: These change nothing (RFC 9110, 9.2.1), so that nothing can be left of a lost one.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


#: Bytes of a refusal that are read, decompressed. It says why in a few lines.
MAX_REFUSAL: Final = 64 * 1024

# Structs and not attrs classes, because one of each is made per call and a frozen attrs class takes six times as long.


class Request(msgspec.Struct, frozen=True):
    """One call to a service, before it is signed. ``path`` and ``query`` are already encoded, ``body`` is final."""

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    #: The answer carries a secret: it never enters an error text.
    sensitive: bool = False
    #: False for the one request that obtains a credential.
    authenticated: bool = True
    #: Which of the provider's rate limits counts it.
    bucket: str = ""
    #: True for a POST of which the service says that a repeat does no harm.
    repeatable: bool = False
    #: False: it does not take one of the slots of ``concurrency``, because requests that hold them
    #: may wait for it.
    slot: bool = True
    #: It may start something that costs money until it is stopped.
    starts: bool = False
    #: What stands for the path in texts where the path itself holds a secret: ``/machines/{uid}``.
    label: str = ""

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice has the effect of sending it once."""
        return self.repeatable or self.method in IDEMPOTENT

    @property
    def shown_path(self) -> str:
        """The path as errors, logs and reprs may show it."""
        return self.label or self.path

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
    """An answer, complete but for a long refusal. ``headers`` is case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    #: Of a refusal: it was longer, and this is its beginning.
    cut: bool = False

    def __repr__(self) -> str:
        # A body may carry a token or an access link.
        return f"Response(status={self.status}, body=<{len(self.body)} bytes>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("status", self.status)]


def path_segment(value: str | int, name: str = "id") -> str:
    """Quote an id from outside as exactly one path segment.

    Raises:
        InvalidArgumentError: it is no id, or empty, ``.`` or ``..``.
    """
    if type(value) is str and value.isalnum() and value.isascii():
        return value
    return quote(identifier(value, name), safe="")


def path_before_api(path: str) -> str:
    """Where on its host an installation begins, by the path of its API: ``/desktops/api/v1`` is ``/desktops``.

    A path with another end is kept whole: what is not known to be the API's belongs to the
    installation, because what lives above it may be somebody else's.
    """
    return _API_PATH.sub("", path)


def query(parameters: Mapping[str, QueryValue]) -> str:
    """Encode the parameters that are not None, in order. Booleans become ``true``/``false``, sequences comma-joined."""
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
        InvalidArgumentError: something in it has no place in JSON.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidArgumentError(f"an argument cannot be sent: {error}") from None


def drop_none(**fields: object) -> dict[str, object]:
    """The fields that were given, in order: what is None is not sent."""
    return {name: value for name, value in fields.items() if value is not None}
