"""A StreamSpace request on its way to a handler: limits, tokens, routes, refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import msgspec
from aiohttp import web
from attrs import field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, generator
from vcloud.emulator.net.query import Query
from vcloud.emulator.net.routing import Found, NoRouteError, Routes, WrongMethodError
from vcloud.emulator.net.websockets import OpenWebSockets, Use, wants_socket
from vcloud.emulator.streamspace.arguments import (
    Json,
    StreamSpaceError,
    ambiguous,
    read_object,
)
from vcloud.emulator.streamspace.limits import RateLimits
from vcloud.emulator.streamspace.state import User
from vcloud.emulator.streamspace.tokens import Tokens


@frozen(kw_only=True)
class StreamSpaceRequest:
    """A request as handlers receive it."""

    user: User
    """Who sent it; `NOBODY` without a token."""
    token: str = field(repr=False)
    params: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes = field(repr=False)
    content_type: str
    upgrade: bool
    """Whether a WebSocket is asked for."""

    def json(self) -> Json:
        """The body, which must be a JSON object."""
        return read_object(self.content, self.content_type)

    def require_admin(self) -> None:
        """Refuse users who are not administrators."""
        if not self.user.is_admin:
            raise StreamSpaceError(
                "AUTH_INSUFFICIENT_PERMISSIONS", "User lacks required permissions: admin"
            )


Upgrade = tuple[OpenWebSockets, Use]
"""A handler's answer that becomes a WebSocket: where it is kept, and what uses it."""

Handler = Callable[[StreamSpaceRequest], Json | Upgrade | None]


@frozen
class Route:
    """A handler, its status on success, its rate limit, and whether it needs no token.

    With `follows` it becomes a WebSocket for `follow=true`. No rate limit counts that.
    """

    handler: Handler
    status: int = 200
    bucket: str = "other"
    public: bool = False
    follows: bool = False


TableEntry = tuple[str, str, Route]
"""Method, path and route of an operation."""

NOBODY = User(id="", username="", email="", password="", created_at=0.0)


class StreamSpaceApi:
    """Receives requests and calls the handlers.

    Handlers are plain functions, so concurrent requests cannot interleave.
    """

    prefix: str = "/api/v1"

    def __init__(self, clock: Clock, *, rate_limits: bool, seed: Seed | None) -> None:
        """Begin without routes; equal seeds give equal ids and tokens."""
        self.clock: Clock = clock
        self.random: Random = generator(seed)
        self.tokens: Tokens = Tokens(clock, self.random)
        self.limits: RateLimits = RateLimits(clock, enabled=rate_limits)
        self.users: dict[str, User] = {}
        self.routes: Routes[Route] = Routes(self.prefix)

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer one request, also one that is refused."""
        headers = self.new_headers()
        try:
            status, payload = self._handle(request, body, headers)
        except StreamSpaceError as error:
            return self.refuse(error, headers)
        except NoRouteError:
            return self.refuse(
                StreamSpaceError("NOT_FOUND", f"Nothing at {request.method} {request.raw_path}"),
                headers,
            )
        except WrongMethodError as error:
            headers["Allow"] = ", ".join(error.allowed)
            message = f"{request.method} is not allowed here, only {headers['Allow']}"
            return self.refuse(StreamSpaceError("METHOD_NOT_ALLOWED", message), headers)
        if payload is None:
            return web.Response(status=status, headers=headers)
        if isinstance(payload, tuple):
            live, use = payload
            return await live.serve(request, headers, use)
        return web.Response(
            status=status,
            body=msgspec.json.encode(payload),
            headers=headers,
            content_type="application/json",
        )

    def new_headers(self) -> dict[str, str]:
        """The headers of every answer."""
        return {"X-Request-ID": f"req-{self.random.randbytes(6).hex()}"}

    def refuse(self, error: StreamSpaceError, headers: dict[str, str]) -> web.Response:
        """A refusal in the documented form."""
        body = msgspec.json.encode(self._refusal(error, headers["X-Request-ID"]))
        return web.Response(
            status=error.status, body=body, headers=headers, content_type="application/json"
        )

    def _handle(
        self, request: web.BaseRequest, body: bytes, headers: dict[str, str]
    ) -> tuple[int, Json | Upgrade | None]:
        found, nowhere = self._find(request)
        user, token, unauthenticated = self._identify(request)
        # Logins are counted by address, because the user is not verified yet.
        known = user.username if unauthenticated is None else ""
        login = found is not None and found.handler.bucket == "login"
        upgrade = wants_socket(request)
        follows = found is not None and found.handler.follows
        if not (follows and upgrade and request.query.get("follow") == "true"):
            self._count(
                found.handler.bucket if found else "other",
                (not login and known) or request.remote or "",
                headers,
            )
        # Before 404 and 405, so that routes are hidden from clients without a valid token.
        if unauthenticated is not None and not (found is not None and found.handler.public):
            raise unauthenticated
        if found is None:
            raise nowhere or NoRouteError(request.raw_path)
        asked = StreamSpaceRequest(
            user=user,
            token=token,
            params=found.params,
            query=Query(request.query, ambiguous),
            content=body,
            content_type=request.content_type,
            upgrade=upgrade,
        )
        return found.handler.status, found.handler.handler(asked)

    def _find(self, request: web.BaseRequest) -> tuple[Found[Route] | None, LookupError | None]:
        try:
            return self.routes.find(request.method, request.raw_path.partition("?")[0]), None
        except (NoRouteError, WrongMethodError) as error:
            return None, error

    def _identify(self, request: web.BaseRequest) -> tuple[User, str, StreamSpaceError | None]:
        """The sender and the token; or `NOBODY` and the reason."""
        header = request.headers.get("Authorization")
        if header is None:
            return (
                NOBODY,
                "",
                StreamSpaceError("AUTH_TOKEN_MISSING", "Authorization header missing"),
            )
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            return (
                NOBODY,
                "",
                StreamSpaceError(
                    "AUTH_TOKEN_INVALID", "Authorization header is not Bearer <token>"
                ),
            )
        try:
            return self.user_of(token), token, None
        except StreamSpaceError as error:
            return NOBODY, "", error

    def user_of(self, token: str) -> User:
        """The owner of a token; refuse one that is invalid."""
        user = self.users.get(self.tokens.check(token))
        if user is None or not user.active:
            raise StreamSpaceError(
                "AUTH_TOKEN_INVALID", "JWT token is of a user who may not log in"
            )
        return user

    def _count(self, bucket: str, who: str, headers: dict[str, str]) -> None:
        seen, wait = self.limits.take(bucket, who)
        headers.update(seen)
        if wait is not None:
            message = f"Too many requests. Please try again in {wait} seconds."
            raise StreamSpaceError("RATE_LIMIT_EXCEEDED", message, retry_after=wait)

    def _refusal(self, error: StreamSpaceError, request_id: str) -> Json:
        return {
            "error": error.error,
            # Messages quote what was sent, which may contain invalid UTF-8.
            "message": error.message.encode(errors="backslashreplace").decode(),
            "code": error.code,
            **error.extra,
            "details": error.details,
            "timestamp": self.clock.iso(self.clock.now(), timespec="seconds"),
            "request_id": request_id,
        }
