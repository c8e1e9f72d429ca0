"""A request to the published StreamSpace on its way to a handler: filters, logins, routes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from http import HTTPStatus
from random import Random
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

import msgspec
from aiohttp import web
from attrs import field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, generator, new_uuid
from vcloud.emulator.net.routing import Found, NoRouteError, Routes, WrongMethodError
from vcloud.emulator.net.websockets import Use
from vcloud.emulator.settable import ById
from vcloud.emulator.streamspace.published import headers
from vcloud.emulator.streamspace.published.access import (
    COOKIE,
    agent_id_of,
    key_of,
    token_of,
    with_bootstrap_key,
)
from vcloud.emulator.streamspace.published.cache import Cache
from vcloud.emulator.streamspace.published.limits import AgentLimits
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.screening import (
    read_query,
    refuse_path,
    refuse_query,
    refuse_size,
)
from vcloud.emulator.streamspace.published.state import Agent, User
from vcloud.emulator.streamspace.published.tokens import Tokens
from vcloud.emulator.streamspace.published.troubles import troubles

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
PREFIX: Final = "/api/v1"
_NOT_FOUND: Final = b"404 page not found"


@frozen(kw_only=True)
class PublishedRequest:
    """A request as handlers receive it."""

    user: User
    """Who sent it; `NOBODY` where no login is needed."""
    agent_id: str = ""
    """The agent that sent it, on an agent's route."""
    bootstrap: bool = False
    """Whether an agent sent the installation's key, and not its own."""
    params: Mapping[str, str]
    query: Mapping[str, str]
    """The first value of each parameter."""
    queries: Mapping[str, list[str]]
    """All values of each parameter."""
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    upgrade: bool
    """Whether a WebSocket is asked for."""
    remote: str = ""
    """The client's address."""


class Live(Protocol):
    """Where WebSockets are opened, and kept."""

    async def serve(
        self, request: web.BaseRequest, headers: dict[str, str], use: Use
    ) -> web.StreamResponse:
        """Upgrade, give `use` the socket, and close it as `use` returns."""
        ...


@frozen
class Upgrade:
    """A handler's answer that becomes a WebSocket: where it is kept, and what uses it."""

    live: Live
    use: Use


@frozen
class Reply:
    """A handler's answer with a status of its own, or text."""

    status: int
    body: Json | str | bytes | None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(factory=dict)


Handler = Callable[[PublishedRequest], Json | Reply | Upgrade]


@frozen(kw_only=True)
class Route:
    """A handler, its status on success, and who may use it."""

    handler: Handler
    status: int = 200
    public: bool = False
    """Whether no login is needed."""
    roles: tuple[str, ...] = ()
    """The roles that may use it; () for all."""
    agent: bool = False
    """Whether it is for agents, who send a key and no login."""
    changes: bool = False
    """Whether a success changes a session: with `caching`, that ends all logins."""
    cached: float = 0.0
    """For how many simulated seconds an answer is kept with `caching`."""
    token_in_query: bool = False
    """Whether `?token=` and a cookie do without an upgrade too."""


TableEntry = tuple[str, str, Route]
"""Method, path below `PREFIX`, and route of an operation."""

NOBODY: Final = User(
    id="", username="", email="", full_name="", password="", created_at=0.0, updated_at=0.0
)


class PublishedApi:
    """Receives requests and calls the handlers.

    Handlers are plain functions, so concurrent requests cannot interleave.
    """

    prefix: str = PREFIX

    def __init__(self, clock: Clock, *, rate_limits: bool, seed: Seed | None) -> None:
        """Begin without routes; equal seeds give equal ids and tokens."""
        self.clock: Clock = clock
        self.random: Random = generator(seed)
        self.tokens: Tokens = Tokens(clock, self.random)
        self.limits: AgentLimits = AgentLimits(clock, enabled=rate_limits)
        self.cache: Cache = Cache(clock)
        self.users: dict[str, User] = ById()
        self.agents: dict[str, Agent] = ById()
        self.bootstrap_key: str = ""
        """The installation's key, with which any agent may register and connect."""
        self.caching: bool = False
        """Whether the server has Redis: see `Cache`."""
        self.database_away: bool = False
        """Whether the database is away: every login is then refused."""
        self.routes: Routes[Route] = Routes("")

    @property
    def without_database(self) -> bool:
        """Whether the database is away for this request."""
        return self.database_away or troubles().database_away

    def add_routes(self, *entries: TableEntry) -> None:
        """Serve these operations; their paths are below `PREFIX`."""
        for method, path, route in entries:
            self.routes.add(method, f"{PREFIX}{path}", route)

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer one request, also one that is refused."""
        sent = {"X-Request-ID": new_uuid(self.random)}
        if request.method not in METHODS:
            return _other_method(request.method, sent)
        raw, _, query = request.raw_path.partition("?")
        path = unquote(raw)
        if self._is_moved(request.method, path):
            return _moved(request.method, path[:-1], query)
        sent |= headers.cross_origin()
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=sent)
        sent |= headers.security(path, b64encode(self.random.randbytes(16)).decode())
        queries = read_query(query)
        try:
            refuse_path(path)
            refuse_query((name, value) for name, values in queries.items() for value in values)
            refuse_size(len(body))
        except PublishedError as error:
            return _json(error.status, error.body, sent)
        sent["Cache-Control"] = headers.kept(request.method, path)
        answer = self._routed(request, path, queries, body, sent)
        if isinstance(answer, Upgrade):
            return await answer.live.serve(request, sent, answer.use)
        if answer.body is not None and headers.compressed(
            path, request.headers.get("Accept-Encoding", "")
        ):
            answer.headers["Vary"] = "Accept-Encoding"
            # Once a fault has changed the body, and with whatever size it has.
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    def refuse(self, error: PublishedError, sent: Mapping[str, str]) -> web.Response:
        """A refusal, with these headers."""
        return _json(error.status, error.body, sent)

    def _is_moved(self, method: str, path: str) -> bool:
        """Whether a path is served only without its final slash."""
        return (
            path.endswith("/")
            and self._find(method, path) is None
            and self._find(method, path[:-1]) is not None
        )

    def _find(self, method: str, path: str) -> Found[Route] | None:
        try:
            # The server splits the decoded path: an encoded slash ends a segment.
            return self.routes.find(method, quote(path))
        except (NoRouteError, WrongMethodError):
            return None

    def _routed(
        self,
        request: web.BaseRequest,
        path: str,
        queries: Mapping[str, list[str]],
        body: bytes,
        sent: dict[str, str],
    ) -> web.Response | Upgrade:
        found = self._find(request.method, path)
        if found is None:
            return _not_there(request.headers.get("Accept-Encoding", ""), sent)
        upgrade = _asks_for_socket(request)
        try:
            asked = self._admitted(found, request, queries, body, sent, upgrade=upgrade)
        except PublishedError as error:
            # The server says nothing when it refuses an upgrade for its login.
            if upgrade and not found.handler.agent and error.status in {401, 403}:
                return web.Response(status=error.status, headers=sent)
            return self.refuse(error, sent)
        try:
            return self._handled(found.handler, asked, request.raw_path, sent)
        except PublishedError as error:
            return self.refuse(error, sent)

    def _admitted(
        self,
        found: Found[Route],
        request: web.BaseRequest,
        queries: Mapping[str, list[str]],
        body: bytes,
        sent: dict[str, str],
        *,
        upgrade: bool,
    ) -> PublishedRequest:
        route, query = found.handler, {name: values[0] for name, values in queries.items()}
        user, agent_id, bootstrap = NOBODY, "", False
        if route.agent:
            self.limits.take(request.remote or "")
            key = key_of(request.headers)
            agent_id = agent_id_of(query, found.params, body)
            if self.without_database:
                raise PublishedError(500, "Database error")
            agent = self.agents.get(agent_id)
            bootstrap = with_bootstrap_key(key, agent_id, agent, self.bootstrap_key)
        elif not route.public:
            in_query = upgrade or route.token_in_query
            token = token_of(request.headers, query, in_query=in_query)
            if in_query and query.get("token"):
                sent["Set-Cookie"] = f"{COOKIE}={quote(token)}; Path=/api/v1; Max-Age=900"
            user = self.user_of(token)
            if route.roles and user.role not in route.roles:
                raise PublishedError(403, "Insufficient permissions")
        return PublishedRequest(
            user=user,
            agent_id=agent_id,
            bootstrap=bootstrap,
            params=found.params,
            query=query,
            queries=queries,
            content=body,
            headers=request.headers,
            upgrade=upgrade,
            remote=request.remote or "",
        )

    def user_of(self, token: str) -> User:
        """The owner of a token.

        Raises:
            PublishedError: the token is invalid, its login has been ended, or the database is away.
        """
        user_id = self.tokens.check(token)
        user = next((one for one in self.users.values() if one.id == user_id), None)
        if user is None or self.without_database:
            raise PublishedError(401, "User not found")
        if not user.active:
            raise PublishedError(403, "User account is disabled")
        return user

    def _handled(
        self, route: Route, asked: PublishedRequest, raw_path: str, sent: dict[str, str]
    ) -> web.Response | Upgrade:
        keeps = route.cached > 0 and (self.caching or troubles().keeps_answers)
        if keeps and (kept := self.cache.find(raw_path, asked.user.id)) is not None:
            return web.Response(
                body=kept,
                headers={**sent, "X-Cache": "HIT"},
                content_type="application/json",
                charset="utf-8",
            )
        answer = route.handler(asked)
        if isinstance(answer, Upgrade):
            return answer
        if isinstance(answer, dict):
            answer = Reply(route.status, answer)
        response = _response(answer, sent)
        if keeps and isinstance(response.body, bytes):
            self.cache.keep(raw_path, asked.user.id, response.body, route.cached)
        if route.changes and self.caching and response.status < HTTPStatus.MULTIPLE_CHOICES:
            self.tokens.revoke_all()
        return response


def _asks_for_socket(request: web.BaseRequest) -> bool:
    return (
        request.headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in request.headers.get("Connection", "").lower()
    )


def _json(status: int, body: Json, sent: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        headers=sent,
        content_type="application/json",
        charset="utf-8",
    )


def _response(answer: Reply, sent: Mapping[str, str]) -> web.Response:
    body: Any = answer.body
    if isinstance(body, dict):
        return _json(answer.status, body, {**sent, **answer.headers})
    if body is None:
        return web.Response(status=answer.status, headers={**sent, **answer.headers})
    return web.Response(
        status=answer.status,
        body=body,
        headers={**sent, **answer.headers, "Content-Type": answer.content_type},
    )


def _not_there(accepted: str, sent: Mapping[str, str]) -> web.Response:
    """The answer to a path that is not served, or not with this method."""
    if "gzip" in accepted:
        # The server loses the text, and its type, where it would compress it.
        return web.Response(status=404, body=b"", headers=sent)
    return web.Response(status=404, body=_NOT_FOUND, headers={**sent, "Content-Type": "text/plain"})


def _other_method(method: str, sent: Mapping[str, str]) -> web.Response:
    body = {
        "allowed_methods": METHODS,
        "error": "Method not allowed",
        "message": f"The HTTP method {method} is not allowed for this resource.",
    }
    return _json(405, body, {**sent, "Allow": ", ".join(METHODS)})


def _moved(method: str, path: str, query: str) -> web.Response:
    to = quote(path) + (f"?{query}" if query else "")
    where = {"Location": to}
    if method != "GET":
        return web.Response(status=307, headers=where)
    text = f'<a href="{escape(to)}">Moved Permanently</a>.\n\n'
    return web.Response(status=301, text=text, headers=where, content_type="text/html")
