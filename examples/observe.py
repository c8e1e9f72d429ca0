"""See what a program sends, and what it waits for.

It prints a line for each attempt, one for each call that waits for more than a second, and a
summary at the end.

Runs as it is against the embedded emulator, which fails now and then. With VCLOUD_COMPUTERS_KEY and VCLOUD_COMPUTERS_SECRET set
it watches the real service, of which it only reads.

    python examples/observe.py
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack

from attrs import define, field

from vcloud import Attempt, Observer, Queued, VCloud
from vcloud.emulator import Emulator, Fault


@define(eq=False)
class Summary(Observer):
    """Counts, for each operation, the attempts, what made them repeat, and how long they took.

    Of calls that wait for more than a second it counts what they wait for.
    """

    attempts: Counter[str] = field(factory=Counter)
    failures: Counter[str] = field(factory=Counter)
    reasons: Counter[str] = field(factory=Counter)
    paused: float = 0.0
    slowest: dict[str, float] = field(factory=dict)
    under_way: int = 0
    most_under_way: int = 0
    waits: Counter[str] = field(factory=Counter)

    def queued(self, event: Queued) -> None:
        """Say what the call waits for, and until when."""
        until = "" if event.until is None else f" until {event.until:%H:%M:%S} UTC"
        print(f"  {event.operation} waits for: {event.reason}{until} ({event.waiting} in all)")
        self.waits[event.reason] += 1

    def started(self, attempt: Attempt) -> None:  # noqa: ARG002 - only that there is one counts
        """One more is under way."""
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

    def ended(self, attempt: Attempt) -> None:
        """Count it, and keep the longest time."""
        self.under_way -= 1
        name = f"{attempt.provider}: {attempt.operation}"
        self.attempts[name] += 1
        self.failures[name] += attempt.error is not None
        self.slowest[name] = max(self.slowest.get(name, 0.0), attempt.duration or 0.0)

    def retried(self, attempt: Attempt) -> None:
        """Note what made it necessary."""
        self.reasons[f"{attempt.status or 'no answer'} {type(attempt.error).__name__}"] += 1
        self.paused += attempt.retry_in or 0.0

    def report(self) -> None:
        """Print the tables."""
        print(f"\n  {'attempts':>8}  {'failed':>6}  {'slowest':>9}  operation")
        for name, count in self.attempts.most_common():
            print(
                f"  {count:>8}  {self.failures[name]:>6}  {self.slowest[name] * 1000:>6.0f} ms  {name}"
            )
        print(
            f"\n  {self.reasons.total()} sent again, {self.paused:.1f} s of pauses in all, {self.most_under_way} at once at most"
        )
        for reason, count in self.reasons.most_common():
            print(f"  {count:>8}  {reason}")
        print(f"\n  {self.waits.total()} waits of more than a second")
        for reason, count in self.waits.most_common():
            print(f"  {count:>8}  {reason}")


async def main() -> None:
    """Read a fleet while the service is not at its best."""
    # The log of attempts is below "vcloud", at DEBUG; "vcloud.computers" alone would be one provider's.
    logging.basicConfig(stream=sys.stdout, format="  %(levelname)s %(name)s  %(message)s")
    logging.getLogger("vcloud").setLevel(logging.DEBUG)

    summary = Summary()
    async with AsyncExitStack() as stack:
        if "VCLOUD_COMPUTERS_KEY" in os.environ:
            cloud = await stack.enter_async_context(VCloud.from_env(observers=[summary]))
        else:
            emulator = await stack.enter_async_context(Emulator(machines=8))
            emulator.faults.add("GET */machines", Fault.server_error(503))
            emulator.faults.add("GET */machines/*", Fault.reset_before(), times=2, skip=1, every=3)
            emulator.faults.add("GET */machines/*", Fault.too_many(retry_after=2), skip=6)
            cloud = await stack.enter_async_context(
                VCloud(**emulator.endpoints(), observers=[summary])
            )
        print("What is sent:")
        page = await anext(cloud.computers.machines.list(per_page=8).pages())
        await asyncio.gather(*[machine.refresh() for machine in page.items])
    print(f"\n{len(page.items)} machines were read, twice, and no failure reached this program:")
    summary.report()


if __name__ == "__main__":
    asyncio.run(main())
