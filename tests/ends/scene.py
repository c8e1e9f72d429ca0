"""The tools of a program under test: its client, and its connection to the test."""

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

#: Retries as long as the service asks: only the end of the program ends a call.
RETRY: Final = RetryPolicy(max_retry_after=3600)


class Scene:
    """The environment of one program. What it reports arrives even if it is killed at once.

    Args:
        spec: names, addresses and options of the Endpoints, as the test gives them.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.folder = Path(spec["folder"])
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(spec["socket"])
        #: Set when the client is closed, for tasks that wait in a block.
        self.leave = asyncio.Event()
        self.tell(pid=os.getpid())
        logs = logging.getLogger()
        logs.addHandler(_Reporting(self))
        logs.setLevel(logging.INFO)

    def reached(self, stage: str) -> None:
        """Report that the moment is reached. From now on the program has ``guard`` seconds."""
        faulthandler.dump_traceback_later(self.spec["guard"], exit=True)
        self.tell(at=stage)

    def tell(self, **event: Any) -> None:
        """Send an event. The socket blocks, so the event was sent when this returns."""
        # Signal handlers may raise in any line, but must not in these.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._socket.sendall(json.dumps(event).encode() + b"\n")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def cloud(self) -> VCloud:
        """Make a client of all four providers with the options of the cell."""
        return VCloud(**_endpoints(self.spec["env"], self.spec["options"]))

    def on_go(self, call: Callable[[], object]) -> None:
        """Call this in the running loop when the test says so."""
        loop = asyncio.get_running_loop()

        def said() -> None:
            loop.remove_reader(self._socket)
            self._socket.recv(1)
            call()

        loop.add_reader(self._socket, said)

    async def go(self) -> None:
        """Wait until the test says so."""
        said = asyncio.Event()
        self.on_go(said.set)
        await said.wait()

    async def recorded(self, who: str, work: Awaitable[T]) -> T:
        """Do this, and report how it ended."""
        try:
            result = await work
        except BaseException as error:
            self.tell(left=who, error=described(error))
            raise
        self.tell(left=who, error=None)
        return result


def background(work: Awaitable[object]) -> asyncio.Task[object]:
    """Start a task whose result is not needed."""

    async def doing() -> object:
        return await work

    def over(task: asyncio.Task[object]) -> None:
        if not task.cancelled():
            task.exception()

    task = asyncio.create_task(doing())
    task.add_done_callback(over)
    return task


def described(error: BaseException) -> dict[str, Any]:
    """What a caller can see of an exception."""
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
        name: Endpoint(env[f"VCLOUD_{name.upper()}_URL"], auth=auth, retry=RETRY, **more)
        for name, auth in auths.items()
    }


class _Reporting(logging.Handler):
    """Reports each line of the log."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        trace = record.exc_info[1] if record.exc_info else None
        text = record.getMessage() + (f" [{type(trace).__name__}: {trace}]" if trace else "")
        self._scene.tell(log=record.name, level=record.levelname, text=text)
