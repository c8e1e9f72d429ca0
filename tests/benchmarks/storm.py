"""Ten thousand requests to all four providers, 200 at once, of which every fifth goes wrong: what became of them.

    python -m tests.benchmarks.storm [--rounds 1]

Half of them look, half create or start something. The service is the emulator, in a process of its own, with faults drawn from a
seed: resets before and after the work, stalls, cut answers, 429, 5xx before and after the work, pages of proxies, nonsense,
delays. Afterwards every call is held against the service's books: a call that was told "done" is there, once; one that was told
"not done" is not; one that is in doubt says so. Anything that does not add up is an error here. The time is taken without tracing
of memory, the memory (what Python has allocated, with nothing under way) in a second run.
"""

from __future__ import annotations

from tests.benchmarks.harness import Options, Table, run
from tests.faults.storm_calls import AT_ONCE, DEADLINE, SHARE, Result, check

ROUNDS = 1
REQUESTS, FIRST = 10_000, 2_000
MB = 1e6


def rows(timed: Result, traced: Result, first: int) -> dict[str, str]:
    """What there is to say of a storm."""
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
        f"memory after {traced.requests}": f"{after / MB:.2f} MB, {(after - before) / (traced.requests - first):.0f} bytes for each call",
    }


async def main(chosen: Options) -> None:
    """Let it blow, print."""
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
