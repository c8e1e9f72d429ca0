"""The service of the storm, in a process of its own: an emulator with faults on order, and its books at the end.

Started with a JSON object (``seed``, ``share``, ``requests``) as its argument, it prints how to reach it and, for every line that
it is given, its books; it ends with its input. All of it is JSON, on one line each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any, Final

from tests.benchmarks.canned import allow_files
from tests.faults.matrix import acted
from vcloud.emulator import Emulator, Fault

#: The machine, the stream's machine, the session and the desktop's number that are looked at, and the first machine to start.
LOOKED_AT, SESSION, FIRST = "99", "770e8400-e29b-41d4-a716-446655440002", 1000
HOUR: Final = 3600

#: What goes wrong: what loses an answer, what refuses, what answers nonsense, what is late. Each is as likely as the others.
FAULTS: Final = (
    Fault.reset_before(),
    Fault.reset_after(),
    Fault.stall_headers(),
    Fault.stall_body(),
    Fault.truncate(1),
    Fault.too_many(0.05),
    Fault.server_error(500),
    Fault.server_error(503),
    Fault.server_error(504, processed=True),
    Fault.html(502),
    Fault.invalid_json(),
    Fault.delay(0.02),
)

#: How the path ends of each kind of POST.
PATHS: Final = {
    "computers.start": "/start",
    "computers.create": "/organization-management/v1/machines",
    "computers.access": "/access",
    "streams.start": "/start-machine",
    "streams.user": "/app-stream-management/v2/users",
    "streamspace.user": "/api/v1/users",
    "desktops.create": "/v1/desktop",
}


def filled(emulator: Emulator, requests: int) -> Emulator:
    """Make room for as many requests as there will be."""
    emulator.streamspace.limits.enabled = False
    emulator.computers.add_machine(id=LOOKED_AT)
    for number in range(requests):
        emulator.computers.add_machine(id=str(FIRST + number))
    (stream,) = emulator.streams.streams.values()
    stream.capacities["dublin"] = requests
    emulator.streamspace.add_session(id=SESSION)
    return emulator


def order(emulator: Emulator, share: float) -> None:
    """Let this share of all requests go wrong, one way or another."""
    # Each rule draws for itself, and the first that is drawn applies.
    each = 1 - (1 - share) ** (1 / len(FAULTS))
    for fault in FAULTS:
        emulator.faults.add("*", fault, None, probability=each)


def made(emulator: Emulator, requests: int) -> dict[str, list[int] | int]:
    """What is there of each kind: the numbers of the requests that it carries, or, where it carries none, how many."""
    computers, streams, desktops = (
        emulator.computers,
        emulator.streams,
        emulator.desktops.desktops.values(),
    )
    return {
        "computers.start": [
            int(id) - FIRST for id, machine in computers.machines.items() if machine.started
        ],
        "computers.create": len(computers.machines) - requests - 1,
        "computers.access": len(computers.access_links),
        "streams.start": len(streams.machines),
        "streams.user": [
            int((user.email or "").partition("@")[0]) for user in streams.users.values()
        ],
        "streamspace.user": [
            int(name[1:]) for name in emulator.streamspace.users if name[1:].isdecimal()
        ],
        # A lifetime of an hour, and of as many milliseconds more as the request has for its number.
        "desktops.create": [
            round((one.timeout_at - one.created_at - HOUR) * 1000) for one in desktops
        ],
    }


def books(emulator: Emulator, requests: int) -> dict[str, Any]:
    """What came in, what went wrong, what was done by the ledger, and what is there."""
    posts = [call for call in emulator.calls if call.method == "POST"]
    return {
        "calls": len(emulator.calls),
        "faults": Counter(call.fault for call in emulator.calls if call.fault is not None),
        "acts": {
            kind: sum(acted(call) for call in posts if call.path.endswith(end))
            for kind, end in PATHS.items()
        },
        "made": made(emulator, requests),
    }


async def main(seed: int, share: float, requests: int) -> None:
    """Serve until the input ends."""
    allow_files()
    async with filled(Emulator(fault_seed=seed), requests) as emulator:
        order(emulator, share)
        print(json.dumps(emulator.env()), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(books(emulator, requests)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
