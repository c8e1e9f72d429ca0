"""The texts of errors for answers that cannot be decoded."""

from __future__ import annotations

from typing import Any

import cattrs
import cattrs.v

from vcloud._core.decoding.converter import MAX_ERRORS
from vcloud.errors import DecodeError
from vcloud.errors.text import shortened

__all__ = ["excerpt", "field_first", "mismatch", "not_json", "reasons", "requirement"]


def excerpt(body: bytes, *, sensitive: bool) -> str:
    """The first bytes of an answer for an error text, unless the answer carries a secret."""
    if sensitive:
        return f"the answer ({len(body)} bytes) is not shown because it carries a secret"
    return f"the answer began {body[:120]!r}" if body else "the answer was empty"


def not_json(error: Exception, body: bytes, *, sensitive: bool) -> DecodeError:
    """The error for a body that is not JSON."""
    return DecodeError(f"not JSON ({error}); {excerpt(body, sensitive=sensitive)}")


def mismatch(error: Exception, body: bytes, wire: type[Any], *, sensitive: bool) -> DecodeError:
    """The error for JSON that does not fit the class of the wire."""
    found = reasons(error, getattr(wire, "__name__", "answer"), sensitive=sensitive)
    return DecodeError(
        f"the answer is not what the contract says: {found}; {excerpt(body, sensitive=sensitive)}"
    )


def reasons(error: Exception, path: str, *, sensitive: bool) -> str:
    """Which fields do not fit, and why; the first few of them."""
    if sensitive:
        return "the details are not shown"
    return shortened(
        "; ".join(cattrs.transform_error(error, path=path, format_exception=_reason)[:MAX_ERRORS])
    )


def requirement(error: BaseException, kind: type | None) -> str:
    """What a field should be, without its value."""
    if isinstance(error, KeyError):
        return "is missing"
    said = str(error).partition(", got ")[0] if type(error) is ValueError else ""
    # Other exceptions of the conversions quote what they were given.
    return (
        said
        if said.startswith("expected ")
        else f"is not a valid {getattr(kind, '__name__', 'value')}"
    )


def field_first(text: str) -> str:
    """``data.timeout: expected a duration`` for cattrs' ``expected a duration @ .data.timeout``."""
    what, _, path = text.rpartition(" @ ")
    field = path.removeprefix(".")
    return f"{field}{' ' if what.startswith('is ') else ': '}{what}" if field else what


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if type(error) is ValueError else cattrs.v.format_exception(error, kind)
