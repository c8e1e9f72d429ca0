"""From bytes to plain JSON: repairs mistakes of JSON encoders, and bounds the work."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from vcloud._core.decoding.mismatch import excerpt, not_json
from vcloud._core.scalars import ExactFloat
from vcloud.errors import DecodeError

__all__ = [
    "MAX_COMMAS",
    "MAX_DEPTH",
    "UNREADABLE",
    "loads",
    "object_of",
    "repaired",
    "too_deep",
    "tree",
]

#: The documents nest eight levels deep. Some hundreds can still be decoded, but not be walked,
#: printed or pickled.
MAX_DEPTH: Final = 64
#: Commas of an answer that the lenient decoder reads. It makes an object of each value, which takes
#: up to thirty times the answer's memory. The largest page of the documents has some ten thousand.
MAX_COMMAS: Final = 1_000_000

#: What decoding raises for a body that is not JSON.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOM: Final = b"\xef\xbb\xbf"
#: The escape of a surrogate that is not one of a pair. Every backslash before a ``u`` must begin an
#: escape.
_LONE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_EXACT: Final = msgspec.json.Decoder(float_hook=ExactFloat)


def repaired(body: bytes) -> bytes | None:
    """A body without its byte order mark, and with U+FFFD for each lone surrogate.

    None when it has neither.
    """
    fixed = body.removeprefix(_BOM)
    if _LONE.search(fixed):
        # An escaped backslash may stand before a u that is only a letter: now it cannot.
        fixed = _LONE.sub(rb"\\ufffd", fixed.replace(rb"\\", rb"\u005c"))
    return fixed if fixed != body else None


def loads(body: bytes, kind: Any = Any) -> Any:
    """JSON as msgspec reads it, repaired first where that is needed.

    Raises:
        msgspec.DecodeError: it is not JSON, or not of that kind.
        UnicodeDecodeError: it is not UTF-8.
        RecursionError: it is nested too deep.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if (fixed := repaired(body)) is None:
            raise
    return msgspec.json.decode(fixed, type=kind)


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object that a body is; empty if it is something else."""
    try:
        found = loads(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def tree(body: bytes, *, sensitive: bool) -> Any:
    """The JSON of a body, for the lenient converter.

    Raises:
        DecodeError: it is not JSON, nested too deep, or has too many values to check each.
    """
    if body.count(b",") > MAX_COMMAS:
        raise DecodeError(
            "the answer is not what the contract says, and it holds too many values to say where "
            f"(more than {MAX_COMMAS}); {excerpt(body, sensitive=sensitive)}"
        )
    try:
        try:
            value = _EXACT.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if (fixed := repaired(body)) is None:
                raise
            value = _EXACT.decode(fixed)
    except UNREADABLE as error:
        raise not_json(error, body, sensitive=sensitive) from None
    if too_deep(value):
        raise DecodeError(
            f"nested more than {MAX_DEPTH} levels deep; {excerpt(body, sensitive=sensitive)}"
        )
    return value


def too_deep(value: Any) -> bool:
    """Whether JSON is nested so deep that its use would end in a RecursionError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        holders = [one for one in level if isinstance(one, dict | list)]
        if not holders:
            return False
        level = [
            inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return True
