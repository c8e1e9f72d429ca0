"""Which handler answers which method and path. Shared by every emulated API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote

from attrs import field, frozen

H = TypeVar("H")


class NoRouteError(LookupError):
    """There is nothing at this path."""


class WrongMethodError(LookupError):
    """The path exists, but not for this method."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """Carry the methods that the path has."""
        super().__init__(", ".join(allowed))
        self.allowed: tuple[str, ...] = allowed


@frozen
class Found(Generic[H]):
    """A handler and the values of its template's placeholders."""

    handler: H
    params: Mapping[str, str]


@frozen
class _Path(Generic[H]):
    template: tuple[str, ...]
    handlers: dict[str, H] = field(factory=dict)

    def match(self, segments: tuple[str, ...]) -> dict[str, str] | None:
        if len(segments) != len(self.template):
            return None
        params: dict[str, str] = {}
        for expected, segment in zip(self.template, segments, strict=True):
            if expected.startswith("{") and segment:
                params[expected[1:-1]] = segment
            elif expected != segment:
                return None
        return params


class Routes(Generic[H]):
    """A table of routes below one prefix. Paths are tried in the order they were added."""

    def __init__(self, prefix: str) -> None:
        """Begin an empty table for the paths below `prefix`."""
        self._prefix = prefix
        self._paths: dict[tuple[str, ...], _Path[H]] = {}

    def add(self, method: str, template: str, handler: H) -> None:
        """Answer `method` on `template`, for instance "/machines/{id}/start", with `handler`."""
        segments = tuple(template.removeprefix("/").split("/"))
        self._paths.setdefault(segments, _Path(segments)).handlers[method] = handler

    def table(self) -> list[tuple[str, str]]:
        """Method and path of every route."""
        return [
            (method, f"{self._prefix}/{'/'.join(segments)}")
            for segments, path in self._paths.items()
            for method in path.handlers
        ]

    def find(self, method: str, raw_path: str) -> Found[H]:
        """The handler for a request.

        Raises:
            NoRouteError: there is nothing at the path.
            WrongMethodError: the path does not have the method.
        """
        # Split before unquoting, because an encoded slash belongs to its segment.
        rest = raw_path.removeprefix(self._prefix).removeprefix("/")
        segments = tuple(unquote(segment) for segment in rest.split("/"))
        for path in self._paths.values():
            params = path.match(segments)
            if params is None:
                continue
            if method not in path.handlers:
                raise WrongMethodError(tuple(sorted(path.handlers)))
            return Found(path.handlers[method], params)
        raise NoRouteError(raw_path)
