"""The emulator's own routes, for programs that cannot use its objects.

Faults do not apply to them, and the list of calls does not contain them.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from attrs import asdict

from vcloud.emulator.admin.requests import AdminRequest, Handler, Json, Route
from vcloud.emulator.admin.target import Target
from vcloud.emulator.admin.vagon import vagon_routes
from vcloud.emulator.calls import without_token
from vcloud.emulator.faults.limits import FARTHEST, LONGEST
from vcloud.emulator.faults.named import HEADER, described, named
from vcloud.emulator.faults.rules import Rule
from vcloud.emulator.net.connection import Request
from vcloud.emulator.net.routing import NoRouteError, Routes, WrongMethodError

PREFIX: Final = "/_emulator"
TOKEN_HEADER: Final = "X-VCloud-Token"  # noqa: S105 - a header's name
"""The header with the token for an emulator that serves real desktops."""
MOST_BYTES: Final = 2**20
"""Maximum bytes of a request's body: a rule is kept in memory."""
MOST_RULES: Final = 1000
"""Maximum number of rules: every request is compared with each of them."""
LATEST: Final = 2e11
"""Maximum of the services' time in epoch seconds, in the year 8307: no date is after 9999."""
LONGEST_ROUTE: Final = 1000
"""Maximum characters of a rule's route: every request is compared with it."""
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    route: Annotated[str, msgspec.Meta(max_length=LONGEST_ROUTE)]
    fault: str
    arguments: Json = msgspec.field(default_factory=dict)
    times: int | None = 1
    skip: int = 0
    every: int = 1
    probability: float = 1.0


class _Seconds(msgspec.Struct, forbid_unknown_fields=True):
    seconds: Annotated[float, msgspec.Meta(ge=0, le=FARTHEST)]


class _Pause(msgspec.Struct, forbid_unknown_fields=True):
    seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST)]


class _Offset(msgspec.Struct, forbid_unknown_fields=True):
    offset: Annotated[float, msgspec.Meta(ge=-FARTHEST, le=FARTHEST)]


def is_administrative(path: str) -> bool:
    """Whether a path is one of the emulator's own."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class Admin:
    """Answers requests below `PREFIX`, in JSON."""

    def __init__(self, target: Target, token: str | None) -> None:
        """Administer `target` for clients with this `token`; None allows all clients."""
        self._target = target
        self._token = token
        self._routes: Routes[Handler] = Routes(PREFIX)
        self._help: dict[str, str] = {}
        for method, template, handler, what in (*self._own_routes(), *vagon_routes(target)):
            self._routes.add(method, template, handler)
            self._help[f"{method} {PREFIX}{template.removesuffix('/')}"] = what

    def _own_routes(self) -> tuple[Route, ...]:
        add = "{route, fault, arguments, times, skip, every, probability}: add a rule"
        offset = "{offset}: how far the services' time of day is off, in seconds"
        refuse = "{seconds}: reset all connections, and refuse new ones for so long"
        arrivals = "the other host that redirects point to, and the requests that it received"
        return (
            ("GET", "/", self._index, "this list"),
            ("GET", "/faults", self._list_rules, "the rules that may still apply"),
            ("POST", "/faults", self._add_rule, add),
            ("DELETE", "/faults", self._clear_rules, "remove every rule"),
            ("GET", "/faults/{number}", self._get_rule, "one rule"),
            ("DELETE", "/faults/{number}", self._remove_rule, "remove one rule"),
            ("GET", "/calls", self._list_calls, "every call, oldest first"),
            ("DELETE", "/calls", self._clear_calls, "forget the calls"),
            ("GET", "/clock", self._get_clock, "the services' time, in seconds"),
            ("POST", "/clock", self._set_clock, offset),
            ("POST", "/clock/advance", self._advance, "{seconds}: let simulated time pass"),
            ("POST", "/refuse", self._refuse, refuse),
            ("GET", "/elsewhere", self._list_arrivals, arrivals),
            ("DELETE", "/elsewhere", self._clear_arrivals, "forget these requests"),
        )

    def allows(self, request: web.BaseRequest) -> bool:
        """Whether a request may administer, or order a fault for itself."""
        if self._token is None:
            return True
        shown = ",".join(request.headers.getall(TOKEN_HEADER, []))
        return hmac.compare_digest(shown.encode(errors="replace"), self._token.encode())

    def needs_token(self) -> web.Response:
        """The answer to a request that is not allowed."""
        message = (
            "this emulator serves real desktops, so its administration, and the header "
            f"{HEADER}, need its token in {TOKEN_HEADER}: it prints the token as "
            "VCLOUD_EMULATOR_TOKEN"
        )
        return _closing(_json(401, {"error": message}))

    async def answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one request, also one that is refused."""
        try:
            found = self._routes.find(request.method, path)
            body = await _body(request)
            # Browsers send any other type to this machine without a preflight request.
            if request.method in {"POST", "PATCH"} and request.content_type != "application/json":
                return _json(415, {"error": "Content-Type must be application/json"})
            status, payload = await found.handler(AdminRequest(request, found.params, body))
        except LookupError as error:
            return _not_found(error, request.method, path)
        except _TooLargeError:
            return _closing(_json(413, {"error": f"a body has at most {MOST_BYTES} bytes here"}))
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            # UnicodeError is a ValueError, and so is msgspec's from 0.20.
            return _json(400, {"error": str(error)})
        # POST /refuse spared this connection, for this answer alone.
        return _closing(_json(status, payload))

    async def _index(self, _: AdminRequest) -> tuple[int, Json]:
        return 200, {"routes": self._help, "header": HEADER, "faults": described()}

    async def _list_rules(self, _: AdminRequest) -> tuple[int, Json]:
        return 200, {"faults": [_view(rule) for rule in self._target.faults.rules]}

    async def _add_rule(self, request: AdminRequest) -> tuple[int, Json]:
        order = request.read(_Order)
        if len(self._target.faults.rules) >= MOST_RULES:
            msg = f"there are {MOST_RULES} rules, which is the maximum: remove some"
            raise ValueError(msg)
        rule = self._target.faults.add(
            order.route,
            named(order.fault, order.arguments),
            order.times,
            skip=order.skip,
            every=order.every,
            probability=order.probability,
        )
        return 201, _view(rule)

    async def _clear_rules(self, _: AdminRequest) -> tuple[int, Json]:
        self._target.faults.clear()
        return 200, {"faults": []}

    async def _get_rule(self, request: AdminRequest) -> tuple[int, Json]:
        return 200, _view(self._found(request.params["number"]))

    async def _remove_rule(self, request: AdminRequest) -> tuple[int, Json]:
        rule = self._found(request.params["number"])
        rule.remove()
        return 200, _view(rule)

    def _found(self, number: str) -> Rule:
        for rule in self._target.faults.rules:
            if str(rule.number) == number:
                return rule
        msg = f"no rule has the number {number}: it was removed, or applied as often as it may"
        raise LookupError(msg)

    async def _list_calls(self, _: AdminRequest) -> tuple[int, Json]:
        # Without the bodies: other users of the machine may ask, and texts may be passwords.
        return 200, {
            "calls": [
                asdict(call, filter=lambda field, _: field.name != "json")
                for call in list(self._target.calls)
            ]
        }

    async def _clear_calls(self, _: AdminRequest) -> tuple[int, Json]:
        self._target.calls.clear()
        return 200, {"calls": []}

    async def _get_clock(self, _: AdminRequest) -> tuple[int, Json]:
        clock = self._target.clock
        return 200, {
            "now": clock.now(),
            "wall": clock.wall(),
            "speed": clock.speed,
            "offset": clock.offset,
        }

    async def _set_clock(self, request: AdminRequest) -> tuple[int, Json]:
        self._target.clock.offset = request.read(_Offset).offset
        return await self._get_clock(request)

    async def _advance(self, request: AdminRequest) -> tuple[int, Json]:
        seconds = request.read(_Seconds).seconds
        if self._target.clock.now() + seconds > LATEST:
            msg = (
                f"the services' time must be at most {LATEST:.0f} s: later dates cannot be written"
            )
            raise ValueError(msg)
        self._target.clock.advance(seconds)
        return await self._get_clock(request)

    async def _refuse(self, request: AdminRequest) -> tuple[int, Json]:
        seconds = request.read(_Pause).seconds
        await self._target.refuse_for(seconds, spare=request.request.transport)
        return 202, {"seconds": seconds}

    async def _list_arrivals(self, _: AdminRequest) -> tuple[int, Json]:
        elsewhere = self._target.elsewhere
        arrivals = [
            {
                "method": one.method,
                "path": one.path,
                "query": without_token(one.query),
                "headers": {
                    name: "***" if name.lower() in _CREDENTIALS else text
                    for name, text in one.headers.items()
                },
                "body": one.body.decode(errors="replace"),
            }
            for one in elsewhere.arrivals
        ]
        return 200, {"url": await elsewhere.open(), "arrivals": arrivals}

    async def _clear_arrivals(self, _: AdminRequest) -> tuple[int, Json]:
        self._target.elsewhere.arrivals.clear()
        return 200, {"arrivals": []}


class _TooLargeError(Exception):
    """The body is too long."""


async def _body(request: web.BaseRequest) -> bytes:
    length = request.content_length
    if length is not None and length > MOST_BYTES:
        # Before a client that waits for 100 is asked to send it.
        raise _TooLargeError
    if isinstance(request, Request):
        await request.ask_for_body()
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > MOST_BYTES:
            raise _TooLargeError
    return bytes(body)


def _not_found(error: LookupError, method: str, path: str) -> web.Response:
    if isinstance(error, NoRouteError):
        return _json(404, {"error": f"nothing at {path}; GET {PREFIX} lists what there is"})
    if isinstance(error, WrongMethodError):
        allow = ", ".join(error.allowed)
        return _json(405, {"error": f"{method} is not allowed here, only {allow}"}, Allow=allow)
    return _json(404, {"error": str(error.args[0])})


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response


def _view(rule: Rule) -> Json:
    return {
        "number": rule.number,
        "route": rule.route,
        "fault": rule.fault.name,
        "arguments": rule.fault.arguments,
        "times": rule.times,
        "skip": rule.skip,
        "every": rule.every,
        "probability": rule.probability,
        "seen": rule.seen,
        "hits": rule.hits,
    }


def _json(status: int, payload: Json, **headers: str) -> web.Response:
    encoder = msgspec.json.Encoder(enc_hook=str)
    return web.Response(
        status=status,
        body=encoder.encode(_shown(payload)),
        headers=headers,
        content_type="application/json",
    )


def _shown(value: Any) -> Any:
    """Decode bytes, at any depth."""
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
