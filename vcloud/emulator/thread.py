"""An emulator in its own thread, for tests without an event loop or with a separate one."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager


class EmulatorThread:
    """Runs an emulator until it is stopped."""

    def __init__(self, emulator: AbstractAsyncContextManager[object]) -> None:
        """Prepare to run it."""
        self._emulator = emulator
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        # A daemon, so that an aborted test run does not wait for it.
        self._thread = threading.Thread(target=self._main, name="vcloud-emulator", daemon=True)

    def start(self) -> None:
        """Return when the emulator serves, or raise what prevented that."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self.stop()

    def stop(self) -> None:
        """Return when the emulator is closed, or raise what went wrong in it."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again by stop()
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        stopping = asyncio.Event()
        async with self._emulator:
            self._loop, self._stopping = asyncio.get_running_loop(), stopping
            self._ready.set()
            await stopping.wait()
