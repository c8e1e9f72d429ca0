"""Running one scenario on asyncio and on uvloop, over plain TCP and over TLS."""

from __future__ import annotations

import asyncio
import functools
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

Scenario = Callable[..., Coroutine[Any, Any, None]]


def on_each_loop(scenario: Scenario) -> Callable[..., None]:
    """Make a test of a coroutine function that takes ``tls``: four runs of it.

    A run fails, too, on what a loop has no caller for: an exception in a callback, and one that
    nobody looked at.
    """

    @pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
    @pytest.mark.parametrize("loop", LOOPS)
    @functools.wraps(scenario)
    def test(loop: str, tls: bool, **arguments: Any) -> None:
        troubles: list[dict[str, Any]] = []

        async def main() -> None:
            running = asyncio.get_running_loop()
            running.set_exception_handler(lambda loop, context: troubles.append(context))
            await scenario(tls=tls, **arguments)
            # What nobody looked at is told of when it is collected.
            gc.collect()
            await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())
        gc.collect()
        assert not troubles

    signature = inspect_without_loop(scenario)
    test.__signature__ = signature  # type: ignore[attr-defined]
    del test.__wrapped__  # type: ignore[attr-defined]
    return test


def inspect_without_loop(scenario: Scenario) -> Any:
    """The scenario's arguments and ``loop``, for pytest."""
    import inspect

    found = inspect.signature(scenario)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in found.parameters.values()
    ]
    return found.replace(parameters=[loop, *parameters])
