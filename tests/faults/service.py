"""The service of the storm, in its own process: an emulator with random faults and records.

Its argument is a JSON object (``seed``, ``share``, ``requests``). It prints its addresses and
credentials, and its records for every line of its input. It ends with its input. Every output is
one line of JSON.
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

#: The machine and the session that are read, and the first machine to start.
READ_MACHINE, SESSION, FIRST = "99", "770e8400-e29b-41d4-a716-446655440002", 1000
HOUR: Final = 3600

#: Faults that lose answers, refuse, give unreadable answers, or are late. All are equally likely.
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

#: The end of the path for each kind of POST.
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
    """Add what so many requests need."""
    emulator.streamspace.limits.enabled = False
    emulator.computers.add_machine(id=READ_MACHINE)
    for number in range(requests):
        emulator.computers.add_machine(id=str(FIRST + number))
    (stream,) = emulator.streams.streams.values()
    stream.capacities["dublin"] = requests
    emulator.streamspace.add_session(id=SESSION)
    return emulator


def order(emulator: Emulator, share: float) -> None:
    """Make this share of all requests fail with some fault."""
    # Each rule is drawn independently, and the first that is drawn applies.
    each = 1 - (1 - share) ** (1 / len(FAULTS))
    for fault in FAULTS:
        emulator.faults.add("*", fault, None, probability=each)


def made(emulator: Emulator, requests: int) -> dict[str, list[int] | int]:
    """What each kind of request has made: the numbers of the requests, or else how many."""
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
        # The lifetime is an hour plus the number of the request in milliseconds.
        "desktops.create": [
            round((one.timeout_at - one.created_at - HOUR) * 1000) for one in desktops
        ],
    }


def records(emulator: Emulator, requests: int) -> dict[str, Any]:
    """The number of requests, their faults, what was carried out, and what exists."""
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
            print(json.dumps(records(emulator, requests)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
