"""Failures to order: what can go wrong with an exchange. How each is done stands in `faults.play`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, TypeVar, get_args

from attrs import field, frozen

T = TypeVar("T")

Change = Callable[[dict[str, Any]], dict[str, Any]]
RetryForm = Literal["seconds", "date", "milliseconds", "body", "body_camel_case"]

ENUMERATED = (
    "audio_state", "capacity_type", "connection_status", "dock_position", "friendly_status", "latest_image_status",
    "microphone", "platform", "region", "resolution", "result", "role", "sound", "state", "status", "usage_source",
)  # fmt: skip
"""The fields of answers whose values the documents enumerate."""

MEGABYTE = 10**6
MOST_SIZE = 4000 * MEGABYTE
"""Bytes of `huge_body` and `gzip_bomb`: beyond any client's own limit, and a checksum of this size takes a second."""
MOST_LEVELS = 10**6
"""Levels of `deep`: its body is held in memory, and has eleven bytes for each."""
LONGEST_VALUE = 64 * 1024
"""Characters of `unknown_values`: they stand in every field of every item of an answer."""
LONGEST = 86_400
"""Seconds that a fault lasts: it holds a connection, or the whole emulator. None is for until the client goes."""
FARTHEST = 1e9
"""Seconds that an answer may speak of: beyond this, dates cannot be written any more."""


@frozen
class Fault:
    """One way for an exchange to go wrong: a name and its arguments. Made by its class methods.

    "Processed" means that the service did what was asked, whatever the client then learns of it. What needs an answer
    with a body, a JSON object or a page of a list leaves any other answer as it is.
    """

    name: str
    arguments: Mapping[str, Any] = field(factory=dict)

    # -- the connection ------------------------------------------------------------------------------------------------

    @classmethod
    def refuse(cls, seconds: float = 0.1) -> Self:
        """Go down, unprocessed: all connections are reset, and for `seconds` new ones are refused (ECONNREFUSED).

        The request itself can only be reset, because a socket cannot know of it before it has accepted the connection.
        To have the very first connect refused, use `Emulator.refusing`.
        """
        return cls("refuse", {"seconds": _number("seconds", seconds)})

    @classmethod
    def reset_before(cls) -> Self:
        """Reset the connection before the body is read and anything is processed."""
        return cls("reset_before")

    @classmethod
    def reset_after(cls) -> Self:
        """Process the request, then reset the connection with nothing sent."""
        return cls("reset_after")

    # -- time ----------------------------------------------------------------------------------------------------------

    @classmethod
    def delay(cls, seconds: float) -> Self:
        """Wait this many real seconds, then process the request, even if the client has gone."""
        return cls("delay", {"seconds": _number("seconds", seconds)})

    @classmethod
    def stall_headers(cls, seconds: float | None = None) -> Self:
        """Process the request, then send nothing for `seconds` (None: until the client goes), then the answer.

        The answer to a WebSocket's upgrade is late before anything is processed, and is never sent when None.
        """
        return cls(
            "stall_headers", {"seconds": None if seconds is None else _number("seconds", seconds)}
        )

    @classmethod
    def stall_body(cls, after: int = 1, seconds: float | None = None) -> Self:
        """Process, send the headers and `after` bytes of the body, then nothing for `seconds` (None: until the client goes)."""
        return cls(
            "stall_body",
            {
                "after": _count("after", after),
                "seconds": None if seconds is None else _number("seconds", seconds),
            },
        )

    @classmethod
    def drip(cls, pause: float = 0.01, size: int = 1) -> Self:
        """Process, then send the answer, its headers too, `size` bytes at a time with a `pause` in seconds after each."""
        return cls(
            "drip", {"pause": _number("pause", pause), "size": _count("size", size, least=1)}
        )

    # -- refusals ------------------------------------------------------------------------------------------------------

    @classmethod
    def reply(
        cls,
        status: int,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        *,
        processed: bool = False,
    ) -> Self:
        """Answer with this; the request is not processed, unless `processed` says so."""
        raw = body.encode() if isinstance(body, str) else body
        return cls(
            "reply",
            {
                "status": _status(status),
                "body": raw,
                "headers": dict(headers or {}),
                "content_type": content_type,
                "processed": processed,
            },
        )

    @classmethod
    def too_many(cls, retry_after: float | str | None = 1, form: RetryForm = "seconds") -> Self:
        """Refuse with 429 in the service's own words.

        `retry_after` is in seconds; a text goes into the header as it is, and None says nothing. `form` is where and how:
        `Retry-After` in "seconds" or as a "date" (rounded up to a whole second of the service's clock), `Retry-After-Ms`
        for "milliseconds", or `retry_after` ("body") or `retryAfter` ("body_camel_case") in the JSON body.
        """
        if form not in get_args(RetryForm):
            msg = f"form must be one of {', '.join(get_args(RetryForm))}, not {form!r}"
            raise ValueError(msg)
        return cls("too_many", {"retry_after": _finite(retry_after), "form": form})

    @classmethod
    def server_error(
        cls, status: int = 503, retry_after: float | str | None = None, *, processed: bool = False
    ) -> Self:
        """Refuse with a 5xx in the service's own words; with `times` of `Faults.add`, a burst of them."""
        return cls(
            "server_error",
            {
                "status": _status(status),
                "retry_after": _finite(retry_after),
                "processed": processed,
            },
        )

    @classmethod
    def html(cls, status: int = 502, *, processed: bool = False) -> Self:
        """Answer with a proxy's HTML page; with status 200, one that asks for a login."""
        return cls("html", {"status": _status(status), "processed": processed})

    @classmethod
    def redirect(cls, to: str | None = None, status: int = 302) -> Self:
        """Redirect, unprocessed, to this URL or path; None is the same path of another host, `Emulator.elsewhere`."""
        return cls("redirect", {"to": to, "status": _status(status)})

    # -- the body ------------------------------------------------------------------------------------------------------

    @classmethod
    def truncate(cls, n: int, *, chunked: bool = False) -> Self:
        """Process, announce the whole body (or, `chunked`, no length), send `n` bytes of it and close the connection."""
        return cls("truncate", {"n": _count("n", n), "chunked": chunked})

    @classmethod
    def huge_body(cls, size: int = 200 * MEGABYTE, *, chunked: bool = False) -> Self:
        """Process, and send the JSON of the answer after so much white space that it has `size` bytes."""
        return cls("huge_body", {"size": _count("size", size, most=MOST_SIZE), "chunked": chunked})

    @classmethod
    def gzip_bomb(cls, size: int = 1000 * MEGABYTE) -> Self:
        """Process, and send the answer as `huge_body` does, but compressed: a thousandth of `size` travels."""
        return cls("gzip_bomb", {"size": _count("size", size, most=MOST_SIZE)})

    @classmethod
    def content_type(cls, value: str = "text/html") -> Self:
        """Process, and send the answer under another content type."""
        return cls("content_type", {"value": value})

    @classmethod
    def empty(cls, status: int = 200) -> Self:
        """Process, and answer with this status and no body."""
        return cls("empty", {"status": _status(status)})

    @classmethod
    def invalid_json(cls) -> Self:
        """Process, and send the answer without its last byte, under a length that is right."""
        return cls("invalid_json")

    @classmethod
    def not_utf8(cls) -> Self:
        """Process, and send JSON with bytes in it that are no UTF-8."""
        return cls("not_utf8")

    @classmethod
    def not_an_object(cls) -> Self:
        """Process, and send the answer as the only item of a JSON array."""
        return cls("not_an_object")

    @classmethod
    def deep(cls, levels: int = 100_000) -> Self:
        """Process, and send JSON objects within each other, so many levels deep."""
        return cls("deep", {"levels": _count("levels", levels, least=1, most=MOST_LEVELS)})

    # -- what the answer says ------------------------------------------------------------------------------------------

    @classmethod
    def edit(cls, fn: Change, status: int | None = None) -> Self:
        """Process the request, then change its JSON object (and status); other bodies pass unchanged."""
        return cls("edit", {"fn": fn, "status": status})

    @classmethod
    def nulls(cls, *names: str) -> Self:
        """Process, and put null into every field of these names; without any, into every field that holds no other."""
        return cls("nulls", {"names": names})

    @classmethod
    def missing(cls, *names: str) -> Self:
        """Process, and leave these fields out; without any, every field that holds no other."""
        return cls("missing", {"names": names})

    @classmethod
    def wrong_types(cls, *names: str) -> Self:
        """Process, and put an object into every field of these names; without any, into every field that holds no other."""
        return cls("wrong_types", {"names": names})

    @classmethod
    def unknown_values(cls, *names: str, value: str = "never_heard_of") -> Self:
        """Process, and put `value` into every text of these fields; without any, those that the documents enumerate."""
        if len(value) > LONGEST_VALUE:
            msg = f"value must have at most {LONGEST_VALUE} characters, not {len(value)}"
            raise ValueError(msg)
        return cls("unknown_values", {"names": names or ENUMERATED, "value": value})

    @classmethod
    def duplicate_pages(cls) -> Self:
        """Process, and let every page of a list hold the first one's items, under its own number; it ends as it would."""
        return cls("duplicate_pages")

    @classmethod
    def endless_pages(cls, *, empty: bool = False) -> Self:
        """Process, and let every page of a list hold the first one's items (or none) and point to a next one."""
        return cls("endless_pages", {"empty": empty})

    @classmethod
    def wrong_totals(cls, total: int = 0) -> Self:
        """Process, and let a page say that the list has `total` items and pages."""
        return cls("wrong_totals", {"total": total})

    @classmethod
    def clock(cls, offset: float) -> Self:
        """Process by a service's clock that is `offset` seconds off: signatures, dates in answers and `Date` go by it."""
        return cls("clock", {"offset": _finite(offset)})

    @classmethod
    def catalogue(
        cls, *, seconds: float | None = None, size: int = 200 * MEGABYTE
    ) -> dict[str, Self]:
        """Return one of each kind, by name: for tests that try them all.

        `seconds` is how long stalls last (None: until the client goes), `size` how large the large bodies are.
        """
        return {
            "refuse": cls.refuse(),
            "reset_before": cls.reset_before(),
            "reset_after": cls.reset_after(),
            "delay": cls.delay(0.05),
            "stall_headers": cls.stall_headers(seconds),
            "stall_body": cls.stall_body(1, seconds),
            "drip": cls.drip(0.001, size=16),
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


def _number(name: str, value: float) -> float:
    # Also refuses NaN, which is smaller than nothing.
    if not 0 <= value <= LONGEST:
        msg = f"{name} must be at least 0 and at most {LONGEST}, not {value!r}"
        raise ValueError(msg)
    return value


def _finite(value: T) -> T:
    # Also refuses NaN, which no comparison holds for.
    if isinstance(value, int | float) and not abs(value) <= FARTHEST:
        msg = f"{value!r} is no number of seconds of at most {FARTHEST:.0f}"
        raise ValueError(msg)
    return value


def _count(name: str, value: int, *, least: int = 0, most: int | None = None) -> int:
    if value < least:
        msg = f"{name} must be at least {least}, not {value!r}"
        raise ValueError(msg)
    if most is not None and value > most:
        msg = f"{name} must be at most {most}, not {value!r}"
        raise ValueError(msg)
    return value


def _status(value: int) -> int:
    if not 200 <= value <= 999:
        msg = f"an answer's status is from 200 to 999, not {value!r}"
        raise ValueError(msg)
    return value
