"""A program that uses the SDK while its process is stopped, or its loop is blocked.

``python -m tests.integration.frozen_client <loop> <what> <JSON of options>``. Its environment names
an emulator in another process. It prints ``sent`` when its requests are in flight, and a report in
JSON at its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from vcloud import OutcomeStatus, RetryPolicy, VCloud, VCloudError
from vcloud.providers.computers.machines import Machines
from vcloud.providers.streamspace.sessions import Session

#: Requests are in flight after so many seconds. The answers take longer.
IN_FLIGHT = 0.1


async def outcome_of(work: Awaitable[Any]) -> str:
    """The outcome of a call in a few words."""
    try:
        found = await work
    except VCloudError as error:
        return f"{type(error).__name__}, unknown={error.outcome_unknown}: {error}"
    return str(getattr(found, "id", found))


async def greeting(session: Session) -> str:
    async with session.open_vnc() as tunnel:
        return (await tunnel.read()).decode().strip()


async def running_session() -> str:
    """Start a session; its id."""
    async with VCloud.from_env() as cloud:
        session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
        return (await session.wait_until("running", poll=0.005)).id


async def buy(machines: Machines) -> str:
    (machine,) = await machines.create(1, region="dublin")
    return machine.id


async def buy_in_bulk(cloud: VCloud, deadline: float) -> str:
    make = cloud.computers.machines.create
    run = cloud.bulk(range(4), lambda _: make(1, region="dublin"), deadline=deadline)
    found = []
    async with run:
        async for outcome in run:
            made = outcome.result
            found.append(made[0].id if made else f"{outcome.status}: {outcome.error}")
    return " ".join(found)


async def each_kind(cloud: VCloud, *, timeout: float, blocked: float) -> dict[str, str]:
    """One call of each kind, all at once, while the loop is blocked."""
    session_id = await running_session()
    machines = cloud.computers.with_options(timeout=timeout).machines
    in_time = cloud.computers.with_options(deadline=timeout).machines
    await machines.list().first()
    space = cloud.streamspace.with_options(timeout=timeout)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    async def log_in() -> str:
        # This is the client's first call, so a login comes before it.
        return str(len(await space.templates.list().all()) > 0)

    works = {
        "create": buy(machines),
        "create with a deadline": buy(in_time),
        "bulk with a deadline": buy_in_bulk(cloud, timeout),
        "launch": cloud.desktops.with_options(timeout=timeout).launch(),
        "read": machines.ref("100").refresh(),
        "login": log_in(),
    }
    tasks = {name: asyncio.create_task(outcome_of(work)) for name, work in works.items()}
    await asyncio.sleep(IN_FLIGHT)
    said = await stopped(tasks, blocked)
    # The handshake needs the login.
    tunnel = asyncio.create_task(outcome_of(greeting(await space.sessions.get(session_id))))
    await asyncio.sleep(IN_FLIGHT)
    return said | await stopped({"handshake": tunnel}, blocked)


async def stopped(tasks: dict[str, asyncio.Task[str]], blocked: float) -> dict[str, str]:
    """The results of tasks after a time without the loop: blocked here, or stopped by a signal."""
    if blocked:
        time.sleep(blocked)  # noqa: ASYNC251 - what blocks the loop
    else:
        sys.stdout.write("sent\n")
        sys.stdout.flush()
    return {name: await task for name, task in tasks.items()}


async def bulk(
    cloud: VCloud, *, count: int, concurrency: int, timeout: float | None, blocked: float
) -> dict[str, Any]:
    """A bulk run of creates. With ``blocked``, the loop is blocked in the middle."""
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
    from tests.integration.each_loop import LOOPS

    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main(sys.argv[2], json.loads(sys.argv[3])))
