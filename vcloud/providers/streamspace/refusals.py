"""What one of the two dialects has no way for: the errors that say so, before anything is sent."""

from __future__ import annotations

import re
from typing import Final

from vcloud._core.session import Session
from vcloud.errors import UnsupportedError
from vcloud.errors.text import shortened
from vcloud.providers.streamspace.calls import DialectName
from vcloud.providers.streamspace.installation import calls_or_none

__all__ = ["check_query_value", "refused_by_filter", "unsupported"]

_IS: Final[dict[DialectName, str]] = {
    "documented": "answers as StreamSpace's API document says",
    "published": "is StreamSpace's published server",
}
#: Characters of a query value; the published server refuses more.
_LONGEST: Final = 10_000
#: What the published server refuses in a query value (from its source).
_FILTER: Final = re.compile(
    r"--|\#|/\*|[;&|`\0]|\$\("
    r"|union[\t\n\f\r ]+select|select[\t\n\f\r ]+.*[\t\n\f\r ]+from|insert[\t\n\f\r ]+into"
    r"|delete[\t\n\f\r ]+from|drop[\t\n\f\r ]+table|update[\t\n\f\r ]+.*[\t\n\f\r ]+set"
    r"|exec(?:ute)?[\t\n\f\r ]*\(|script[\t\n\f\r ]*>|javascript:"
    r"|onerror[\t\n\f\r ]*=|onload[\t\n\f\r ]*=",
    re.IGNORECASE,
)
#: Of these it refuses two different ones in one value.
_PAIRS: Final = frozenset(r"*()\/")


def unsupported(session: Session, what: str, instead: str) -> UnsupportedError:
    """The error for what this installation has no way for.

    Args:
        session: the session of a collection or a handle, whose dialect is known.
        what: what it lacks, as it follows "has no": ``platform= for sessions.create()``.
        instead: what to do instead, as a clause: ``leave it out``.
    """
    return UnsupportedError(f"{_which(session)}, which has no {what}: {instead}")


def check_query_value(session: Session, value: str, name: str, instead: str) -> None:
    """Refuse a query value that the published server's filter would refuse.

    Args:
        session: the session of a collection or a handle, whose dialect is known.
        value: the value, as it was given.
        name: its argument.
        instead: what to do instead, as a clause.

    Raises:
        UnsupportedError: the filter refuses it.
    """
    refused = refused_by_filter(value)
    if refused:
        raise UnsupportedError(
            f"{_which(session)}, whose filter of query values refuses "
            f"{name}={shortened(value, 200)!r} ({refused}): {instead}"
        )


def refused_by_filter(value: str) -> str:
    """Why the published server's filter refuses a query value; empty: it does not.

    It answers 400 for these values before it looks at anything else (from its source).
    """
    if len(value.encode("utf-8", "surrogatepass")) > _LONGEST:
        return f"it has more than {_LONGEST} bytes"
    found = _FILTER.search(value)
    if found is not None:
        return f"it has {shortened(found[0], 50)!r}"
    pair = sorted(_PAIRS.intersection(value))
    return f"it has {pair[0]!r} and {pair[1]!r}" if len(pair) > 1 else ""


def _which(session: Session) -> str:
    """The installation, as the beginning of a sentence."""
    known = calls_or_none(session)
    name: DialectName = "documented" if known is None else known.name
    return f"{session.service.provider}: {session.base_url} {_IS[name]}"
