"""What the published StreamSpace answers beside its API: health, version, and its own document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vcloud.emulator.streamspace.published.api import (
    PREFIX,
    PublishedRequest,
    Reply,
    Route,
)
from vcloud.emulator.streamspace.published.refusals import Json
from vcloud.emulator.streamspace.published.space import Space

_WRONG: Final = (("GET", f"{PREFIX}/vnc/ws/{{id}}"), ("GET", f"{PREFIX}/agents/ws"))
"""What the server's document describes, and the server does not have."""


class Roots:
    """``/health``, ``/version`` and ``/api/openapi.yaml``, which need no login."""

    def __init__(self, space: Space) -> None:
        """Answer for `space`."""
        self._space = space
        for path, handler in (
            ("/health", self._health),
            ("/version", self._version),
            ("/api/openapi.yaml", self._document),
        ):
            space.routes.add("GET", path, Route(handler=handler, public=True))

    def _health(self, _: PublishedRequest) -> Json:
        # Whether its database is there or not.
        return {"service": "streamspace-api", "status": "healthy"}

    def _version(self, _: PublishedRequest) -> Json:
        # Written into the program, so that it does not tell builds apart.
        return {"api": "v1", "phase": "2.2", "version": "v0.1.0"}

    def _document(self, _: PublishedRequest) -> Reply:
        found = sorted({*self._space.routes.table(), *_WRONG}, key=lambda one: one[::-1])
        return Reply(
            200,
            _yaml(found),
            content_type="application/x-yaml",
            headers={"Content-Disposition": 'inline; filename="openapi.yaml"'},
        )


def _yaml(operations: Iterable[tuple[str, str]]) -> str:
    """A document that names these operations, and no more of them."""
    lines = ["openapi: 3.0.3", "info:", "  title: StreamSpace API", "  version: v1", "paths:"]
    before = ""
    for method, path in operations:
        if path != before:
            lines.append(f"  {path}:")
        before = path
        lines += [f"    {method.lower()}:", "      responses: {default: {description: An answer}}"]
    return "\n".join([*lines, ""])
