"""What a type checker knows of strategies, also of one's own. mypy and pyright read this only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import assert_type

from vcloud import (
    APIKeyAuth,
    Auth,
    BearerAuth,
    Endpoint,
    FileTokenStore,
    HMACAuth,
    RedisTokenStore,
    Request,
    Response,
    TokenStore,
)


def strategies() -> None:
    assert_type(Endpoint(auth=APIKeyAuth("key")), Endpoint)
    assert_type(Endpoint(auth=HMACAuth("key", "secret", signed_path="/v1")), Endpoint)
    assert_type(Endpoint("https://host/api/v1", auth=BearerAuth("token")), Endpoint)
    assert_type(BearerAuth.login("me", "password", path="/login"), BearerAuth)
    assert_type(HMACAuth("key", "secret").sign("GET", "/v1/machines", 1, "nonce"), str)
    assert_type(HMACAuth.TOLERANCE, float)
    assert_type(HMACAuth.MAX_OFFSET, float)


def tokens(auth: BearerAuth, request: Request) -> None:
    assert_type(auth.has_token, bool)
    assert_type(auth.expires_at, datetime | None)
    assert_type(auth.credentials, Request | None)
    assert_type(auth.forget(), None)
    assert_type(auth.ready(0.0), bool)
    assert_type(auth.headers(request, "/path", now=0.0, nonce="nonce"), Mapping[str, str])
    assert_type(auth.for_base_url("https://host"), BearerAuth)
    assert_type(BearerAuth.LEEWAY, float)


def stores(path: Path, auth: BearerAuth) -> None:
    file, redis = FileTokenStore(path), RedisTokenStore("rediss://host", prefix="mine:")
    assert_type(file.path, Path)
    assert_type([file.place, redis.place], list[str])
    either: list[TokenStore] = [file, redis]
    assert_type([BearerAuth.login("me", "password", store=one) for one in either], list[BearerAuth])
    assert_type(BearerAuth.login("me", "password", store="tokens.json"), BearerAuth)
    assert_type(BearerAuth.login("me", "password", store=path), BearerAuth)
    assert_type(auth.unproven({}), bool)


async def share(auth: BearerAuth) -> None:
    assert_type(await auth.share(now=0.0), None)


class Signed(Auth):
    """A strategy of one's own, with every method of the protocol."""

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Signature": f"{request.method}{path}{now}{nonce}"}

    def ready(self, now: float) -> bool:
        return now > 0

    async def acquire(self, send: Callable[[Request], Awaitable[Response]], *, now: float) -> None:
        assert_type(
            await send(Request("POST", "/token", body=b"{}", sensitive=True, authenticated=False)),
            Response,
        )

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:
        return response.status == 401

    def accepted(self, sent: Mapping[str, str], *, now: float) -> None: ...

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:
        return True

    def for_base_url(self, base_url: str) -> Signed:
        return self


def own() -> None:
    assert_type(Endpoint(auth=Signed()).auth, Auth)


def request_fields(value: Request) -> None:
    assert_type(value.method, str)
    assert_type(value.path, str)
    assert_type(value.query, str)
    assert_type(value.body, bytes | None)
    assert_type(value.sensitive, bool)
    assert_type(value.authenticated, bool)
    assert_type(value.bucket, str)
    assert_type(value.repeatable, bool)
    assert_type(value.slot, bool)
    assert_type(value.starts, bool)
    assert_type(value.once, bool)
    assert_type(value.label, str)
    assert_type(value.idempotent, bool)
    assert_type(value.shown_path, str)
    assert_type(value.safe, bool)


def response_fields(value: Response) -> None:
    assert_type(value.status, int)
    assert_type(value.headers, Mapping[str, str])
    assert_type(value.body, bytes)
    assert_type(value.cut, bool)
