"""See what a program sends, and what it waits for.

It prints a line for each attempt, one for each call that waits for more than a second, and a
summary at the end.

By default it uses the embedded emulator, which fails now and then. Set VCLOUD_COMPUTERS_KEY and
VCLOUD_COMPUTERS_SECRET to use the real service. It only reads.

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
    """Counts the attempts of each operation, the reasons for retries, and the times.

    It also counts what calls wait for, if they wait for more than a second.
    """

    attempts: Counter[str] = field(factory=Counter[str])
    failures: Counter[str] = field(factory=Counter[str])
    reasons: Counter[str] = field(factory=Counter[str])
    paused: float = 0.0
    slowest: dict[str, float] = field(factory=dict[str, float])
    in_flight: int = 0
    most_in_flight: int = 0
    waits: Counter[str] = field(factory=Counter[str])

    def queued(self, event: Queued) -> None:
        """Print what the call waits for, and until when."""
        until = "" if event.until is None else f" until {event.until:%H:%M:%S} UTC"
        print(f"  {event.operation} waits for: {event.reason}{until} ({event.waiting} in all)")
        self.waits[event.reason] += 1

    def started(self, attempt: Attempt) -> None:  # noqa: ARG002 - it is only counted
        """Count the attempts in flight."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def ended(self, attempt: Attempt) -> None:
        """Count the attempt, and keep the longest time."""
        self.in_flight -= 1
        name = f"{attempt.provider}: {attempt.operation}"
        self.attempts[name] += 1
        self.failures[name] += attempt.error is not None
        self.slowest[name] = max(self.slowest.get(name, 0.0), attempt.duration or 0.0)

    def retried(self, attempt: Attempt) -> None:
        """Count the reason for the retry."""
        self.reasons[f"{attempt.status or 'no answer'} {type(attempt.error).__name__}"] += 1
        self.paused += attempt.retry_in or 0.0

    def report(self) -> None:
        """Print the tables."""
        print(f"\n  {'attempts':>8}  {'failed':>6}  {'slowest':>9}  operation")
        for name, count in self.attempts.most_common():
            print(
                f"  {count:>8}  {self.failures[name]:>6}  "
                f"{self.slowest[name] * 1000:>6.0f} ms  {name}"
            )
        print(
            f"\n  {self.reasons.total()} retries, {self.paused:.1f} s of pauses in all, "
            f"at most {self.most_in_flight} attempts in flight"
        )
        for reason, count in self.reasons.most_common():
            print(f"  {count:>8}  {reason}")
        print(f"\n  {self.waits.total()} waits of more than a second")
        for reason, count in self.waits.most_common():
            print(f"  {count:>8}  {reason}")


async def main() -> None:
    """Read machines from a service that fails now and then."""
    # The attempts of all providers are logged below "vcloud", at DEBUG; those of one provider below
    # "vcloud.computers", for example.
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
    print(f"\n{len(page.items)} machines were read, twice, and this program saw no failure:")
    summary.report()


if __name__ == "__main__":
    asyncio.run(main())
