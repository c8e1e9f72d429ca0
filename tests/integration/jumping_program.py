"""A client in its own process, whose clock the test sets back and forward.

It reads one command a line, and answers each with one line of JSON. The environment is an
emulator's. With ``REQUESTS`` (a limit for an hour) there is a second client with that limit, and
with ``STORE`` (of a shared budget) a third one that counts there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from vcloud import (
    Attempt,
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    Observer,
    RateLimit,
    SharedBudget,
    VCloud,
    VCloudError,
)


class Started(Observer):
    """Lets the program wait until requests are in flight."""

    def __init__(self) -> None:
        self.count = asyncio.Semaphore(0)

    def started(self, attempt: Attempt) -> None:
        self.count.release()


def clients(observer: Observer) -> dict[str, VCloud]:
    env = os.environ
    options: dict[str, dict[str, Any]] = {"none": {}}
    if requests := env.get("REQUESTS"):
        options["own"] = {"rate_limits": [RateLimit(int(requests), per=3600)]}
        if store := env.get("STORE"):
            options["redis"] = options["own"] | {"shared_budget": SharedBudget(store)}
    return {
        name: VCloud(
            computers=Endpoint(
                env["VCLOUD_COMPUTERS_URL"],
                auth=HMACAuth(env["VCLOUD_COMPUTERS_KEY"], env["VCLOUD_COMPUTERS_SECRET"]),
                **given,
            ),
            streamspace=Endpoint(
                env["VCLOUD_STREAMSPACE_URL"],
                auth=BearerAuth.login(
                    env["VCLOUD_STREAMSPACE_USERNAME"], env["VCLOUD_STREAMSPACE_PASSWORD"]
                ),
            ),
            observers=[observer],
        )
        for name, given in options.items()
    }


async def outcome(call: Awaitable[object]) -> str:
    try:
        await call
    except AuthenticationError as error:
        if error.clock_difference is None:
            return "refused"
        return f"refused, {round(error.clock_difference.total_seconds() / 86_400)} days off"
    except VCloudError as error:
        return type(error).__name__
    return "ok"


async def main() -> None:
    started = Started()
    async with AsyncExitStack() as stack:
        calls: dict[str, Callable[[], Awaitable[object]]] = {}
        for name, cloud in clients(started).items():
            await stack.enter_async_context(cloud)
            calls[name] = cloud.computers.machines.ref("100").refresh
            calls.setdefault("templates", cloud.streamspace.templates.list().first)
        tasks: list[asyncio.Task[str]] = []
        while line := await asyncio.to_thread(sys.stdin.readline):
            verb, what, number = line.split()
            answer: object = None
            match verb:
                case "sequence":
                    answer = [await outcome(calls[what]()) for _ in range(int(number))]
                case "begin":
                    started.count = asyncio.Semaphore(0)
                    tasks = [
                        asyncio.create_task(outcome(calls[name]()))
                        for name in what.split("+")
                        for _ in range(int(number))
                    ]
                    for _ in tasks:
                        await started.count.acquire()
                case "end":
                    answer = [await task for task in tasks]
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
