"""All instances of all providers and their costs, fetched at once, as a table and a CSV file.

By default it uses the embedded emulator, otherwise the real services that the environment
configures (VCLOUD_*). It only reads. A provider that does not answer is named below the table, and
makes the exit status 1.

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
"""How many pages are fetched ahead from each provider."""


class Row(NamedTuple):
    """One instance. Hours and cost are None if its provider does not tell them."""

    provider: str
    region: str
    state: str
    id: str
    name: str
    started_at: datetime | None
    hours_left: Decimal | None
    cost: Decimal | None


def row(instance: Instance) -> Row:
    """An instance, with the values that only its own provider has."""
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
    """The sum of the known values; a dash if none is known."""
    known = [value for value in values if value is not None]
    return f"{sum(known):,.2f}" if known else "-"


def table(rows: Iterable[Row]) -> str:
    """The number of instances and their sums.

    For each provider, region and state, then for each provider, then for all.
    """
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

    # A row without a region or a provider is a sum, and is below the rows that it adds up.
    order = sorted(groups, key=lambda key: (not key[0], key[0], not key[1], key))
    heading = (
        f"{'provider':<22}{'region':<18}{'state':<13}{'count':>8}{'hours left':>13}{'cost ($)':>11}"
    )
    return "\n".join([heading, "-" * len(heading), *map(line, order)])


FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""The beginnings of a cell that a spreadsheet may take for a formula."""


def cell(text: str) -> str:
    """A text as a cell. An apostrophe keeps a spreadsheet from taking it for a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_text(rows: Iterable[Row]) -> str:
    """One line for each instance. A cell is empty if its value is not known."""
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
    """All instances, sorted by provider, and the errors of providers that did not answer."""
    found = cloud.instances().prefetch(AHEAD)
    rows = [row(instance) async for instance in found]
    return sorted(rows, key=lambda one: one.provider), found.errors


async def furnish(cloud: VCloud) -> None:
    """Start something on each of the emulated providers."""
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
    """Survey the configured providers, or else the emulator."""
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
    """Print the table, write the CSV file, and return 1 if a provider did not answer."""
    parser = argparse.ArgumentParser(description="All instances of all providers, and their costs.")
    parser.add_argument(
        "--csv", type=Path, metavar="PATH", help="also write every instance to this file"
    )
    path: Path | None = parser.parse_args().csv

    begin = perf_counter()
    rows, errors = asyncio.run(report())
    print(table(rows))
    print(f"\n{len(rows):,} instances, in {perf_counter() - begin:.1f} s")
    if path is not None:
        # A lone surrogate, which JSON may contain and UTF-8 cannot encode, is written as an escape.
        path.write_text(csv_text(rows), encoding="utf-8", errors="backslashreplace", newline="")
        print(f"each of them is in {path}")
    for provider, error in errors.items():
        print(f"{provider} did not answer, and is missing here: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
