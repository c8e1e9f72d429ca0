"""StreamSpace's sessions in both dialects, as the contract documents show them.

The canned server answers below ``/DIALECT/COUNT/api/v1`` as an installation with so many sessions.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Final

from tests.contract.contract_harness import DOCUMENTS

#: Sessions of a page of the documented dialect. The published one has no pages.
PER_PAGE: Final = 100
ID: Final = "770e8400-e29b-41d4-a716-446655440002"
_DOCUMENTS: Final = {"documented": "streamspace", "published": "streamspace-published"}
_TARGET: Final = re.compile(rb"/(documented|published)/(\d+)/api/v1/sessions(/?)(?:.*page=(\d+))?")


@cache
def example(dialect: str, operation: str) -> dict[str, Any]:
    """The first example of an operation's answer."""
    document = json.loads((DOCUMENTS / f"{_DOCUMENTS[dialect]}.json").read_text(encoding="utf-8"))
    (found,) = (one for one in document["operations"] if one["id"] == operation)
    body: dict[str, Any] = found["responses"][0]["body"]
    return body


def answer(dialect: str, count: int, page: int = 1) -> dict[str, Any]:
    """The answer to a list of so many sessions."""
    listed = example(dialect, "sessions.list")
    numbers = range(count)
    if dialect == "documented":
        numbers = numbers[(page - 1) * PER_PAGE : page * PER_PAGE]
    more = "id" if dialect == "documented" else "name"
    first = listed["sessions"][0]
    sessions = [first | {more: f"{first[more]}-{number}"} for number in numbers]
    if dialect == "published":
        return {"sessions": sessions, "total": count}
    pages = -(-count // PER_PAGE)
    where = {"page": page, "limit": PER_PAGE, "total": count, "total_pages": pages}
    return {"sessions": sessions, "pagination": where}


def answered(target: bytes) -> object:
    """What a request for sessions is answered with; None: it is for something else."""
    found = _TARGET.match(target)
    if found is None:
        return None
    dialect, count, page = found[1].decode(), int(found[2]), int(found[4] or 1)
    return example(dialect, "sessions.get") if found[3] else answer(dialect, count, page)
