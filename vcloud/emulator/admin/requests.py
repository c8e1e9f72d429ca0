"""A request to one of the emulator's own routes, and what answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from attrs import frozen

Json = dict[str, Any]
T = TypeVar("T")


@frozen
class AdminRequest:
    """A request to one of the emulator's own routes."""

    request: web.BaseRequest
    params: Mapping[str, str]
    body: bytes

    def read(self, model: type[T]) -> T:
        """The body as this model.

        Raises:
            msgspec.ValidationError: it does not fit.
        """
        return msgspec.json.decode(self.body, type=model)


Handler = Callable[[AdminRequest], Awaitable[tuple[int, Json]]]

Route = tuple[str, str, Handler, str]
"""Method, path below the prefix, handler, and help."""
