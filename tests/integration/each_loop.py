"""Running one scenario on asyncio and on uvloop, over plain TCP and over TLS."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}

if sys.version_info >= (3, 12):

    def eager() -> asyncio.AbstractEventLoop:
        """One whose tasks run at once until they wait for the first time."""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    LOOPS["eager tasks"] = eager

if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

#: In the suite; the others are the long form. Most other tests run on asyncio over plain TCP.
QUICK = {("asyncio", True), ("uvloop", False)}
FORMS = [
    pytest.param(
        loop,
        tls,
        id=f"{loop}-{'tls' if tls else 'tcp'}",
        marks=[] if (loop, tls) in QUICK else [pytest.mark.long],
    )
    for loop in LOOPS
    for tls in (False, True)
]

Scenario = Callable[..., Coroutine[Any, Any, None]]


def run(loop: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on the loop of this name."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work)


def on_each_loop(scenario: Scenario) -> Callable[..., None]:
    """Make a test of a coroutine function that takes ``tls``: a run of it for each.

    A run also fails on an exception in a callback, and on one that was never retrieved.
    """

    @pytest.mark.parametrize(("loop", "tls"), FORMS)
    @functools.wraps(scenario)
    def test(loop: str, tls: bool, **arguments: Any) -> None:
        failures: list[dict[str, Any]] = []

        async def main() -> None:
            running = asyncio.get_running_loop()
            running.set_exception_handler(lambda loop, context: failures.append(context))
            await scenario(tls=tls, **arguments)
            # An exception that was never retrieved is reported when it is collected.
            gc.collect()
            await asyncio.sleep(0)

        run(loop, main())
        assert not failures

    # What pytest asks for: the scenario's own arguments, and the loop.
    vars(test).pop("__wrapped__")
    found = inspect.signature(scenario)
    by_name = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in found.parameters.values()
    ]
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    vars(test)["__signature__"] = found.replace(parameters=[loop, *by_name])
    made: Callable[..., None] = test
    return made
