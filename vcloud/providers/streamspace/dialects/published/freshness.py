"""Answers that no cache of the published server gave.

With its cache on, a GET is answered as it was up to 30 s ago, and says so by ``X-Cache: HIT``. The
cache knows an answer by its URL and user, so a query parameter that varies gets a new one.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from vcloud._core.decoding.shape import Shape
from vcloud._core.request import Request
from vcloud._core.session import Session
from vcloud.providers.streamspace.installation import installation

__all__ = ["fetch_fresh"]

R = TypeVar("R")

#: It is in the answers of a server whose cache is on; its first answer to a URL may lack it.
_CACHED: Final = "X-Cache"


async def fetch_fresh(session: Session, path: str, shape: Shape[Any, R]) -> R:
    """``GET path``, as it is now.

    The first answer that a cache gave is not used: the request is sent once more. From then on
    each request of the client varies its query.
    """
    known = installation(session)
    varied = known.caches
    request = Request("GET", path, _varying(session) if varied else "")
    answer = await session.send(request)
    if not varied and _CACHED in answer.headers:
        known.caches = True
        request = Request("GET", path, _varying(session))
        answer = await session.send(request)
    return session.read(request, answer, shape)


def _varying(session: Session) -> str:
    """A query that the server does not know, and that no other request has."""
    return f"fresh={int(session.entropy() * 2**53):x}{next(installation(session).numbers):x}"
