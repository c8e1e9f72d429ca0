"""aioresponses with the aiohttp that is installed: import it from here.

aioresponses 0.7.9, the newest, fails with aiohttp 3.14 and newer, which vcloud needs (all older
ones have known weaknesses): ``ClientResponse.__init__() missing … 'stream_writer'``. This is the
same class with that argument supplied, and is the same without it once a release does so itself::

    from vcloud.testing.aioresponses import aioresponses

    with aioresponses() as mocked:
        mocked.get("https://api.vagon.io/organization-management/v1/machines/100", payload={...})

It replaces aiohttp's request method: nothing below that runs (connections, time limits, redirects).
:class:`vcloud.emulator.Emulator` runs all of it.
"""

from __future__ import annotations

import inspect
from functools import wraps
from types import SimpleNamespace
from typing import Any, Self

import aiohttp

try:
    from aioresponses import CallbackResult
    from aioresponses.core import aioresponses as original
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "vcloud.testing.aioresponses needs the package aioresponses: pip install aioresponses",
        name=_error.name,
    ) from None

__all__ = ["CallbackResult", "aioresponses"]


class aioresponses(original):  # noqa: N801 - the name that it replaces
    """Answers requests of aiohttp; see aioresponses' own documentation."""

    def __enter__(self) -> Self:
        """Begin to answer."""
        super().__enter__()
        return self

    def add(self, url: Any, *arguments: Any, **options: Any) -> None:
        """Answer requests to this URL; arguments as those of aioresponses."""
        given = inspect.signature(original.add).bind(self, url, *arguments, **options)
        response_class = given.arguments.get("response_class")
        callback = given.arguments.get("callback")
        given.arguments["response_class"] = _complete(response_class or aiohttp.ClientResponse)
        if callback is not None:
            given.arguments["callback"] = _completed(callback)
        super().add(*given.args[1:], **given.kwargs)


def _complete(response_class: type[aiohttp.ClientResponse]) -> type[aiohttp.ClientResponse]:
    """The class, with the argument that aioresponses omits."""
    if "stream_writer" not in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
        return response_class

    class Answer(response_class):  # type: ignore[misc, valid-type]  # any subclass
        def __init__(self, *arguments: Any, **options: Any) -> None:
            # aiohttp asks it for nothing else.
            options.setdefault("stream_writer", SimpleNamespace(output_size=0))
            super().__init__(*arguments, **options)

    Answer.__name__ = Answer.__qualname__ = response_class.__name__
    return Answer


def _completed(callback: Any) -> Any:
    """A callback whose answers have such a class."""

    @wraps(callback)
    async def complete(*arguments: Any, **options: Any) -> Any:
        result = callback(*arguments, **options)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, CallbackResult):
            result.response_class = _complete(result.response_class or aiohttp.ClientResponse)
        return result

    return complete
