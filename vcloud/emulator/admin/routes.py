"""The emulator's own routes, for programs that cannot reach into it. Faults do not happen here, and no ledger has them."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from aiohttp import web

from vcloud.emulator.admin.vagon import Asked, Handler, vagon_routes
from vcloud.emulator.calls import without_token
from vcloud.emulator.faults.fault import FARTHEST, LONGEST
from vcloud.emulator.faults.named import HEADER, described, named
from vcloud.emulator.faults.rules import Rule
from vcloud.emulator.net.connection import Request
from vcloud.emulator.net.routing import NoRouteError, Routes, WrongMethodError

if TYPE_CHECKING:
    from vcloud.emulator.server import Emulator

PREFIX: Final = "/_emulator"
TOKEN_HEADER: Final = "X-VCloud-Token"  # noqa: S105 - a header's name
"""What proves the right to administer an emulator that serves real desktops."""
MOST_BYTES: Final = 2**20
"""Bytes of a request's body: an order is short, and is kept as long as its rule."""
MOST_RULES: Final = 1000
"""Rules at once: every request is compared with each of them."""
LATEST: Final = 2e11
"""Epoch seconds to which the services' time may be advanced, in the year 8307; dates end with 9999."""
LONGEST_ROUTE: Final = 1000
"""Characters of a rule's route: every request is compared with it."""
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})

Json = dict[str, Any]


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
    """Return whether a path is one of the emulator's own."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class Admin:
    """Answers what lies below `PREFIX`, in JSON."""

    def __init__(self, emulator: Emulator, token: str | None) -> None:
        """Look after this emulator, for whoever has `token`; None lets everybody in."""
        self._emulator = emulator
        self._token = token
        self._routes: Routes[Handler] = Routes(PREFIX)
        self._help: dict[str, str] = {}
        for method, template, handler, what in (
            ("GET", "/", self._index, "this"),
            ("GET", "/faults", self._rules, "the rules that may still apply"),
            (
                "POST",
                "/faults",
                self._add,
                "{route, fault, arguments, times, skip, every, probability}: add a rule",
            ),
            ("DELETE", "/faults", self._clear, "forget every rule"),
            ("GET", "/faults/{number}", self._rule, "one rule"),
            ("DELETE", "/faults/{number}", self._remove, "forget one rule"),
            ("GET", "/calls", self._calls, "every call, oldest first"),
            ("DELETE", "/calls", self._forget, "forget the calls"),
            ("GET", "/clock", self._clock, "the services' time, in seconds"),
            (
                "POST",
                "/clock",
                self._set,
                "{offset}: how far the services' time of day is off, in seconds",
            ),
            ("POST", "/clock/advance", self._advance, "{seconds}: let simulated time pass"),
            (
                "POST",
                "/refuse",
                self._refuse,
                "{seconds}: reset all connections, and refuse new ones for so long",
            ),
            (
                "GET",
                "/elsewhere",
                self._elsewhere,
                "the other host that redirects lead to, and what arrived there",
            ),
            ("DELETE", "/elsewhere", self._empty, "forget what arrived there"),
            *vagon_routes(emulator),
        ):
            self._routes.add(method, template, handler)
            self._help[f"{method} {PREFIX}{template.removesuffix('/')}"] = what

    def lets_in(self, request: web.BaseRequest) -> bool:
        """Return whether a request may administer, or order a fault for itself."""
        if self._token is None:
            return True
        shown = ",".join(request.headers.getall(TOKEN_HEADER, []))
        return hmac.compare_digest(shown.encode(errors="replace"), self._token.encode())

    def needs_token(self) -> web.Response:
        """Return the refusal of a request that is not let in."""
        return _ended(
            _json(
                401,
                {
                    "error": "this emulator serves real desktops, so its administration, and the header "
                    f"{HEADER}, need its token in {TOKEN_HEADER}: it prints the token as VCLOUD_EMULATOR_TOKEN"
                },
            )
        )

    async def answer(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer one request; refusals are answers, too."""
        try:
            found = self._routes.find(request.method, path)
            body = await _body(request)
            # A web page can send anything else to this machine without asking first.
            if request.method in {"POST", "PATCH"} and request.content_type != "application/json":
                return _json(415, {"error": "Content-Type must be application/json"})
            status, payload = await found.handler(Asked(request, found.params, body))
        except LookupError as error:
            return _not_found(error, request.method, path)
        except _TooLargeError:
            return _ended(_json(413, {"error": f"a body has at most {MOST_BYTES} bytes here"}))
        except (ValueError, msgspec.ValidationError, RecursionError) as error:
            # Unicode's errors are such too, and msgspec's from 0.20.
            return _json(400, {"error": str(error)})
        # After going down, the connection that was spared for this answer is no way in.
        return _ended(_json(status, payload))

    async def _index(self, _: Asked) -> tuple[int, Json]:
        return 200, {"routes": self._help, "header": HEADER, "faults": described()}

    async def _rules(self, _: Asked) -> tuple[int, Json]:
        return 200, {"faults": [_view(rule) for rule in self._emulator.faults.rules]}

    async def _add(self, asked: Asked) -> tuple[int, Json]:
        order = asked.read(_Order)
        if len(self._emulator.faults.rules) >= MOST_RULES:
            msg = f"there are {MOST_RULES} rules, which is the most: remove some"
            raise ValueError(msg)
        rule = self._emulator.faults.add(
            order.route,
            named(order.fault, order.arguments),
            order.times,
            skip=order.skip,
            every=order.every,
            probability=order.probability,
        )
        return 201, _view(rule)

    async def _clear(self, _: Asked) -> tuple[int, Json]:
        self._emulator.faults.clear()
        return 200, {"faults": []}

    async def _rule(self, asked: Asked) -> tuple[int, Json]:
        return 200, _view(self._found(asked.params["number"]))

    async def _remove(self, asked: Asked) -> tuple[int, Json]:
        rule = self._found(asked.params["number"])
        rule.remove()
        return 200, _view(rule)

    def _found(self, number: str) -> Rule:
        for rule in self._emulator.faults.rules:
            if str(rule.number) == number:
                return rule
        msg = f"no rule has the number {number}: it was removed, or happened as often as it may"
        raise LookupError(msg)

    async def _calls(self, _: Asked) -> tuple[int, Json]:
        return 200, {"calls": list(self._emulator.calls)}

    async def _forget(self, _: Asked) -> tuple[int, Json]:
        self._emulator.calls.clear()
        return 200, {"calls": []}

    async def _clock(self, _: Asked) -> tuple[int, Json]:
        clock = self._emulator.clock
        return 200, {
            "now": clock.now(),
            "wall": clock.wall(),
            "speed": clock.speed,
            "offset": clock.offset,
        }

    async def _set(self, asked: Asked) -> tuple[int, Json]:
        self._emulator.clock.offset = asked.read(_Offset).offset
        return await self._clock(asked)

    async def _advance(self, asked: Asked) -> tuple[int, Json]:
        seconds = asked.read(_Seconds).seconds
        if self._emulator.clock.now() + seconds > LATEST:
            msg = (
                f"the services' time is at most {LATEST:.0f}, in seconds: no date could be written"
            )
            raise ValueError(msg)
        self._emulator.clock.advance(seconds)
        return await self._clock(asked)

    async def _refuse(self, asked: Asked) -> tuple[int, Json]:
        seconds = asked.read(_Pause).seconds
        await self._emulator.refuse_for(seconds, spare=asked.request.transport)
        return 202, {"seconds": seconds}

    async def _elsewhere(self, _: Asked) -> tuple[int, Json]:
        elsewhere = self._emulator.elsewhere
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

    async def _empty(self, _: Asked) -> tuple[int, Json]:
        self._emulator.elsewhere.arrivals.clear()
        return 200, {"arrivals": []}


class _TooLargeError(Exception):
    """The body is longer than any order."""


async def _body(request: web.BaseRequest) -> bytes:
    length = request.content_length
    if length is not None and length > MOST_BYTES:
        # Before a client that waits is asked to send it.
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


def _ended(response: web.Response) -> web.Response:
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
    """Write bytes as the text they mostly are, at any depth."""
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value
