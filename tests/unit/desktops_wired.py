"""A desktop client without a socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field

from vcloud import (
    APIKeyAuth,
    Endpoint,
    Response,
    RetryPolicy,
)
from vcloud._core.client import client_with
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.transport import Transport
from vcloud.providers.desktops import (
    Desktops,
)

ID = "a1b2c3d4-e5f6-7890-1234-567890abcdef"
SECRET = "hunter2-swordfish"
STREAM = f"https://stream.example.com/{SECRET}"
DESKTOP = {
    "id": ID,
    "status": "running",
    "created_at": "2025-05-01T10:00:00.000Z",
    "timeout_at": "2025-05-02T10:00:00.000Z",
    "stream_url": STREAM,
}
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"

Reply = Callable[[str, str], Awaitable[Response]]


def response(body: object, status: int = 200, **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@define
class Wired(Transport):
    """Answers without a socket, and keeps the requests."""

    reply: Reply
    asked: list[tuple[str, str, Any]] = field(factory=list)

    def check(self) -> None: ...

    async def aclose(self) -> None: ...

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        wire: TransportOptions,
    ) -> Response:
        path = url.removeprefix("https://api.cyberdesk.io/v1")
        self.asked.append((method, path, None if body is None else json.loads(body)))
        return await self.reply(method, path)

    @property
    def paths(self) -> list[str]:
        return [f"{method} {path}" for method, path, _ in self.asked]


def client(
    transport: Transport,
    *,
    strict: bool = False,
    attempts: int = 1,
    cleanup_timeout: float = 25.0,
) -> Desktops:
    endpoint = Endpoint(
        auth=APIKeyAuth("ck_test_1"),
        retry=RetryPolicy(attempts=attempts, base=0),
        cleanup_timeout=cleanup_timeout,
    )
    return client_with(Desktops, endpoint, transport=transport, codec=Codec(strict=strict))


def answering(*answers: Response | Exception, attempts: int = 1) -> tuple[Desktops, Wired]:
    """A client that gets these answers one after the other, and the last one from then on."""
    left = list(answers)

    async def reply(method: str, path: str) -> Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    wired = Wired(reply)
    return client(wired, attempts=attempts), wired
