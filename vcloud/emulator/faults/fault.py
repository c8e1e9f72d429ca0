"""The faults: each way for a request to fail. `faults.play` applies them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, get_args

from attrs import frozen

from vcloud.emulator.faults import limits
from vcloud.emulator.faults.published import StreamSpaceFaults

Change = Callable[[dict[str, Any]], dict[str, Any]]
Body = bytes | str | dict[str, Any] | list[Any]
RetryForm = Literal["seconds", "date", "milliseconds", "body", "body_camel_case"]

ENUMERATED: Final = (
    "audio_state", "capacity_type", "connection_status", "dock_position", "friendly_status",
    "latest_image_status", "microphone", "platform", "region", "resolution", "result", "role",
    "sound", "state", "status", "usage_source",
)  # fmt: skip
"""The fields of answers whose values the documents enumerate."""


@frozen
class Fault(StreamSpaceFaults):
    """One way for a request to fail: a name and its arguments. Use the class methods.

    "Processed" means that the service handled the request, whatever the client then receives. A
    fault that needs a body, a JSON object or a page of a list leaves any other answer unchanged.
    """

    # -- the connection ----------------------------------------------------------------------------

    @classmethod
    def refuse(cls, seconds: float = 0.1) -> Self:
        """Reset all connections, unprocessed, and refuse new ones for `seconds` (ECONNREFUSED).

        The request itself is reset, because its connection has been accepted before. To have its
        connect refused, use `Emulator.refusing`.
        """
        return cls("refuse", {"seconds": limits.seconds("seconds", seconds)})

    @classmethod
    def reset_before(cls) -> Self:
        """Reset the connection before the body is read and anything is processed."""
        return cls("reset_before")

    @classmethod
    def reset_after(cls) -> Self:
        """Process the request, then reset the connection with nothing sent."""
        return cls("reset_after")

    # -- time --------------------------------------------------------------------------------------

    @classmethod
    def delay(cls, seconds: float) -> Self:
        """Wait this many real seconds, then process, even if the client has disconnected."""
        return cls("delay", {"seconds": limits.seconds("seconds", seconds)})

    @classmethod
    def stall_headers(cls, seconds: float | None = None) -> Self:
        """Process, then send nothing for `seconds`, then the answer.

        None waits until the client disconnects. The upgrade to a WebSocket is delayed before it is
        processed, and with None it is never processed.
        """
        return cls(
            "stall_headers",
            {"seconds": None if seconds is None else limits.seconds("seconds", seconds)},
        )

    @classmethod
    def stall_body(cls, after: int = 1, seconds: float | None = None) -> Self:
        """Process, send the headers and `after` bytes of the body, then stall for `seconds`.

        None stalls until the client disconnects.
        """
        return cls(
            "stall_body",
            {
                "after": limits.count("after", after),
                "seconds": None if seconds is None else limits.seconds("seconds", seconds),
            },
        )

    @classmethod
    def drip(cls, pause: float = 0.01, size: int = 1) -> Self:
        """Process, then send the answer `size` bytes at a time, with `pause` seconds between."""
        return cls(
            "drip",
            {"pause": limits.seconds("pause", pause), "size": limits.count("size", size, least=1)},
        )

    # -- refusals ----------------------------------------------------------------------------------

    @classmethod
    def reply(
        cls,
        status: int,
        body: Body = b"",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        *,
        processed: bool = False,
    ) -> Self:
        """Answer with this, unprocessed unless `processed` is set. A dict or a list is JSON."""
        raw = body.encode() if isinstance(body, str) else body
        if isinstance(raw, dict | list):
            raw = json.dumps(raw, separators=(",", ":")).encode()
            content_type = content_type or "application/json"
        if not isinstance(raw, bytes):
            msg = f"body must be bytes, a text, or a dict or list for JSON, not {body!r:.80}"
            raise TypeError(msg)
        return cls(
            "reply",
            {
                "status": limits.status(status),
                "body": raw,
                "headers": dict(headers or {}),
                "content_type": content_type,
                "processed": processed,
            },
        )

    @classmethod
    def too_many(cls, retry_after: float | str | None = 1, form: RetryForm = "seconds") -> Self:
        """Refuse with 429 in the service's own form.

        `retry_after` is in seconds. A string goes into the header unchanged, and None sends
        nothing. `form` is where and how: `Retry-After` in "seconds" or as a "date" (rounded up to a
        whole second of the service's clock), `Retry-After-Ms` for "milliseconds", or `retry_after`
        ("body") or `retryAfter` ("body_camel_case") in the JSON body.
        """
        if form not in get_args(RetryForm):
            msg = f"form must be one of {', '.join(get_args(RetryForm))}, not {form!r}"
            raise ValueError(msg)
        return cls("too_many", {"retry_after": limits.finite(retry_after), "form": form})

    @classmethod
    def server_error(
        cls, status: int = 503, retry_after: float | str | None = None, *, processed: bool = False
    ) -> Self:
        """Refuse with a 5xx in the service's own form."""
        return cls(
            "server_error",
            {
                "status": limits.status(status),
                "retry_after": limits.finite(retry_after),
                "processed": processed,
            },
        )

    @classmethod
    def html(cls, status: int = 502, *, processed: bool = False) -> Self:
        """Answer with a proxy's HTML page; with status 200, one that asks for a login."""
        return cls("html", {"status": limits.status(status), "processed": processed})

    @classmethod
    def redirect(cls, to: str | None = None, status: int = 302) -> Self:
        """Redirect, unprocessed, to this URL or path.

        None is the same path of another host, `Emulator.elsewhere`.
        """
        return cls("redirect", {"to": to, "status": limits.status(status)})

    # -- the body ----------------------------------------------------------------------------------

    @classmethod
    def truncate(cls, n: int, *, chunked: bool = False) -> Self:
        """Process, send the headers and `n` bytes of the body, then close the connection.

        The headers announce the whole length, or none with `chunked`.
        """
        return cls("truncate", {"n": limits.count("n", n), "chunked": chunked})

    @classmethod
    def huge_body(cls, size: int = 200 * limits.MEGABYTE, *, chunked: bool = False) -> Self:
        """Process, and send the JSON of the answer after white space, `size` bytes in all."""
        return cls(
            "huge_body",
            {"size": limits.count("size", size, most=limits.MOST_SIZE), "chunked": chunked},
        )

    @classmethod
    def gzip_bomb(cls, size: int = 1000 * limits.MEGABYTE) -> Self:
        """Process, and send the answer as `huge_body`, compressed to a thousandth of `size`."""
        return cls("gzip_bomb", {"size": limits.count("size", size, most=limits.MOST_SIZE)})

    @classmethod
    def content_type(cls, value: str = "text/html") -> Self:
        """Process, and send the answer with another content type."""
        return cls("content_type", {"value": value})

    @classmethod
    def empty(cls, status: int = 200) -> Self:
        """Process, and answer with this status and no body."""
        return cls("empty", {"status": limits.status(status)})

    @classmethod
    def invalid_json(cls) -> Self:
        """Process, and send the answer without its last byte, with the correct length."""
        return cls("invalid_json")

    @classmethod
    def not_utf8(cls) -> Self:
        """Process, and send JSON that contains invalid UTF-8."""
        return cls("not_utf8")

    @classmethod
    def not_an_object(cls) -> Self:
        """Process, and send the answer as the only item of a JSON array."""
        return cls("not_an_object")

    @classmethod
    def deep(cls, levels: int = 100_000) -> Self:
        """Process, and send JSON objects nested `levels` deep."""
        return cls(
            "deep", {"levels": limits.count("levels", levels, least=1, most=limits.MOST_LEVELS)}
        )

    # -- what the answer says ----------------------------------------------------------------------

    @classmethod
    def edit(cls, fn: Change, status: int | None = None) -> Self:
        """Process, then change the JSON object (and status) of the answer with `fn`."""
        return cls("edit", {"fn": fn, "status": status})

    @classmethod
    def nulls(cls, *names: str) -> Self:
        """Process, and set these fields to null; without names, every field without fields."""
        return cls("nulls", {"names": names})

    @classmethod
    def missing(cls, *names: str) -> Self:
        """Process, and leave these fields out; without names, every field without fields."""
        return cls("missing", {"names": names})

    @classmethod
    def wrong_types(cls, *names: str) -> Self:
        """Process, and set these fields to an object; without names, every field without fields."""
        return cls("wrong_types", {"names": names})

    @classmethod
    def unknown_values(cls, *names: str, value: str = "never_heard_of") -> Self:
        """Process, and set the strings in these fields to `value`.

        Without names, these are the fields whose values the documents enumerate.
        """
        if len(value) > limits.LONGEST_VALUE:
            msg = f"value must have at most {limits.LONGEST_VALUE} characters, not {len(value)}"
            raise ValueError(msg)
        return cls("unknown_values", {"names": names or ENUMERATED, "value": value})

    @classmethod
    def duplicate_pages(cls) -> Self:
        """Process, and give every page of a list the items of the first; the list ends as usual."""
        return cls("duplicate_pages")

    @classmethod
    def endless_pages(cls, *, empty: bool = False) -> Self:
        """Process, and give every page of a list a next one, and the first page's items or none."""
        return cls("endless_pages", {"empty": empty})

    @classmethod
    def wrong_totals(cls, total: int = 0) -> Self:
        """Process, and set the numbers of items and pages in a page to `total`."""
        return cls("wrong_totals", {"total": total})

    @classmethod
    def clock(cls, offset: float) -> Self:
        """Process with a service's clock that is `offset` seconds off.

        It counts for signatures, dates in answers, and `Date`.
        """
        return cls("clock", {"offset": limits.finite(offset)})

    @classmethod
    def catalogue(
        cls, *, seconds: float | None = None, size: int = 200 * limits.MEGABYTE
    ) -> dict[str, Self]:
        """One or more of each kind, by name, for tests that try all of them.

        Those of StreamSpace alone are not among them. `seconds` is how long stalls last (None:
        until the client disconnects), `size` the size of the large bodies.
        """
        return {
            **cls._connections(seconds),
            **cls._refusals(),
            **cls._bodies(size),
            **cls._contents(),
        }

    @classmethod
    def _connections(cls, seconds: float | None) -> dict[str, Self]:
        return {
            "refuse": cls.refuse(),
            "reset_before": cls.reset_before(),
            "reset_after": cls.reset_after(),
            "delay": cls.delay(0.05),
            "stall_headers": cls.stall_headers(seconds),
            "stall_body": cls.stall_body(1, seconds),
            "drip": cls.drip(0.001, size=16),
        }

    @classmethod
    def _refusals(cls) -> dict[str, Self]:
        return {
            "too_many_seconds": cls.too_many(1),
            "too_many_date": cls.too_many(1, "date"),
            "too_many_milliseconds": cls.too_many(0.5, "milliseconds"),
            "too_many_body": cls.too_many(1, "body"),
            "too_many_body_camel_case": cls.too_many(1, "body_camel_case"),
            "too_many_silent": cls.too_many(None),
            "too_many_long": cls.too_many(10**9),
            "too_many_negative": cls.too_many(-5),
            "too_many_garbage": cls.too_many("soon"),
            "server_error_500": cls.server_error(500),
            "server_error_502": cls.server_error(502),
            "server_error_503": cls.server_error(503),
            "server_error_503_retry_after": cls.server_error(503, 1),
            "server_error_504": cls.server_error(504),
            "server_error_after": cls.server_error(504, processed=True),
            "html_502": cls.html(502),
            "html_502_after": cls.html(502, processed=True),
            "html_200": cls.html(200),
            "redirect_301": cls.redirect(status=301),
            "redirect_302": cls.redirect(status=302),
            "redirect_307": cls.redirect(status=307),
            "redirect_308": cls.redirect(status=308),
            "redirect_same_host": cls.redirect("/", 307),
        }

    @classmethod
    def _bodies(cls, size: int) -> dict[str, Self]:
        return {
            "truncate": cls.truncate(1),
            "truncate_chunked": cls.truncate(1, chunked=True),
            "huge_body": cls.huge_body(size),
            "huge_body_chunked": cls.huge_body(size, chunked=True),
            "gzip_bomb": cls.gzip_bomb(size),
            "content_type_html": cls.content_type("text/html"),
            "content_type_plain": cls.content_type("text/plain"),
            "empty_200": cls.empty(200),
            "empty_204": cls.empty(204),
            "invalid_json": cls.invalid_json(),
            "not_utf8": cls.not_utf8(),
            "not_an_object": cls.not_an_object(),
            "deep": cls.deep(),
        }

    @classmethod
    def _contents(cls) -> dict[str, Self]:
        return {
            "nulls": cls.nulls(),
            "missing": cls.missing(),
            "wrong_types": cls.wrong_types(),
            "unknown_values": cls.unknown_values(),
            "duplicate_pages": cls.duplicate_pages(),
            "endless_pages": cls.endless_pages(),
            "endless_empty_pages": cls.endless_pages(empty=True),
            "wrong_totals": cls.wrong_totals(0),
            "wrong_totals_negative": cls.wrong_totals(-1),
            "wrong_totals_large": cls.wrong_totals(10**9),
            "clock_ahead": cls.clock(5 * 3600),
            "clock_behind": cls.clock(-5 * 3600),
        }
