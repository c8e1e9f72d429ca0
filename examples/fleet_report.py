"""What there is on all providers, and what it costs: asked for at once, shown as a table, kept as CSV.

Runs as it is against the embedded emulator, and against the real services that the environment configures (VCLOUD_*). It
only reads. A provider that does not answer is named below the table, and makes the exit status 1.

    python examples/fleet_report.py --csv fleet.csv
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from vcloud import Instance, VCloud, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine
from vcloud.providers.streams import StreamMachine

AHEAD = 8
"""Pages that are read ahead on each provider."""


class Row(NamedTuple):
    """One instance. Hours and cost are None where its provider does not say."""

    provider: str
    region: str
    state: str
    id: str
    name: str
    started_at: datetime | None
    hours_left: Decimal | None
    cost: Decimal | None


def row(instance: Instance) -> Row:
    """An instance, with what only its own provider knows."""
    hours_left = cost = None
    if isinstance(instance.resource, Machine):
        left = instance.resource.remaining_usage
        hours_left = None if left is None else Decimal(left.total_seconds()) / 3600
    elif isinstance(instance.resource, StreamMachine):
        cost = instance.resource.cost
    region, state = str(instance.region or ""), str(instance.state)
    return Row(
        instance.provider,
        region,
        state,
        instance.id,
        instance.name,
        instance.started_at,
        hours_left,
        cost,
    )


def total(values: Iterable[Decimal | None]) -> str:
    """The sum of those that are known; a dash where none is."""
    known = [value for value in values if value is not None]
    return f"{sum(known):,.2f}" if known else "-"


def table(rows: Iterable[Row]) -> str:
    """How many there are, and their sums: by provider, region and state, then for each provider, then for all."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for one in rows:
        region = one.region or "-"
        for key in ((one.provider, region, one.state), (one.provider, "", ""), ("", "", "")):
            groups.setdefault(key, []).append(one)

    def line(key: tuple[str, str, str]) -> str:
        found = groups[key]
        provider, region, state = key if key[1] else (f"{key[0] or 'everything'}, in all", "", "")
        hours, cost = total(one.hours_left for one in found), total(one.cost for one in found)
        where = printable(f"{provider:<22}{region:<18}{state:<13}")
        return f"{where}{len(found):>8,}{hours:>13}{cost:>11}"

    # What has no region or no name is a sum, and stands below what it sums up.
    order = sorted(groups, key=lambda key: (not key[0], key[0], not key[1], key))
    heading = (
        f"{'provider':<22}{'region':<18}{'state':<13}{'count':>8}{'hours left':>13}{'cost ($)':>11}"
    )
    return "\n".join([heading, "-" * len(heading), *map(line, order)])


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet may take for a formula."""


def cell(text: str) -> str:
    """A text from outside as a cell: an apostrophe makes a text of what would be a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_text(rows: Iterable[Row]) -> str:
    """One line for each instance; empty where a value is not known."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Row._fields)
    for one in rows:
        hours_left = None if one.hours_left is None else round(one.hours_left, 2)
        writer.writerow(
            [
                *(cell(text) for text in one[:5]),
                one.started_at and one.started_at.isoformat(),
                hours_left,
                one.cost,
            ]
        )
    return text.getvalue()


async def survey(cloud: VCloud) -> tuple[list[Row], Mapping[str, VCloudError]]:
    """Everything on every provider, sorted by provider; and which of them did not answer."""
    found = cloud.instances().prefetch(AHEAD)
    rows = [row(instance) async for instance in found]
    return sorted(rows, key=lambda one: one.provider), found.errors


async def furnish(cloud: VCloud) -> None:
    """Let something run on each of the emulated providers."""
    application = await cloud.streams.applications.list().first()
    assert application is not None
    stream = await cloud.streams.streams.list(application.id).first()
    assert stream is not None
    await asyncio.gather(
        cloud.computers.machines.ref("100").start(),
        cloud.computers.machines.ref("119").start(),
        *[stream.start_machine("dublin") for _ in range(5)],
        *[cloud.streamspace.sessions.create("admin", "firefox-browser") for _ in range(3)],
        *[cloud.desktops.launch() for _ in range(2)],
    )


async def report() -> tuple[list[Row], Mapping[str, VCloudError]]:
    """Survey what is configured, or else the emulator."""
    async with AsyncExitStack() as stack:
        if any(name.startswith("VCLOUD_") for name in os.environ):
            cloud = await stack.enter_async_context(VCloud.from_env())
        else:
            emulator = await stack.enter_async_context(Emulator(machines=1000))
            cloud = await stack.enter_async_context(VCloud(**emulator.endpoints()))
            await furnish(cloud)
            emulator.clock.advance(90 * 60)
        return await survey(cloud)


def main() -> int:
    """Print the table, write the CSV, and say by the exit status whether everybody answered."""
    parser = argparse.ArgumentParser(
        description="What there is on all providers, and what it costs."
    )
    parser.add_argument(
        "--csv", type=Path, metavar="PATH", help="also write every instance to this file"
    )
    path: Path | None = parser.parse_args().csv

    begin = perf_counter()
    rows, errors = asyncio.run(report())
    print(table(rows))
    print(f"\n{len(rows):,} instances, in {perf_counter() - begin:.1f} s")
    if path is not None:
        # Half an emoji, which JSON can hold and UTF-8 cannot, is written as its escape.
        path.write_text(csv_text(rows), encoding="utf-8", errors="backslashreplace", newline="")
        print(f"each of them is in {path}")
    for provider, error in errors.items():
        print(f"{provider} did not answer, and is missing here: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
