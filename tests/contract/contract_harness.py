"""Compares the clients with the documents, which ``documents/*.json`` has as data.

For each provider two modules say how its client makes each documented call. ``*_calls.py`` has one
call for each documented request, for the examples. ``*_scenarios.py`` has everything that an
operation can send and receive, over a socket.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import define, field, frozen

from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth, Response
from vcloud._core.client import client_with
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.transport import Transport
from vcloud.emulator import Emulator

DOCUMENTS = Path(__file__).with_name("documents")


@frozen
class Provider:
    """One provider under test.

    Attributes:
        api: the provider's name.
        client: its client class.
        auth: makes its credentials.
        dialect: which of its dialects; None: it has one.
    """

    api: str
    client: str
    auth: Callable[[], Any]
    dialect: str | None = None

    @property
    def name(self) -> str:
        """The name of its document."""
        return f"{self.api}-published" if self.dialect == "published" else self.api

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            (DOCUMENTS / f"{self.name}.json").read_text(encoding="utf-8")
        )
        return document

    @property
    def operations(self) -> list[dict[str, Any]]:
        """What is asked for over HTTP; the WebSockets have tests of their own."""
        return [
            operation for operation in self.document["operations"] if not operation.get("websocket")
        ]

    @property
    def client_class(self) -> Any:
        return getattr(import_module(f"vcloud.providers.{self.api}"), self.client)

    @property
    def calls(self) -> dict[str, list[Callable[[Any], Awaitable[object]]]]:
        return self._module("calls", "CALLS")  # type: ignore[no-any-return]

    @property
    def drift(self) -> dict[str, str]:
        return self._module("calls", "DRIFT")  # type: ignore[no-any-return]

    @property
    def scenarios(self) -> dict[str, Callable[[Any, Any], Awaitable[None]]]:
        return self._module("scenarios", "SCENARIOS")  # type: ignore[no-any-return]

    def _module(self, kind: str, table: str) -> Any:
        prefix = "PUBLISHED_" if self.dialect == "published" else ""
        return getattr(import_module(f"tests.contract.{self.api}_{kind}"), prefix + table)

    def emulator(self, **options: Any) -> Emulator:
        """An emulator that plays this dialect."""
        return Emulator(**options, streamspace=self.dialect or "documented")

    @property
    def own(self) -> dict[str, object]:
        """The arguments that only this provider's client takes."""
        return {} if self.dialect is None else {"dialect": self.dialect}

    def make(
        self,
        transport: Transport,
        *,
        base_url: str | None = None,
        auth: Any = None,
        strict: bool = False,
    ) -> Any:
        endpoint = Endpoint(base_url or self.document["base_url"], auth=auth or self.auth())
        return client_with(
            self.client_class,
            endpoint,
            transport=transport,
            codec=Codec(strict=strict),
            own=self.own,
        )


PROVIDERS = {
    "computers": Provider(
        "computers", "VagonComputers", lambda: HMACAuth("ak_test_1", "sk_test_1")
    ),
    "streams": Provider("streams", "VagonStreams", lambda: HMACAuth("ak_test_1", "sk_test_1")),
    "streamspace": Provider(
        "streamspace", "StreamSpace", lambda: BearerAuth("token"), "documented"
    ),
    "streamspace-published": Provider(
        "streamspace", "StreamSpace", lambda: BearerAuth("token"), "published"
    ),
    "desktops": Provider("desktops", "Desktops", lambda: APIKeyAuth("api_12345")),
}


@frozen
class Sent:
    """A request as it went to the transport."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: Any


def sent(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Sent:
    parts = urlsplit(url)
    return Sent(
        method,
        parts.path,
        tuple(parse_qsl(parts.query, keep_blank_values=True)),
        headers,
        json.loads(body) if body else None,
    )


@define
class CannedTransport(Transport):
    """Answers every request with one document example, and keeps what was asked."""

    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict)
    asked: list[Sent] = field(factory=list)

    def check(self) -> None: ...

    def open(self) -> None: ...

    async def aclose(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        self.asked.append(sent(method, url, headers, body))
        return Response(self.status, self.headers, self.body)


class RecordingTransport(Transport):
    """A real transport that keeps both sides of every exchange."""

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[tuple[Sent, int, Any]] = []

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        response = await super().exchange(method, url, headers, body, wire)
        try:
            answer = json.loads(response.body)
        except ValueError:
            answer = None
        self.exchanges.append((sent(method, url, headers, body), response.status, answer))
        return response


def pattern(base_url: str, path: str) -> re.Pattern[str]:
    """What a documented path looks like once its placeholders are filled."""
    base = urlsplit(base_url).path.rstrip("/")
    return re.compile(re.sub(r"\\{[^/]+?\\}", "[^/]+", re.escape(base + path)) + "$")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a JSON value by its path in the data: ``machines[].attributes.name``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            yield below, inner
            yield from leaves(inner, below)
    elif isinstance(value, list):
        for inner in value:
            yield f"{path}[]", inner
            yield from leaves(inner, f"{path}[]")
