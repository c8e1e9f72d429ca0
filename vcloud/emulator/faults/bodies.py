"""The bodies of wrong answers: wrong pages, invalid JSON, huge bodies. Pure functions."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.service import Computers
from vcloud.emulator.desktops import DOCS, Desktops
from vcloud.emulator.streams.service import Streams
from vcloud.emulator.streamspace.service import StreamSpace
from vcloud.emulator.vagon.service import envelope

Json = dict[str, Any]
Replace = Callable[[Any], Any]

GONE: Final = object()
"""The result of a `Replace` that leaves the field out."""
KEPT: Final = object()
"""The result of a `Replace` that keeps the value, and looks into it."""

_CHUNK: Final = b" " * 2**20
_GZIP_HEAD: Final = b"\x1f\x8b\x08" + bytes(6) + b"\xff"

_HTML: Final = (
    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


def phrase(status: int) -> str:
    """The reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def page_of_proxy(status: int) -> bytes:
    """The HTML page of a proxy; with status 200, one that asks for a login."""
    title = "Please log in" if status == HTTPStatus.OK else f"{status} {phrase(status)}"
    return _HTML.format(title=title).encode()


def refusal(
    path: str, status: int, extra: Mapping[str, Any], clock: Clock, *, published: bool = False
) -> bytes:
    """A refusal in the form of the service that `path` belongs to.

    `published` is whether StreamSpace is the published one.
    """
    message = f"{phrase(status)}, on order"
    timestamp = clock.iso(clock.now(), timespec="seconds")
    if path.startswith((f"{Computers.prefix}/", f"{Streams.prefix}/")):
        return envelope(status, message, timestamp, dict(extra))
    if path.startswith(f"{Desktops.prefix}/"):
        return msgspec.json.encode({"status": "error", "error": message, "docs": DOCS, **extra})
    if published:
        return msgspec.json.encode({"error": phrase(status), "message": message, **extra})
    if path.startswith(f"{StreamSpace.prefix}/"):
        code = {"code": "RATE_LIMIT_EXCEEDED"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
        return msgspec.json.encode(
            {"error": phrase(status), "message": message, **code, **extra, "timestamp": timestamp}
        )
    return msgspec.json.encode({"error": message, **extra})


# -- what the answer says --------------------------------------------------------------------------


def edited(body: bytes, change: Callable[[Json], Json]) -> bytes | None:
    """Change the JSON object of a body; None when it is not an object, or stays the same."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(found, dict):
        return None
    # Compared as text, because `change` may modify the object itself.
    before = msgspec.json.encode(found)
    after = msgspec.json.encode(change(found))
    return None if after == before else after


def replaced(value: Any, names: Sequence[str], replace: Replace) -> Any:
    """Replace the values of these fields, at any depth; without names, of those without fields."""
    if isinstance(value, list):
        return [replaced(item, names, replace) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _field(key, item, names, replace) for key, item in value.items()}
    return {key: item for key, item in made.items() if item is not GONE}


def _field(key: str, item: Any, names: Sequence[str], replace: Replace) -> Any:
    if key in names or (not names and not _holds_fields(item)):
        made = replace(item)
        return replaced(item, names, replace) if made is KEPT else made
    return replaced(item, names, replace)


def _holds_fields(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(_holds_fields(item) for item in value)
    )


def duplicate_page(first: Json, asked: int) -> Json:
    """Make page `asked` from the first one, with the same items. The list ends where it would."""
    items = _items(first)
    if items is None:
        return first
    key, found = items
    pagination = first.get("pagination")
    count = first.get("count", len(found))
    pages = pagination["total_pages"] if pagination else math.ceil(count / max(1, len(found)))
    made = {**first, key: found if asked <= pages else []}
    return _numbered(made, asked, next_page=asked + 1 if asked < pages else None)


def endless_page(first: Json, asked: int, *, empty: bool) -> Json:
    """Make page `asked` from the first one, with a next page."""
    items = _items(first)
    if items is None:
        return first
    key, found = items
    made = {**first, key: [] if empty else found}
    return _totalled(
        _numbered(made, asked, next_page=asked + 1),
        (asked + 1) * max(1, len(found)),
        pages=asked + 1,
    )


def wrong_totals(page: Json, total: int) -> Json:
    """Set the numbers of items and pages of the list."""
    return page if _items(page) is None else _totalled(page, total, pages=total)


def _items(page: Json) -> tuple[str, list[Any]] | None:
    """The field with the items of a page, and the items; None for anything else."""
    if "page" not in page and not isinstance(page.get("pagination"), dict):
        return None
    return next(((key, value) for key, value in page.items() if isinstance(value, list)), None)


def _numbered(page: Json, number: int, *, next_page: int | None) -> Json:
    if "pagination" in page:
        return {**page, "pagination": {**page["pagination"], "page": number}}
    # Some lists of Vagon have no `next_page`.
    return {**page, "page": number} | ({"next_page": next_page} if "next_page" in page else {})


def _totalled(page: Json, total: int, *, pages: int) -> Json:
    if "pagination" in page:
        return {**page, "pagination": {**page["pagination"], "total": total, "total_pages": pages}}
    return {**page, "count": total}


# -- bodies without end ----------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    """JSON objects nested this deep."""
    return b'{"deeper":' * levels + b"null" + b"}" * levels


def padded(body: bytes, size: int) -> Iterator[bytes]:
    """White space and then the body, in parts of `size` bytes together; longer bodies are kept."""
    whole, rest = divmod(max(0, size - len(body)), len(_CHUNK))
    for _ in range(whole):
        yield _CHUNK
    yield _CHUNK[:rest] + body


def bomb(body: bytes, size: int) -> tuple[int, Iterator[bytes]]:
    """What `padded` yields, compressed with gzip: the length, and the parts.

    The first use of a size takes about 0.3 s for each gigabyte.
    """
    whole, rest = divmod(max(0, size - len(body)), len(_CHUNK))
    last = _CHUNK[:rest] + body
    segment, tail = _segment(), _deflated(last, zlib.Z_FINISH)
    check = zlib.crc32(last, _check(whole))
    written = whole * len(_CHUNK) + len(last)
    end = tail + check.to_bytes(4, "little") + (written % 2**32).to_bytes(4, "little")

    def parts() -> Iterator[bytes]:
        yield _GZIP_HEAD
        for _ in range(whole):
            yield segment
        yield end

    return len(_GZIP_HEAD) + whole * len(segment) + len(end), parts()


@lru_cache(maxsize=1)
def _segment() -> bytes:
    # Flushed, so that it does not depend on what comes before, and can be repeated.
    return _deflated(_CHUNK, zlib.Z_FULL_FLUSH)


@lru_cache(maxsize=8)
def _check(chunks: int) -> int:
    check = 0
    for _ in range(chunks):
        check = zlib.crc32(_CHUNK, check)
    return check


def _deflated(data: bytes, flush: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(flush)
