"""What a program under test has in its hands: the client that it makes, and the wire to the test."""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from vcloud import APIKeyAuth, Auth, BearerAuth, Endpoint, HMACAuth, RateLimit, RetryPolicy, VCloud

T = TypeVar("T")

#: It waits as long as it is asked to: what ends it is its end.
PATIENT: Final = RetryPolicy(max_retry_after=3600)


class Scene:
    """One program's surroundings. What it tells arrives although it is ended in the next moment.

    Args:
        spec: what the test asked for: names, addresses, options of the Endpoints.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.folder = Path(spec["folder"])
        self._wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._wire.connect(spec["wire"])
        #: Set once the client was closed, for who waits in a block.
        self.leave = asyncio.Event()
        self.tell(pid=os.getpid())
        logs = logging.getLogger()
        logs.addHandler(_Telling(self))
        logs.setLevel(logging.INFO)

    def reached(self, stage: str) -> None:
        """The moment has come, as far as the program can tell. It has so much time from here."""
        faulthandler.dump_traceback_later(self.spec["guard"], exit=True)
        self.tell(at=stage)

    def tell(self, **event: Any) -> None:
        """Send an event. The wire blocks, so it has left when this returns."""
        # A signal's handler may raise in any line, and must not in these.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._wire.sendall(json.dumps(event).encode() + b"\n")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def cloud(self) -> VCloud:
        """A client of all four providers, with the options of the cell."""
        return VCloud(**_endpoints(self.spec["env"], self.spec["options"]))

    def on_go(self, call: Callable[[], object]) -> None:
        """Call this in the loop that runs, as soon as the test says so."""
        loop = asyncio.get_running_loop()

        def said() -> None:
            loop.remove_reader(self._wire)
            self._wire.recv(1)
            call()

        loop.add_reader(self._wire, said)

    async def go(self) -> None:
        """Wait until the test says so."""
        said = asyncio.Event()
        self.on_go(said.set)
        await said.wait()

    async def recorded(self, who: str, work: Awaitable[T]) -> T:
        """Do this, and tell how it ended."""
        try:
            result = await work
        except BaseException as error:
            self.tell(left=who, error=described(error))
            raise
        self.tell(left=who, error=None)
        return result


def background(work: Awaitable[object]) -> asyncio.Task[object]:
    """A task nobody asks for the outcome of."""

    async def doing() -> object:
        return await work

    def over(task: asyncio.Task[object]) -> None:
        if not task.cancelled():
            task.exception()

    task = asyncio.create_task(doing())
    task.add_done_callback(over)
    return task


def described(error: BaseException) -> dict[str, Any]:
    """An exception, as what a caller can see of it."""
    return {
        "kinds": [kind.__name__ for kind in type(error).__mro__],
        "text": str(error),
        "notes": list(getattr(error, "__notes__", ())),
        "provider": getattr(error, "provider", None),
        "ids": [str(one) for one in getattr(error, "ids", ())],
        "outcome_unknown": getattr(error, "outcome_unknown", False),
        "cause": None if error.__cause__ is None else type(error.__cause__).__name__,
        "members": [
            described(one)
            for one in (error.exceptions if isinstance(error, BaseExceptionGroup) else ())
        ],
    }


def _endpoints(env: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    more = dict(options)
    if "rate" in more:
        calls, per = more.pop("rate")
        more["rate_limits"] = [RateLimit(calls, per=per)]
    auths: dict[str, Auth] = {
        "computers": HMACAuth(env["VCLOUD_COMPUTERS_KEY"], env["VCLOUD_COMPUTERS_SECRET"]),
        "desktops": APIKeyAuth(env["VCLOUD_DESKTOPS_API_KEY"]),
        "streams": HMACAuth(env["VCLOUD_STREAMS_KEY"], env["VCLOUD_STREAMS_SECRET"]),
        "streamspace": BearerAuth.login(
            env["VCLOUD_STREAMSPACE_USERNAME"], env["VCLOUD_STREAMSPACE_PASSWORD"]
        ),
    }
    return {
        name: Endpoint(env[f"VCLOUD_{name.upper()}_URL"], auth=auth, retry=PATIENT, **more)
        for name, auth in auths.items()
    }


class _Telling(logging.Handler):
    """Tells each line of the log."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        trace = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + (f" [{type(trace).__name__}: {trace}]" if trace else "")
        self._scene.tell(log=record.name, level=record.levelname, text=text)
