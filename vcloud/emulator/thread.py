"""An emulator in a thread of its own: for tests without an event loop, or with one that must not be the emulator's."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager


class EmulatorThread:
    """Runs an emulator until it is stopped."""

    def __init__(self, emulator: AbstractAsyncContextManager[object]) -> None:
        """Do nothing yet."""
        self._emulator = emulator
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        # A daemon, because a test run that was given up must not hang on it.
        self._thread = threading.Thread(target=self._main, name="vcloud-emulator", daemon=True)

    def start(self) -> None:
        """Return when the emulator serves; raise what kept it from that."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self.stop()

    def stop(self) -> None:
        """Return when the emulator has closed; raise what went wrong with it."""
        if self._loop is not None and self._over is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        over = asyncio.Event()
        async with self._emulator:
            self._loop, self._over = asyncio.get_running_loop(), over
            self._ready.set()
            await over.wait()
