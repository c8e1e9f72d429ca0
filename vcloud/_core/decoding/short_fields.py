"""Bounds how much is read of an error that came as an HTTP success."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from vcloud._core.request import MAX_REFUSAL
from vcloud.errors.text import shortened

__all__ = ["short_fields"]

#: Characters that are kept of a text that is too long. An error shows 1000.
MAX_TEXT: Final = 2048
_BOM: Final = b"\xef\xbb\xbf"


def short_fields(body: bytes, names: tuple[str, ...]) -> bytes:
    """A body of at most 64 KiB with the fields of an error.

    The body of an HTTP success may say that it is an error, which should be short. The body is read
    once, and only these fields are decoded.

    Args:
        body: the answer.
        names: the fields at its top that describe an error.

    Returns:
        An object of these fields. A long text is cut; a long list or object is empty.

    Raises:
        msgspec.DecodeError: it is not a JSON object.
        RecursionError: it is nested too deep.
    """
    found = _decoder(names).decode(body.removeprefix(_BOM))
    fields: dict[str, Any] = {}
    left = MAX_REFUSAL // 2
    for name in names:
        raw = bytes(getattr(found, name))
        if raw and len(raw) <= left:
            fields[name] = msgspec.Raw(raw)
            left -= len(raw)
        elif raw:
            fields[name] = _beginning(raw)
    return msgspec.json.encode(fields)


def _beginning(raw: bytes) -> Any:
    """The beginning of a JSON value that is too long."""
    if raw.startswith(b"{"):
        return {}
    if not raw.startswith(b'"'):
        return []
    try:
        return shortened(msgspec.json.decode(raw), MAX_TEXT)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


@cache
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    # Every other field is skipped and takes no memory, however many there are.
    return msgspec.json.Decoder(
        msgspec.defstruct("Fields", [(name, msgspec.Raw, msgspec.Raw()) for name in names])
    )
