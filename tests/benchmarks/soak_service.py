"""The service of the soak test: an emulator with a fast clock and with faults, in its own process.

Its argument is the speed of the clock. It prints its environment variables as JSON on one line, and
ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Final

from tests.benchmarks.canned import allow_files
from vcloud.emulator import Emulator, Fault

#: The machine and the session that are fetched.
MACHINE, SESSION = "100", "770e8400-e29b-41d4-a716-446655440002"
MACHINES: Final = 40
#: Each fault affects one of this many requests.
ONE_IN: Final = 200
FAULTS: Final = (
    Fault.reset_before(),
    Fault.reset_after(),
    Fault.stall_headers(),
    Fault.stall_body(),
    Fault.truncate(1),
    Fault.too_many(0.05),
    Fault.server_error(503),
    Fault.server_error(504, processed=True),
    Fault.html(502),
    Fault.invalid_json(),
    Fault.delay(0.02),
    Fault.redirect(status=307),
)


async def main(speed: float) -> None:
    """Serve until the standard input is closed."""
    allow_files()
    emulator = Emulator(
        machines=MACHINES,
        speed=speed,
        rate_limits=False,
        keep_calls=100,
        fault_seed=1,
        balance=10**9,
    )
    (stream,) = emulator.streams.streams.values()
    stream.capacities["dublin"] = 10**6
    emulator.streamspace.add_session(id=SESSION)
    async with emulator:
        for fault in FAULTS:
            emulator.faults.add("*", fault, None, probability=1 / ONE_IN)
        print(json.dumps(emulator.env()), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
