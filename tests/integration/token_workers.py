"""Processes that share the tokens of their logins, as tests drive them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.seeded import ADMIN_PASSWORD
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN

ROOT = Path(__file__).parents[2]


class Worker:
    """A process that runs token_worker.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log: list[str] = []

    async def call(self) -> str:
        """Let it call StreamSpace once; "ok", or the error."""
        self.begin()
        return await self.outcome()

    def begin(self) -> None:
        """Let it call StreamSpace once."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def outcome(self) -> str:
        """How the call that it began ended."""
        answer: dict[str, Any] = json.loads(await self.line())
        self.log += answer["log"]
        return str(answer["said"])

    async def line(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.readline()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def workers(
    emulator: Emulator,
    store: object,
    number: int = 8,
    *,
    user: str = ADMIN,
    password: str = ADMIN_PASSWORD,
    environment: Mapping[str, str] = {},
) -> AsyncIterator[list[Worker]]:
    """So many processes, which are ready to call."""
    url = emulator.endpoints()["streamspace"].base_url
    command = ["-m", "tests.integration.token_worker", str(url), user, password, str(store)]
    started: list[Worker] = []
    try:
        for _ in range(number):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            started.append(Worker(process))
        assert [await one.line() for one in started] == [b"ready\n"] * number
        yield started
    finally:
        for one in started:
            if one.process.returncode is None:
                one.process.kill()
            await one.process.communicate()


async def all_call(some: list[Worker]) -> list[str]:
    """Let all call at once."""
    return await asyncio.gather(*(one.call() for one in some))


def logins(emulator: Emulator) -> int:
    return sum(call.path.endswith("/auth/login") for call in emulator.calls)


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition is true."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)
