"""Many concurrent creates behind each gateway, while a tenth of their answers is lost.

Afterwards each call is compared with what the service has: none was made twice, each whose answer
was lost has an unknown outcome, and each that is reported as done was done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from tests.gateways.clients import behind, creates, done
from tests.gateways.programs import Gateway
from tests.gateways.setups import Setup
from vcloud import VCloud, VCloudError
from vcloud.emulator import Emulator, Fault

HOUR: Final = timedelta(hours=1)
AT_ONCE: Final = 20
COUNTS: Final = [150, pytest.param(1000, marks=pytest.mark.long)]

Make = Callable[[VCloud, int], Awaitable[object]]

#: How each kind is created. Each create carries the number of its call, except for machines, which
#: are only counted.
MAKES: Final[dict[str, Make]] = {
    "machine": lambda cloud, number: cloud.computers.machines.create(1, region="dublin"),
    "desktop": lambda cloud, number: cloud.desktops.launch(HOUR + timedelta(milliseconds=number)),
    "session": lambda cloud, number: cloud.streamspace.sessions.create(
        "admin", "firefox-browser", tags=[str(number)]
    ),
}
ROUTES: Final = ("POST */machines", "POST */v1/desktop", "POST */v1/sessions")
#: The request is carried out, and then the answer is reset, cut off, or never sent.
LOSSES: Final = (Fault.reset_after(), Fault.truncate(1), Fault.stall_headers())


def there(emulator: Emulator) -> Counter[tuple[str, int]]:
    """What the service has, by the numbers of the calls that created it."""
    machines = len(emulator.computers.machines)
    return Counter(
        [("machine", 0)] * machines
        + [
            ("desktop", round((one.timeout_at - one.created_at - HOUR.total_seconds()) * 1000))
            for one in emulator.desktops.desktops.values()
        ]
        + [
            ("session", int(tag))
            for one in emulator.streamspace.sessions.values()
            for tag in one.tags
            if tag.isdecimal()
        ]
    )


async def ends(
    cloud: VCloud, kinds: list[str], count: int
) -> dict[tuple[str, int], VCloudError | None]:
    """Make so many creates, some of them concurrently; return how each call ended."""
    found: dict[tuple[str, int], VCloudError | None] = {}
    numbers = iter(range(1, count + 1))

    async def work() -> None:
        for number in numbers:
            kind = kinds[number % len(kinds)]
            try:
                await MAKES[kind](cloud, number)
            except VCloudError as error:
                found[kind, number] = error
            else:
                found[kind, number] = None

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return found


@pytest.mark.parametrize("count", COUNTS)
async def test_lost_answers_are_reported_as_unknown_and_nothing_is_made_twice(
    count: int, gateway: Gateway, emulator: Emulator
) -> None:
    for agent in emulator.streamspace.agents.values():
        agent.max_sessions = 10**6
    every = 10 * len(LOSSES)
    rules = [
        emulator.faults.add(route, loss, times=None, every=every, skip=10 * turn)
        for route in ROUTES
        for turn, loss in enumerate(LOSSES)
    ]
    before = there(emulator)
    async with behind(emulator, gateway.urls[Setup.SHORT_TIMEOUTS]) as cloud:
        calls = await ends(cloud, list(MAKES), count)
    made = there(emulator) - before
    lost = sum(rule.hits for rule in rules)

    assert len(calls) == count
    assert lost >= count / 10 - len(rules)
    failures = [error for error in calls.values() if error is not None]
    # On a busy machine the gateway may time out for others, too.
    assert len(failures) >= lost
    assert all(error.outcome_unknown for error in failures)
    # All is there once, because the requests are carried out before their answers are lost.
    machines = sum(kind == "machine" for kind, _ in calls)
    assert made.pop(("machine", 0)) == machines
    assert made == Counter(call for call in calls if call[0] != "machine")
    assert done(creates(emulator)) == len(creates(emulator)) == count


@pytest.mark.parametrize("count", COUNTS)
async def test_signed_creates_are_made_once_although_the_gateway_retries_them(
    count: int, gateway: Gateway, emulator: Emulator
) -> None:
    lost = emulator.faults.add("POST */machines", Fault.reset_after(), times=None, every=10)
    before = len(emulator.computers.machines)
    async with behind(
        emulator, gateway.urls[Setup.RETRIES_UNANSWERED], only=("computers",)
    ) as cloud:
        calls = await ends(cloud, ["machine"], count)
    refused = [call for call in creates(emulator) if call.status == 401]

    assert refused, "the gateway retried nothing"
    failures = [error for error in calls.values() if error is not None]
    # The answer to a retry may be lost, too: one call may have lost several.
    assert count / 20 < len(failures) <= lost.hits
    assert all(error.outcome_unknown for error in failures)
    assert len(emulator.computers.machines) - before == count
