"""An event loop whose clock stands until it is moved: nothing is waited for or timed."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Skipping(selectors.DefaultSelector):
    """Reports at once what is ready, and puts the clock on by what it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("nothing will ever happen in this loop")
        if not found and timeout is not None:
            self.now += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """One that passes over the time in which nothing is to be done."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def stand_still(self, seconds: float) -> None:
        """Do nothing for so long, as a process that is stopped, or a loop that is blocked."""
        self._skipping.now += seconds


def virtual_loop() -> VirtualLoop:
    """The one that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def stand_still(seconds: float) -> None:
    """Let the running loop do nothing for so long."""
    virtual_loop().stand_still(seconds)


def now() -> float:
    """The running loop's time, in seconds."""
    return virtual_loop().time()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in such a loop."""

    @functools.wraps(test)
    def run(*args: Any, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **arguments))

    return run


def after(seconds: float, call: Callable[..., object], *args: object) -> None:
    """Call this then."""
    asyncio.get_running_loop().call_later(seconds, call, *args)
