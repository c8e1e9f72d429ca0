"""Failures to order: which requests go wrong, and how."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Self

import msgspec
from aiohttp import web
from attrs import define, field, frozen

Handle = Callable[[], Awaitable[web.StreamResponse]]
Change = Callable[[dict[str, Any]], dict[str, Any]]


class FaultKind(enum.Enum):
    """What a fault does to the exchange."""

    RESET_BEFORE = enum.auto()
    RESET_AFTER = enum.auto()
    REPLY = enum.auto()
    DELAY = enum.auto()
    TRUNCATE = enum.auto()
    EDIT = enum.auto()


@frozen(kw_only=True)
class Fault:
    """One way for an exchange to go wrong. Made by its class methods."""

    kind: FaultKind
    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str | None = None
    seconds: float = 0.0
    sent: int = 0
    change: Change | None = None

    @classmethod
    def reset_before(cls) -> Self:
        """Abort the connection before the request is processed."""
        return cls(kind=FaultKind.RESET_BEFORE)

    @classmethod
    def reset_after(cls) -> Self:
        """Process the request, then abort the connection with nothing sent."""
        return cls(kind=FaultKind.RESET_AFTER)

    @classmethod
    def reply(
        cls,
        status: int,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> Self:
        """Answer with this and do not process the request."""
        raw = body.encode() if isinstance(body, str) else body
        return cls(kind=FaultKind.REPLY, status=status, body=raw, headers=headers or {}, content_type=content_type)

    @classmethod
    def delay(cls, seconds: float) -> Self:
        """Wait this many real seconds, then process the request."""
        return cls(kind=FaultKind.DELAY, seconds=seconds)

    @classmethod
    def truncate(cls, n: int) -> Self:
        """Process the request, announce the whole body, send `n` bytes of it and close the connection."""
        if n < 0:
            msg = f"cannot send {n} bytes"
            raise ValueError(msg)
        return cls(kind=FaultKind.TRUNCATE, sent=n)

    @classmethod
    def edit(cls, fn: Change, status: int | None = None) -> Self:
        """Process the request, then change its JSON object (and status); other bodies pass unchanged."""
        return cls(kind=FaultKind.EDIT, change=fn, status=status)


@define
class Rule:
    """A fault, the requests it is meant for, and how often it is still to happen (None: for ever)."""

    route: str
    fault: Fault
    left: int | None


class Faults:
    """The table of ordered failures. The first rule that matches a request applies and is used up."""

    def __init__(self) -> None:
        """Begin with nothing going wrong."""
        self._rules: list[Rule] = []

    def add(self, route: str, fault: Fault, times: int | None = 1) -> None:
        """Let `fault` happen to the next `times` requests that match `route`.

        `route` is a shell pattern over method and path, as in "POST /organization-management/v1/machines" or
        "GET *"; the path is the raw one, without the query.
        """
        if times is not None and times < 1:
            msg = f"times must be at least 1, or None for ever, not {times!r}"
            raise ValueError(msg)
        self._rules.append(Rule(route, fault, times))

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, if any, and count it as used."""
        subject = f"{method} {path}"
        for rule in self._rules:
            if fnmatchcase(subject, rule.route):
                self._use(rule)
                return rule.fault
        return None

    def clear(self) -> None:
        """Forget every rule."""
        self._rules.clear()

    def _use(self, rule: Rule) -> None:
        if rule.left is None:
            return
        rule.left -= 1
        if not rule.left:
            self._rules.remove(rule)


@frozen
class Played:
    """How an exchange went: the answer, the status sent (None: nothing was), whether the handler ran."""

    response: web.StreamResponse
    status: int | None
    processed: bool


async def play(fault: Fault | None, request: web.BaseRequest, handle: Handle) -> Played:
    """Carry out one exchange, with `fault` done to it."""
    if fault is None:
        return _sent(await handle())
    match fault.kind:
        case FaultKind.RESET_BEFORE:
            return Played(_reset(request), None, processed=False)
        case FaultKind.REPLY:
            response = _canned(fault)
            return Played(response, response.status, processed=False)
        case FaultKind.DELAY:
            await asyncio.sleep(fault.seconds)
    return await _spoiled(fault, request, await handle())


async def _spoiled(fault: Fault, request: web.BaseRequest, whole: web.StreamResponse) -> Played:
    if whole.prepared:
        # A WebSocket that has come and gone: nothing of it is left to spoil.
        return _sent(whole)
    match fault.kind:
        case FaultKind.RESET_AFTER:
            return Played(_reset(request), None, processed=True)
        case FaultKind.TRUNCATE:
            return _sent(await _truncated(request, whole, fault.sent))
        case FaultKind.EDIT:
            return _sent(_edited(whole, fault))
    return _sent(whole)


def _sent(response: web.StreamResponse) -> Played:
    return Played(response, response.status, processed=True)


def _reset(request: web.BaseRequest) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # Without lingering, close() sends RST instead of FIN: the peer sees a reset, not a polite end.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    # aiohttp wants an answer from every handler; this one finds the connection gone and is dropped.
    return web.Response()


def _canned(fault: Fault) -> web.Response:
    response = web.Response(status=fault.status or 200, body=fault.body, headers=fault.headers)
    if fault.content_type is not None:
        response.content_type = fault.content_type
    return response


async def _truncated(request: web.BaseRequest, whole: web.StreamResponse, sent: int) -> web.StreamResponse:
    body = _body(whole)
    partial = web.StreamResponse(status=whole.status, headers=whole.headers)
    partial.content_length = len(body)
    partial.force_close()
    await partial.prepare(request)
    if sent:
        await partial.write(body[:sent])
    await partial.write_eof()
    if request.transport is not None:
        # close(), not a reset: a reset may discard bytes the peer has received but not yet read.
        request.transport.close()
    return partial


def _edited(response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
    if not isinstance(response, web.Response):
        return response
    if fault.status is not None:
        response.set_status(fault.status)
    try:
        found = msgspec.json.decode(_body(response))
    except msgspec.DecodeError:
        return response
    if isinstance(found, dict) and fault.change is not None:
        response.body = msgspec.json.encode(fault.change(found))
    return response


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else b""
    return bytes(body) if isinstance(body, bytes | bytearray | memoryview) else b""
