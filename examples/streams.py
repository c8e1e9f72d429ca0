"""Vagon Streams: get a visitor onto a machine, and see what that costs.

Runs as it is against the embedded emulator, and against the real service when VCLOUD_STREAMS_KEY and
VCLOUD_STREAMS_SECRET are set; then VCLOUD_EXAMPLE_BUY=1 must say that it may spend money.

    python examples/streams.py
    python examples/streams.py --region oregon --email visitor@example.com --hold 600
"""

from __future__ import annotations

import argparse
import asyncio
import os
from contextlib import AsyncExitStack

from vcloud import ConflictError, Endpoint, HMACAuth, printable
from vcloud.emulator import Emulator
from vcloud.providers.streams import Assignment, Stream, StreamMachine, VagonStreams


def arguments() -> argparse.Namespace:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--region", default="dublin", help="where the machine runs (default: %(default)s)"
    )
    parser.add_argument("--email", help="whom the machine is for")
    parser.add_argument(
        "--hold",
        type=float,
        default=0,
        help="seconds that the visitor gets before the machine is stopped",
    )
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line. What a service says in it neither acts on the terminal nor begins a line."""
    print(printable(line), flush=True)


def row(machine: StreamMachine) -> str:
    """One line of the table."""
    return f"  {machine.id:>7}  {machine.region:<12}{machine.machine_type:<14}{machine.connection_status:<12}{machine.duration!s:>9}  $ {machine.cost}"


async def show(client: VagonStreams) -> Stream | None:
    """Print what there is; return the first stream."""
    first = None
    say("Applications and their streams:")
    async for application in client.applications.list():
        say(f"  {application.name} on {application.performance}, {application.friendly_status}")
        async for stream in client.streams.list(application.id):
            say(
                f"    stream {stream.id}: {stream.resolution}, sound {stream.sound}, turned off after {stream.auto_turn_off_duration}"
            )
            first = first or stream
    return first


async def use(assignment: Assignment, hold: float, emulator: Emulator | None) -> None:
    """The time that the visitor has."""
    if emulator is not None:
        # Nobody opens an emulated link, so the emulator is told that somebody did.
        emulator.streams.visitor_opens(assignment.machine.id)
        emulator.clock.advance(210)
    await asyncio.sleep(hold)


async def main() -> None:
    """The main job: from an account to a visitor's session, and back to nothing that runs."""
    options = arguments()
    async with AsyncExitStack() as stack:
        key, secret, emulator = (
            os.environ.get("VCLOUD_STREAMS_KEY"),
            os.environ.get("VCLOUD_STREAMS_SECRET"),
            None,
        )
        if key and secret:
            endpoint = Endpoint(
                os.environ.get("VCLOUD_STREAMS_URL") or None, auth=HMACAuth(key, secret)
            )
        else:
            # A minute of the service's time passes in half a second.
            emulator = await stack.enter_async_context(Emulator(speed=120))
            endpoint = emulator.endpoints()["streams"]
        client = await stack.enter_async_context(VagonStreams(endpoint))

        stream = await show(client)
        if stream is None or not (emulator or os.environ.get("VCLOUD_EXAMPLE_BUY") == "1"):
            print()
            say("A stream, and VCLOUD_EXAMPLE_BUY=1, are needed to go on: machines cost money.")
            return

        user = await client.users.create(options.email)
        print()
        say(f"Getting visitor {user.id} onto a machine in {options.region} ...")
        try:
            # Starts a machine if none is available, and stops it again if this fails or is interrupted.
            assignment = await stream.connect(
                options.region, user, poll=2 if emulator is None else 0.05
            )
            machine = assignment.machine
            try:
                say(row(machine))
                # Whoever has the link has the machine, so assignment.connection_link is for the visitor and not for a log.
                say(
                    f"           can be opened with a link of {len(assignment.connection_link)} characters"
                )
                await use(assignment, options.hold, emulator)
                say(row(await machine.refresh()))
            finally:
                await machine.stop()
            say(row(await machine.refresh()))

            print()
            say("A mistake, handled:")
            try:
                await machine.stop()
            except ConflictError as error:
                say(f"  {error.meaning} (code {error.code})")
        finally:
            await user.delete()

        print()
        say("The latest visit:")
        visit = await client.sessions.list(stream_id=stream.id, per_page=1).first()
        if visit is not None:
            say(
                f"  {visit.customer} stayed {visit.readable_duration} on {visit.application_name}, sound {visit.audio_state or 'unknown'}"
            )


if __name__ == "__main__":
    asyncio.run(main())
