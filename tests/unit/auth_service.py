"""A service that issues tokens, and helpers of the tests of strategies."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from vcloud import (
    BearerAuth,
    Request,
    Response,
)
from vcloud._core.request import json_body

NOW = 1_771_000_000.0


SECRETS = ("sk_canary", "hunter2", "tok_canary", "api_canary")


def refusal(at: float) -> Response:
    date = datetime.fromtimestamp(at, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    return Response(401, {"Date": date}, b"{}")


class Service:
    """A login endpoint that counts."""

    def __init__(self, *, life: timedelta = timedelta(hours=24), key: str = "expires_at") -> None:
        self.logins = 0
        self.life = life
        self.key = key
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, request: Request) -> Response:
        self.logins += 1
        assert (request.method, request.path, request.authenticated) == (
            "POST",
            "/auth/login",
            False,
        )
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        expires = (datetime.fromtimestamp(NOW, UTC) + self.life).isoformat()
        return Response(
            200, {}, json_body({"token": f"tok-{self.logins}", self.key: expires, "user": {}})
        )


def bearer(auth: BearerAuth) -> str:
    return auth.headers(Request("GET", "/"), "/", now=NOW, nonce="")["Authorization"]
