"""An agent: it looks at a desktop, decides, acts, and looks again, until it has reached its goal.

What decides is a plain function, the policy. Put a model of your choice behind it: it gets the
picture and what the last step said, and returns an action, a command, or that the goal is reached.

By default this uses the embedded emulator. Set VCLOUD_DESKTOPS_API_KEY to use the real service, and
VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there. It exits with 1 if it misses its goal.

    python examples/agent_loop.py --steps 20 --record steps.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from vcloud import AuthenticationError, InsufficientFundsError, VCloud, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.desktops import Action, ClickMouse, DesktopRef, PressKeys, Scroll, TypeText


@dataclass(frozen=True)
class Goal:
    """A decision: nothing more is to be done, and this is the answer."""

    answer: str


@dataclass(frozen=True)
class Seen:
    """What the policy decides by: the picture (JPEG), and what the last step said."""

    step: int
    picture: bytes
    said: str = ""
    failed: bool = False


Decision = Action | str | Goal  # a text is a command for the desktop's shell
Policy = Callable[[Seen], Decision]


@dataclass(frozen=True)
class Step:
    """One step, in plain JSON values. What was typed is left out, because it may be a password."""

    number: int
    action: dict[str, object]
    said: str
    failed: bool = False
    outcome_unknown: bool = False


@dataclass
class Record:
    """What an agent did. Without the goal, `answer` is None."""

    steps: list[Step] = field(default_factory=list[Step])
    answer: str | None = None


async def agent(desktop: DesktopRef, policy: Policy, *, steps: int = 20) -> Record:
    """Look, decide and act until the goal, the last step, or three failures in a row."""
    record, said, failures = Record(), "", 0
    for number in range(1, steps + 1):
        action: dict[str, object] = {"type": "look"}
        try:
            picture = (await desktop.screenshot()).data
            # In a thread, because a policy that asks a model takes its time.
            decision = await asyncio.to_thread(policy, Seen(number, picture, said, failures > 0))
            if isinstance(decision, Goal):
                record.answer = decision.answer
                break
            if isinstance(decision, str):
                action = {"type": "bash", "command": decision}
                said = await desktop.bash(decision)
            else:
                action = decision.to_dict()
                said = (await desktop.perform(decision)).output or ""
            failures = 0
            record.steps.append(Step(number, action, said))
        except (AuthenticationError, InsufficientFundsError):
            raise  # no other decision can help
        except VCloudError as error:
            # Nothing is repeated blindly: the next picture shows what was done.
            said, failures = error.user_message, failures + 1
            record.steps.append(Step(number, action, said, True, error.outcome_unknown))
        if failures == 3:  # the desktop is gone, or the policy is lost
            break
    return record


WAY: list[Decision] = [ClickMouse(x=500, y=300), TypeText("Good morning\n"), Scroll("down", 3)]


def greet(seen: Seen) -> Decision:
    """A policy that knows its way, and corrects itself when a key has no such name."""
    if seen.failed:
        return PressKeys("ctrl+s")
    if seen.said == "saved":
        return Goal(f"saved in {seen.step - 1} steps")
    if seen.step <= len(WAY):
        return WAY[seen.step - 1]
    return PressKeys("ctrl+save") if seen.step == len(WAY) + 1 else "echo saved"


async def main(arguments: Sequence[str] | None = None, policy: Policy = greet) -> int:
    """Launch a desktop, let the policy use it, and write down what it did."""
    parser = argparse.ArgumentParser(description="An agent that uses a desktop.")
    parser.add_argument("--steps", type=int, default=20, help="it takes at most so many")
    parser.add_argument("--minutes", type=int, default=10, help="the desktop's lifetime")
    parser.add_argument("--record", type=Path, help="a file for the steps, one JSON object a line")
    options = parser.parse_args(arguments)
    async with AsyncExitStack() as stack:
        if "VCLOUD_DESKTOPS_API_KEY" not in os.environ:
            emulator = await stack.enter_async_context(Emulator(speed=60))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
        elif os.environ.get("VCLOUD_EXAMPLE_BUY") == "1":
            cloud = await stack.enter_async_context(VCloud.from_env())
        else:
            print("Desktops cost money: set VCLOUD_EXAMPLE_BUY=1 to go on.")
            return 1
        lifetime = timedelta(minutes=options.minutes)
        async with cloud.desktops.launch(lifetime=lifetime) as desktop:
            record = await agent(desktop, policy, steps=options.steps)
    lines = [json.dumps(asdict(step)) for step in record.steps]
    if options.record:
        options.record.write_text("".join(f"{line}\n" for line in lines))
    print(*lines, printable(record.answer or "The goal was not reached."), sep="\n")
    return 0 if record.answer is not None else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
