"""An event loop with a virtual clock: no test waits in real time, or depends on it."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Skipping(selectors.DefaultSelector):
    """Reports at once what is ready, and moves the clock by the time that it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found and timeout is None:
            raise AssertionError("this loop waits for nothing")
        if not found and timeout is not None:
            self.now += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that skips the time in which it has nothing to do."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def block(self, seconds: float) -> None:
        """Do nothing for so long, as a process that is stopped, or a loop that is blocked."""
        self._skipping.now += seconds


def virtual_loop() -> VirtualLoop:
    """The running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def block(seconds: float) -> None:
    """Block the running loop for so long."""
    virtual_loop().block(seconds)


def now() -> float:
    """The running loop's time, in seconds."""
    return virtual_loop().time()


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a virtual loop."""

    @functools.wraps(test)
    def run(*args: Any, **arguments: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **arguments))

    return run


def after(seconds: float, call: Callable[..., object], *args: object) -> None:
    """Call this in so many seconds."""
    asyncio.get_running_loop().call_later(seconds, call, *args)
