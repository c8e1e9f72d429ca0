"""A program that uses the SDK while its process is stopped, or its loop blocked, by who runs it.

``python -m tests.integration.frozen_client <loop> <what> <JSON of options>``. The environment leads it
to an emulator in another process. It says ``sent`` as soon as its requests are on the way, and ends
with a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from vcloud import OutcomeStatus, RetryPolicy, VCloud, VCloudError
from vcloud.providers.streamspace.sessions import Session

#: Requests are on the way after so many seconds; the answers take longer.
UNDER_WAY = 0.1


async def becomes(work: Awaitable[Any]) -> str:
    """What becomes of a call, in a word or two."""
    try:
        found = await work
    except VCloudError as error:
        return f"{type(error).__name__}, unknown={error.outcome_unknown}: {error}"
    return str(getattr(found, "id", found))


async def greeting(session: Session) -> str:
    async with session.open_vnc() as tunnel:
        return (await tunnel.read()).decode().strip()


async def each_kind(cloud: VCloud, *, timeout: float, blocked: float) -> dict[str, str]:
    """One call of each kind, all at once, while the loop stands still."""
    async with VCloud.from_env() as before:
        session = await before.streamspace.sessions.create("admin", "firefox-browser")
        session_id = (await session.wait_until("running", poll=0.005)).id
    machines = cloud.computers.with_options(timeout=timeout).machines
    in_time = cloud.computers.with_options(deadline=timeout).machines
    await machines.list().first()
    space = cloud.streamspace.with_options(timeout=timeout)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    async def buy() -> str:
        (machine,) = await machines.create(1, region="dublin")
        return machine.id

    async def buy_by_deadline() -> str:
        (machine,) = await in_time.create(1, region="dublin")
        return machine.id

    async def buy_in_bulk() -> str:
        make = cloud.computers.machines.create
        run = cloud.bulk(range(4), lambda _: make(1, region="dublin"), deadline=timeout)
        found = []
        async with run:
            async for outcome in run:
                made = outcome.result
                found.append(made[0].id if made else f"{outcome.status}: {outcome.error}")
        return " ".join(found)

    async def log_in() -> str:
        # The first call of this client, and so a login before it.
        return str(len(await space.templates.list().all()) > 0)

    works = {
        "create": buy(),
        "create with a deadline": buy_by_deadline(),
        "bulk with a deadline": buy_in_bulk(),
        "launch": cloud.desktops.with_options(timeout=timeout).launch(),
        "read": machines.ref("100").refresh(),
        "login": log_in(),
    }
    tasks = {name: asyncio.create_task(becomes(work)) for name, work in works.items()}
    await asyncio.sleep(UNDER_WAY)
    said = await stopped(tasks, blocked)
    # The handshake needs the login.
    tunnel = asyncio.create_task(becomes(greeting(await space.sessions.get(session_id))))
    await asyncio.sleep(UNDER_WAY)
    return said | await stopped({"handshake": tunnel}, blocked)


async def stopped(tasks: dict[str, asyncio.Task[str]], blocked: float) -> dict[str, str]:
    """What they said, after the loop stood still meanwhile: here, or by a signal."""
    if blocked:
        time.sleep(blocked)  # noqa: ASYNC251 - what blocks the loop
    else:
        sys.stdout.write("sent\n")
        sys.stdout.flush()
    return {name: await task for name, task in tasks.items()}


async def bulk(
    cloud: VCloud, *, count: int, concurrency: int, timeout: float | None, blocked: float
) -> dict[str, Any]:
    """So many creates at once. With ``blocked``, the loop is blocked in the middle, too."""
    client = cloud.computers.with_options(timeout=timeout, retry=RetryPolicy(attempts=6))
    outcomes: dict[str, int] = {}
    ids: list[str] = []
    errors: list[str] = []
    attempts = 0
    async with cloud.bulk(
        range(count),
        lambda _: client.machines.create(1, region="dublin"),
        concurrency=concurrency,
    ) as run:
        async for outcome in run:
            outcomes[outcome.status] = outcomes.get(outcome.status, 0) + 1
            attempts += outcome.attempts
            if outcome.status is OutcomeStatus.DONE and outcome.result:
                ids.extend(machine.id for machine in outcome.result)
            else:
                errors.append(str(outcome.error))
            if blocked and sum(outcomes.values()) == count // 2:
                time.sleep(blocked)  # noqa: ASYNC251 - what blocks the loop
    return {"outcomes": outcomes, "ids": ids, "attempts": attempts, "errors": errors}


async def main(what: str, options: dict[str, Any]) -> None:
    async with VCloud.from_env() as cloud:
        works: dict[str, Callable[..., Awaitable[Any]]] = {"each_kind": each_kind, "bulk": bulk}
        report = await works[what](cloud, **options)
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    # Not of the tests alone: an optional loop.
    from tests.integration.each_loop import LOOPS

    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main(sys.argv[2], json.loads(sys.argv[3])))
