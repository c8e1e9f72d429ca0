"""How each fault is applied to a request. `faults.fault` defines the faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from yarl import URL

from vcloud.emulator.faults import bodies
from vcloud.emulator.faults.exchange import Exchange, FaultContext, Handle, NotApplicableError
from vcloud.emulator.faults.fault import Change, Fault
from vcloud.emulator.net.websockets import wants_socket
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace
from vcloud.emulator.streamspace.published.troubles import Troubles, with_troubles

Action = Callable[..., Awaitable[web.StreamResponse]]

JSON: Final = "application/json"


async def apply_fault(
    fault: Fault, request: web.BaseRequest, handle: Handle, context: FaultContext
) -> web.StreamResponse:
    """Answer a request with a fault applied; `handle` is the service.

    Returns:
        what is left for aiohttp to send.
    """
    exchange = Exchange(request, fault.name, handle, context)
    try:
        return await ACTIONS[fault.name](exchange, **fault.arguments)
    except NotApplicableError as error:
        return exchange.send(error.response, applied=exchange.applied)
    except asyncio.CancelledError:
        # The emulator closes, and does not wait for stalls.
        exchange.abort()
        raise


# -- the connection --------------------------------------------------------------------------------


async def _refuse(x: Exchange, *, seconds: float) -> web.StreamResponse:
    x.note(None)
    await x.context.listener.refuse_for(seconds)
    return x.abort()


async def _reset_before(x: Exchange) -> web.StreamResponse:
    return x.abort()


async def _reset_after(x: Exchange) -> web.StreamResponse:
    await x.process()
    return x.abort()


# -- time ------------------------------------------------------------------------------------------


async def _delay(x: Exchange, *, seconds: float) -> web.StreamResponse:
    await asyncio.sleep(seconds)
    x.applied = True
    return x.send(await x.process())


async def _stall_headers(x: Exchange, *, seconds: float | None) -> web.StreamResponse:
    if wants_socket(x.request):
        # A WebSocket's answer is sent while the request is processed, so the stall comes before.
        if not await x.stays(seconds):
            return x.abort()
        x.applied = True
        return x.send(await x.process())
    whole = await x.process()
    x.note(None)
    return x.send_late(whole) if await x.stays(seconds) else x.abort()


async def _stall_body(x: Exchange, *, after: int, seconds: float | None) -> web.StreamResponse:
    whole, body = await x.processed_body()
    response = await x.begin(whole, len(body))
    if after:
        await response.write(body[:after])
    if not await x.stays(seconds):
        return x.abort()
    await response.write_eof(body[after:])
    return response


async def _drip(x: Exchange, *, pause: float, size: int) -> web.StreamResponse:
    whole = await x.process()
    body = (
        whole.body
        if isinstance(whole, web.Response) and isinstance(whole.body, bytes | bytearray)
        else b""
    )
    x.note(whole.status)
    wire = _wire(whole, bytes(body))
    if x.request.method == "HEAD":
        wire = wire.removesuffix(body)
    for start in range(0, len(wire), size):
        transport = x.request.transport
        if transport is None or transport.is_closing():
            break
        # Written to the transport, because aiohttp sends all headers at once.
        transport.write(wire[start : start + size])
        if not await x.stays(pause):
            break
    return x.hang_up()


def _wire(response: web.StreamResponse, body: bytes) -> bytes:
    headers = {**response.headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


# -- refusals --------------------------------------------------------------------------------------


async def _reply(
    x: Exchange,
    *,
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    content_type: str | None,
    processed: bool,
) -> web.StreamResponse:
    if processed:
        await x.process()
    response = web.Response(status=status, body=body, headers=headers)
    if content_type is not None:
        response.content_type = content_type
    return x.send(response)


async def _too_many(
    x: Exchange, *, retry_after: float | str | None, form: str
) -> web.StreamResponse:
    headers, extra = _retry_fields(x, retry_after, form)
    body = bodies.refusal(x.path, 429, extra, x.context.clock, published=x.context.published)
    return x.send(web.Response(status=429, body=body, headers=headers, content_type=JSON))


def _retry_fields(
    x: Exchange, retry_after: float | str | None, form: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the fields of the body that say when to retry."""
    if retry_after is None:
        return {}, {}
    if form in {"body", "body_camel_case"}:
        return {}, {"retry_after" if form == "body" else "retryAfter": retry_after}
    if isinstance(retry_after, str):
        return {"Retry-After-Ms" if form == "milliseconds" else "Retry-After": retry_after}, {}
    if form == "date":
        return {"Retry-After": x.date(ahead=retry_after)}, {}
    if form == "milliseconds":
        return {"Retry-After-Ms": _text(retry_after * 1000)}, {}
    return {"Retry-After": _text(retry_after)}, {}


def _text(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


async def _server_error(
    x: Exchange, *, status: int, retry_after: float | str | None, processed: bool
) -> web.StreamResponse:
    if processed:
        await x.process()
    headers, _ = _retry_fields(x, retry_after, "seconds")
    body = bodies.refusal(x.path, status, {}, x.context.clock, published=x.context.published)
    return x.send(web.Response(status=status, body=body, headers=headers, content_type=JSON))


async def _html(x: Exchange, *, status: int, processed: bool) -> web.StreamResponse:
    if processed:
        await x.process()
    return x.send(
        web.Response(status=status, body=bodies.page_of_proxy(status), content_type="text/html")
    )


async def _redirect(x: Exchange, *, to: str | None, status: int) -> web.StreamResponse:
    location = f"{await x.context.elsewhere.open()}{x.request.raw_path}" if to is None else to
    return x.send(web.Response(status=status, headers={"Location": location}))


# -- the body --------------------------------------------------------------------------------------


async def _truncate(x: Exchange, *, n: int, chunked: bool) -> web.StreamResponse:
    whole, body = await x.processed_body()
    response = await x.begin(whole, None if chunked else len(body))
    response.force_close()
    if n:
        await response.write(body[:n])
    x.hang_up()
    return response


async def _huge_body(x: Exchange, *, size: int, chunked: bool) -> web.StreamResponse:
    whole, body = await x.processed_body()
    return await x.stream(
        whole, None if chunked else max(size, len(body)), bodies.padded(body, size)
    )


async def _gzip_bomb(x: Exchange, *, size: int) -> web.StreamResponse:
    whole, body = await x.processed_body()
    # In a thread, because the checksum of a gigabyte takes a third of a second.
    length, parts = await asyncio.to_thread(bodies.bomb, body, size)
    return await x.stream(whole, length, parts, **{"Content-Encoding": "gzip"})


async def _content_type(x: Exchange, *, value: str) -> web.StreamResponse:
    whole, _ = await x.processed_body()
    whole.headers["Content-Type"] = value
    return x.send(whole)


async def _empty(x: Exchange, *, status: int) -> web.StreamResponse:
    whole, _ = await x.processed_body()
    return x.send(web.Response(status=status, headers={"Content-Type": whole.content_type}))


async def _invalid_json(x: Exchange) -> web.StreamResponse:
    return await _rewritten(x, lambda body: body[:-1])


async def _not_utf8(x: Exchange) -> web.StreamResponse:
    return await _rewritten(x, lambda body: b'{"\xff\xfe":"\xc3("}')


async def _not_an_object(x: Exchange) -> web.StreamResponse:
    return await _rewritten(x, lambda body: b"[" + body + b"]")


async def _deep(x: Exchange, *, levels: int) -> web.StreamResponse:
    return await _rewritten(x, lambda body: bodies.nested(levels))


async def _rewritten(x: Exchange, rewrite: Callable[[bytes], bytes]) -> web.StreamResponse:
    whole, body = await x.processed_body()
    whole.body = rewrite(body)
    return x.send(whole)


# -- what the answer says --------------------------------------------------------------------------


async def _edit(x: Exchange, *, fn: Change, status: int | None = None) -> web.StreamResponse:
    whole = await x.process()
    if isinstance(whole, web.Response) and status is not None:
        whole.set_status(status)
        x.applied = True
    return _edited(x, whole, fn)


def _edited(x: Exchange, whole: web.StreamResponse, fn: Change) -> web.StreamResponse:
    body = whole.body if isinstance(whole, web.Response) else None
    changed = bodies.edited(bytes(body), fn) if isinstance(body, bytes | bytearray) else None
    if not isinstance(whole, web.Response) or changed is None:
        raise NotApplicableError(whole)
    whole.body = changed
    return x.send(whole)


def _replacing(replace: bodies.Replace) -> Action:
    async def action(x: Exchange, *, names: Sequence[str]) -> web.StreamResponse:
        return _edited(x, await x.process(), lambda answer: bodies.replaced(answer, names, replace))

    return action


async def _unknown_values(x: Exchange, *, names: Sequence[str], value: str) -> web.StreamResponse:
    action = _replacing(lambda found: value if isinstance(found, str) else bodies.KEPT)
    return await action(x, names=names)


async def _duplicate_pages(x: Exchange) -> web.StreamResponse:
    first, asked = await _first_page(x)
    return _edited(x, first, lambda page: bodies.duplicate_page(page, asked))


async def _endless_pages(x: Exchange, *, empty: bool) -> web.StreamResponse:
    first, asked = await _first_page(x)
    return _edited(x, first, lambda page: bodies.endless_page(page, asked, empty=empty))


async def _first_page(x: Exchange) -> tuple[web.StreamResponse, int]:
    """The service's first page, whichever page was requested, and the requested number."""
    path, _, query = x.request.raw_path.partition("?")
    asked = dict(parse_qsl(query)).get("page", "1")
    if not asked.isdecimal() or asked in {"0", "1"}:
        return await x.process(), 1
    first = urlencode(
        [(name, "1" if name == "page" else value) for name, value in parse_qsl(query)]
    )
    # The path stays as it was sent, because that is what was signed.
    return await x.process(x.request.clone(rel_url=URL(f"{path}?{first}", encoded=True))), int(
        asked
    )


async def _wrong_totals(x: Exchange, *, total: int) -> web.StreamResponse:
    return _edited(x, await x.process(), lambda page: bodies.wrong_totals(page, total))


async def _clock(x: Exchange, *, offset: float) -> web.StreamResponse:
    with x.context.clock.shifted(offset):
        x.applied = True
        return x.send(await x.process())


# -- what StreamSpace does at times ----------------------------------------------------------------


async def _end_logins(x: Exchange) -> web.StreamResponse:
    response = await x.process()
    if x.context.streamspace is None or response.status >= HTTPStatus.BAD_REQUEST:
        raise NotApplicableError(response)
    x.context.streamspace.tokens.revoke_all()
    return x.send(response)


async def _repeat_commands(x: Exchange) -> web.StreamResponse:
    response = await x.process()
    if not isinstance(x.context.streamspace, PublishedStreamSpace):
        raise NotApplicableError(response)
    x.context.streamspace.repeat_commands()
    return x.send(response)


def _having(found: Troubles) -> Action:
    async def action(x: Exchange) -> web.StreamResponse:
        x.applied = isinstance(x.context.streamspace, PublishedStreamSpace)
        with with_troubles(found):
            response = await x.process()
        return x.send(response, applied=x.applied)

    return action


ACTIONS: Final[Mapping[str, Action]] = {
    "clock": _clock,
    "content_type": _content_type,
    "database_away": _having(Troubles(database_away=True)),
    "deep": _deep,
    "delay": _delay,
    "drip": _drip,
    "duplicate_pages": _duplicate_pages,
    "edit": _edit,
    "empty": _empty,
    "end_logins": _end_logins,
    "endless_pages": _endless_pages,
    "gzip_bomb": _gzip_bomb,
    "html": _html,
    "huge_body": _huge_body,
    "invalid_json": _invalid_json,
    "kept_answer": _having(Troubles(keeps_answers=True)),
    "missing": _replacing(lambda found: bodies.GONE),
    "not_an_object": _not_an_object,
    "not_utf8": _not_utf8,
    "nulls": _replacing(lambda found: None),
    "other_replica": _having(Troubles(other_replica=True)),
    "redirect": _redirect,
    "refuse": _refuse,
    "repeat_commands": _repeat_commands,
    "reply": _reply,
    "reset_after": _reset_after,
    "reset_before": _reset_before,
    "server_error": _server_error,
    "stall_body": _stall_body,
    "stall_headers": _stall_headers,
    "too_many": _too_many,
    "truncate": _truncate,
    "unknown_values": _unknown_values,
    "wrong_totals": _wrong_totals,
    "wrong_types": _replacing(lambda found: {"was": found}),
}
"""How each fault is applied, by its name."""
