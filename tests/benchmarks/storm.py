"""The outcomes of ten thousand requests to all four providers; every fifth one meets a fault.

    python -m tests.benchmarks.storm [--rounds 1]

200 requests are in flight at once. Half of them read, half create or start something. The service
is the emulator, in a process of its own, with faults from a random seed: resets before and after
the work, stalls, truncated answers, 429, 5xx before and after the work, error pages of proxies,
invalid answers, delays. Afterwards every call is compared with the service's record of calls: what
a "done" call did is there, once; what a "not done" call would have done is not there; any other
call must report an unknown outcome. Every difference is an error here. The time is measured without
tracing memory. The memory that Python has allocated, with nothing in flight, is measured in a
second run.
"""

from __future__ import annotations

from tests.benchmarks.harness import Options, Table, run
from tests.faults.storm_calls import AT_ONCE, DEADLINE, SHARE, Result, check

ROUNDS = 1
REQUESTS, FIRST = 10_000, 2_000
MB = 1e6


def rows(timed: Result, traced: Result, first: int) -> dict[str, str]:
    """The rows of the table."""
    fates, wrong = timed.fates, sum(timed.faults.values())
    before, after = traced.held
    return {
        "requests sent": f"{timed.calls}, of which {wrong} ({wrong / timed.calls:.0%}) went wrong",
        "done / in doubt / not done": " / ".join(
            str(fates.get(end, 0)) for end in ("done", "in doubt", "not done")
        ),
        "lost, doubled, untold": str(len(timed.flaws)),
        "time": f"{timed.seconds:.1f} s, {timed.requests / timed.seconds:.0f} calls a second",
        "longest call": f"{timed.longest:.1f} s (deadline {DEADLINE:g} s)",
        f"memory after {first}": f"{before / MB:.2f} MB",
        f"memory after {traced.requests}": f"{after / MB:.2f} MB, "
        f"{(after - before) / (traced.requests - first):.0f} bytes for each call",
    }


async def main(chosen: Options) -> None:
    """Run the storm, and print."""
    requests, first = chosen.pick(REQUESTS, 250), chosen.pick(FIRST, AT_ONCE)
    for _ in range(chosen.rounds):
        table = Table(
            f"{requests} calls, {AT_ONCE} at once, {SHARE:.0%} of all requests go wrong", ("storm",)
        )
        timed = await check(requests, first, measured=False)
        traced = await check(requests, first)
        for name, said in rows(timed, traced, first).items():
            table.row(name, {"storm": said})


if __name__ == "__main__":
    run(main, __doc__, ROUNDS)
