"""What both Vagon APIs share: organisations, signatures, the envelope, errors and paging."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web
from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.net.query import Query
from vcloud.emulator.net.routing import NoRouteError, Routes, WrongMethodError
from vcloud.emulator.vagon.account import Account
from vcloud.emulator.vagon.signature import Signatures

T = TypeVar("T")
Json = dict[str, Any]

REGIONS = (
    "dublin", "north_virginia", "oregon", "ohio", "montreal", "california", "sao_paolo",
    "stockholm", "frankfurt", "bahrain", "mumbai", "seoul", "tokyo", "singapore", "sydney",
    "jakarta", "uae", "cape_town", "hong_kong",
)  # fmt: skip

_LAST_STATUS = 599
MOST = Decimal(10**15)
_INTEGER = re.compile(r"[0-9]{1,18}")
_BOOLEANS = {"true": True, "false": False}


class VagonError(Exception):
    """A refusal in the service's form. A code that is not an HTTP status is sent with HTTP 400."""

    def __init__(self, code: int, message: str) -> None:
        """Refuse with `code` (the body's `client_code`) and `message`."""
        super().__init__(code, message)
        self.code: int = code
        self.message: str = message

    @property
    def status(self) -> int:
        """The HTTP status of this error."""
        return self.code if self.code <= _LAST_STATUS else 400


def amount(written: Decimal | int | str) -> Decimal:
    """Check an amount of money.

    Raises:
        ValueError: it is not one.
    """
    try:
        found = Decimal(written)
    except (ArithmeticError, TypeError) as error:
        msg = f"a balance must be an amount such as 100.00, not {written!r}"
        raise ValueError(msg) from error
    if not found.is_finite() or abs(found) > MOST:
        msg = f"a balance must be a finite amount of at most {MOST}, not {written!r}"
        raise ValueError(msg)
    return found


def region(name: str) -> str:
    """Check the name of a region.

    Raises:
        ValueError: it is not one.
    """
    if name not in REGIONS:
        msg = f"unknown region {name!r}; regions are {', '.join(REGIONS)}"
        raise ValueError(msg)
    return name


@define(kw_only=True)
class Organization:
    """An account: its key, its permissions and its balance."""

    key: str
    secret: str = field(repr=False)
    name: str
    account: Account = field(repr=False)
    default_region: str | None = None
    permissions: set[str] = field(factory=lambda: {"read", "write"})
    """Operation groups the key may use: "read" for GET, "write" for the rest. Without it: 4710."""

    @property
    def balance(self) -> Decimal:
        """What is left to spend now; it can be set."""
        return self.account.balance

    @balance.setter
    def balance(self, amount: Decimal) -> None:
        self.account.balance = amount


@frozen(kw_only=True)
class VagonRequest:
    """An authenticated request as handlers receive it."""

    organization: Organization
    params: Mapping[str, str]
    query: Mapping[str, str]
    content: bytes
    content_type: str

    def json(self) -> Json:
        """The body, which must be a JSON object with that content type. No body counts as `{}`."""
        if not self.content:
            return {}
        if self.content_type != "application/json":
            raise VagonError(
                400, f"expected Content-Type application/json, got {self.content_type}"
            )
        try:
            found = msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise VagonError(400, f"body is not valid JSON: {error}") from error
        if not isinstance(found, dict):
            raise VagonError(400, "body must be a JSON object")
        return found


Handler = Callable[[VagonRequest], Json]


class VagonService:
    """One Vagon API below its prefix: checks the signature, calls the handler, adds the envelope.

    Handlers are plain functions from request to payload. They await nothing, so concurrent requests
    cannot interleave.
    """

    prefix: str
    """The path of the API."""

    def __init__(self, organization: Organization, signatures: Signatures, clock: Clock) -> None:
        """Serve `organization`, whose signatures are checked by `signatures`."""
        self.organization: Organization = organization
        self.clock: Clock = clock
        self.routes: Routes[Handler] = Routes(self.prefix)
        self.signatures: Signatures = signatures

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer one request, also one that is refused."""
        try:
            return self._respond(200, 200, "OK", self._payload(request, body))
        except VagonError as error:
            return self._respond(error.status, error.code, error.message, {})
        except NoRouteError:
            return self._respond(
                404, 404, f"no such route: {request.method} {request.raw_path}", {}
            )
        except WrongMethodError as error:
            allow = ", ".join(error.allowed)
            message = f"{request.method} is not allowed here, only {allow}"
            return self._respond(405, 405, message, {}, headers={"Allow": allow})

    def _payload(self, request: web.BaseRequest, body: bytes) -> Json:
        path = request.raw_path.partition("?")[0]
        # The signature first, so that routes are hidden from clients without a key.
        refusal = self.signatures.refusal(
            request.method, path, request.headers.getall("Authorization", []), body
        )
        if refusal is not None:
            raise VagonError(401, refusal)
        found = self.routes.find(request.method, path)
        group = "read" if request.method == "GET" else "write"
        if group not in self.organization.permissions:
            raise VagonError(4710, f"Permission required: {group}")
        self.organization.account.settle(self.clock.now())
        return found.handler(
            VagonRequest(
                organization=self.organization,
                params=found.params,
                query=Query(request.query, _ambiguous),
                content=body,
                content_type=request.content_type,
            )
        )

    def _respond(
        self,
        status: int,
        code: int,
        message: str,
        payload: Json,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        timestamp = self.clock.iso(self.clock.now(), timespec="seconds")
        body = envelope(code, message, timestamp, payload)
        return web.Response(
            status=status, body=body, headers=headers, content_type="application/json"
        )


def envelope(code: int, message: str, timestamp: str, payload: Json | None = None) -> bytes:
    """Encode an answer: the payload's fields, then the three that every answer has."""
    # Messages quote what was sent, which may contain invalid UTF-8.
    printable = message.encode(errors="backslashreplace").decode()
    closing = {"client_code": code, "message": printable, "timestamp": timestamp}
    return msgspec.json.encode({**(payload or {}), **closing})


@frozen
class Page(Generic[T]):
    """One page of a list."""

    items: Sequence[T]
    count: int
    page: int
    next_page: int | None

    def fields(self) -> Json:
        """The fields beside the items in the answer."""
        return {"count": self.count, "page": self.page, "next_page": self.next_page}


def paginate(items: Iterable[T], query: Mapping[str, str], per_page: int = 20) -> Page[T]:
    """The page of `items` that `query` asks for; `per_page` is the default."""
    page = query_integer(query, "page", minimum=1)
    size = query_integer(query, "per_page", minimum=1)
    page = 1 if page is None else page
    size = per_page if size is None else size
    everything = list(items)
    end = page * size
    following = page + 1 if end < len(everything) else None
    return Page(everything[end - size : end], len(everything), page, following)


def _ambiguous(name: str) -> VagonError:
    return VagonError(400, f"{name} was sent with two values")


def query_integer(query: Mapping[str, str], name: str, *, minimum: int = 0) -> int | None:
    """A whole number from the query; None if it is absent."""
    text = query.get(name)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text) or int(text) < minimum:
        raise VagonError(400, f"{name} must be an integer of at least {minimum}")
    return int(text)


def query_boolean(query: Mapping[str, str], name: str) -> bool | None:
    """A boolean from the query; None if it is absent. The vendor's client sends `True`."""
    text = query.get(name)
    if text is None:
        return None
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise VagonError(400, f"{name} must be true or false")
    return found


def body_integer(body: Json, name: str, *, minimum: int = 0) -> int:
    """A required whole number from the body; true and 1.0 are refused."""
    value = body.get(name)
    if type(value) is not int or value < minimum:
        raise VagonError(400, f"{name} must be an integer of at least {minimum}")
    return value


def body_boolean(body: Json, name: str, *, default: bool) -> bool:
    """A boolean from the body."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise VagonError(400, f"{name} must be true or false")
    return value


def known_region(name: object) -> str:
    """`name` if it is a region, else refuse."""
    if not isinstance(name, str) or name not in REGIONS:
        raise VagonError(400, f"unknown region; regions are {', '.join(REGIONS)}")
    return name
