"""A client that is stopped or blocked in the middle of something; see ``test_standing_still.py``.

``python -m tests.integration.standing_still NAME --how blocked|stopped --seconds 1 …``
It prints ``still`` before the pause, and a line of JSON at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define

from tests.integration.each_loop import LOOPS
from vcloud import (
    APIKeyAuth,
    Attempt,
    BearerAuth,
    Endpoint,
    HMACAuth,
    Observer,
    RetryPolicy,
    VCloud,
    VCloudError,
)


@define
class Pause(Observer):
    """Stops the process, or blocks the loop, when it is called."""

    seconds: float
    how: str
    #: How many iterations of the loop there are between the scenario's action and the pause.
    iterations: int
    #: How many more answers there are before the pause; None: any number.
    answers: int | None = None
    #: Whether the pause begins after a stop was sent.
    with_stop: bool = False

    def __call__(self) -> None:
        print("still", flush=True)
        if self.how == "blocked":
            time.sleep(self.seconds)
            return
        wakes = f"sleep {self.seconds}; kill -CONT {os.getpid()}"
        with subprocess.Popen(["/bin/sh", "-c", wakes]):
            os.kill(os.getpid(), signal.SIGSTOP)

    def soon(self) -> None:
        """Pause after so many iterations, from now on or from when a stop is sent."""
        if self.with_stop:
            return
        if self.iterations > 0:
            self.iterations -= 1
            asyncio.get_running_loop().call_soon(self.soon)
        else:
            self()

    def started(self, attempt: Attempt) -> None:
        if self.with_stop and attempt.path.endswith("/stop"):
            self.with_stop = False
            self.soon()

    def ended(self, attempt: Attempt) -> None:
        if self.answers is not None:
            self.answers -= 1
            if self.answers == 0:
                asyncio.get_running_loop().call_soon(self.soon)


def client(pause: Pause, **options: Any) -> VCloud:
    """A client of the emulator in the environment."""
    given = os.environ
    hmac = {
        name: HMACAuth(given[f"VCLOUD_{name}_KEY"], given[f"VCLOUD_{name}_SECRET"])
        for name in ("STREAMS", "COMPUTERS")
    }
    login = BearerAuth.login(
        given["VCLOUD_STREAMSPACE_USERNAME"], given["VCLOUD_STREAMSPACE_PASSWORD"]
    )
    auths = {**hmac, "STREAMSPACE": login}
    auths["DESKTOPS"] = APIKeyAuth(given["VCLOUD_DESKTOPS_API_KEY"])  # type: ignore[assignment]
    endpoints: dict[str, Any] = {
        name.lower(): Endpoint(
            given[f"VCLOUD_{name}_URL"], auth=auth, retry=RetryPolicy(base=0.01), **options
        )
        for name, auth in auths.items()
    }
    return VCloud(**endpoints, observers=[pause])


# -- cleanups ------------------------------------------------------------------------------------


async def _holding(cloud: VCloud) -> tuple[asyncio.Task[None], str]:
    """A task in the block of a launch, and the id of its desktop."""
    entered: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hold() -> None:
        async with cloud.desktops.launch(poll=0.01) as desktop:
            entered.set_result(desktop.id)
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    return task, await entered


async def cancelled_block(cloud: VCloud, pause: Pause) -> None:
    """The block of a launch is cancelled."""
    task, _ = await _holding(cloud)
    task.cancel()
    pause.soon()
    await _cancelled(task)


async def stop_in_queue(cloud: VCloud, pause: Pause) -> None:
    """The same, while the only slot is in use."""
    task, id = await _holding(cloud)
    # The emulator answers slowly for this desktop.
    other = asyncio.create_task(cloud.desktops.ref(id).refresh())
    await asyncio.sleep(0.1)
    task.cancel()
    pause.soon()
    await _cancelled(task)
    await other


async def closed_client(cloud: VCloud, pause: Pause) -> None:
    """The client is closed while a block holds a desktop."""
    task, _ = await _holding(cloud)
    pause.soon()
    try:
        await cloud.aclose()
    finally:
        task.cancel()
        await _cancelled(task)


async def cancelled_connect(cloud: VCloud, pause: Pause) -> None:
    """A connect that has started a machine is cancelled."""
    task = asyncio.create_task(cloud.streams.streams.ref("1381").connect("dublin", poll=0.01))
    await asyncio.sleep(0.3)
    task.cancel()
    pause.soon()
    await _cancelled(task)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    try:
        await task
    except asyncio.CancelledError:
        return
    raise AssertionError("it was cancelled, and did not raise CancelledError")


# -- waits ---------------------------------------------------------------------------------------

WAIT: dict[str, Any] = {"timeout": 0.5, "poll": 0.05}


async def machine(cloud: VCloud, pause: Pause) -> None:
    """A machine of Computers boots."""
    ref = cloud.computers.machines.ref("100")
    await ref.start()
    pause.answers = 2
    await ref.wait_until("ready", **WAIT)


async def session(cloud: VCloud, pause: Pause) -> None:
    """A session of StreamSpace starts."""
    session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
    pause.answers = 2
    await session.wait_until("running", **WAIT)


async def stream_machine(cloud: VCloud, pause: Pause) -> None:
    """A machine of Streams boots."""
    started = await cloud.streams.streams.ref("1381").start_machine("dublin")
    pause.answers = 2
    await started.wait_until("available", **WAIT)


async def launch(cloud: VCloud, pause: Pause) -> None:
    """A launch waits for its desktop."""
    pause.answers = 3
    async with cloud.desktops.launch(wait_timeout=0.5, poll=0.05) as desktop:
        await desktop.refresh()


async def connect(cloud: VCloud, pause: Pause) -> None:
    """A connect waits for the machine that it started."""
    pause.answers = 5
    await cloud.streams.streams.ref("1381").connect("dublin", **WAIT)


Scenario = Callable[[VCloud, Pause], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        cancelled_block,
        stop_in_queue,
        closed_client,
        cancelled_connect,
        machine,
        session,
        stream_machine,
        launch,
        connect,
    )
}


async def main(scenario: Scenario, pause: Pause, options: dict[str, Any]) -> None:
    try:
        async with client(pause, **options) as cloud:
            await scenario(cloud, pause)
    except VCloudError as error:
        notes = getattr(error, "__notes__", ())
        print(json.dumps({"failed": "\n".join([f"{type(error).__name__}: {error}", *notes])}))
    else:
        print(json.dumps({"failed": None}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--how", choices=["blocked", "stopped"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--iterations", type=int, default=0)
    parser.add_argument("--with-stop", action="store_true")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--options", type=json.loads, default={})
    found = parser.parse_args()
    pause = Pause(found.seconds, found.how, found.iterations, with_stop=found.with_stop)
    with asyncio.Runner(loop_factory=LOOPS[found.loop]) as runner:
        runner.run(main(SCENARIOS[found.scenario], pause, found.options))
    sys.exit(0)
