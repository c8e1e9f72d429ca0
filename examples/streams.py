"""Vagon Streams: connect a visitor to a machine, and see what that costs.

By default it uses the embedded emulator. Set VCLOUD_STREAMS_KEY and VCLOUD_STREAMS_SECRET to use
the real service, and VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there.

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
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--region", default="dublin", help="where the machine runs (default: %(default)s)"
    )
    parser.add_argument("--email", help="the email address of the visitor")
    parser.add_argument(
        "--hold",
        type=float,
        default=0,
        help="seconds that the visitor gets before the machine is stopped",
    )
    return parser.parse_args()


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def row(machine: StreamMachine) -> str:
    """One line of the table."""
    return (
        f"  {machine.id:>7}  {machine.region:<12}{machine.machine_type:<14}"
        f"{machine.connection_status:<12}{machine.duration!s:>9}  $ {machine.cost}"
    )


async def show(client: VagonStreams) -> Stream | None:
    """Print all applications and streams, and return the first stream."""
    first = None
    say("Applications and their streams:")
    async for application in client.applications.list():
        say(f"  {application.name} on {application.performance}, {application.friendly_status}")
        async for stream in client.streams.list(application.id):
            say(
                f"    stream {stream.id}: {stream.resolution}, sound {stream.sound}, "
                f"turned off after {stream.auto_turn_off_duration}"
            )
            first = first or stream
    return first


async def use(assignment: Assignment, hold: float, emulator: Emulator | None) -> None:
    """Wait while the visitor uses the machine."""
    if emulator is not None:
        # Nobody opens an emulated link, so tell the emulator that a visitor did.
        emulator.streams.visitor_opens(assignment.machine.id)
        emulator.clock.advance(210)
    await asyncio.sleep(hold)


async def visit(
    client: VagonStreams, stream: Stream, options: argparse.Namespace, emulator: Emulator | None
) -> None:
    """Connect a visitor to a machine, wait, and stop the machine."""
    user = await client.users.create(options.email)
    print()
    say(f"Connecting visitor {user.id} to a machine in {options.region} ...")
    try:
        # Starts a machine if none is available, and stops it if this fails or is interrupted.
        assignment = await stream.connect(
            options.region, user, poll=2 if emulator is None else 0.05
        )
        machine = assignment.machine
        try:
            say(row(machine))
            # Anyone who has assignment.connection_link can use the machine: show it to the visitor,
            # and never log it.
            length = len(assignment.connection_link)
            say(f"           can be opened with a link of {length} characters")
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


async def main() -> None:
    """From an account to a visitor's session, with nothing left running."""
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
            say("Machines cost money: this needs a stream, and VCLOUD_EXAMPLE_BUY=1, to go on.")
            return

        await visit(client, stream, options, emulator)

        print()
        say("The latest visit:")
        latest = await client.sessions.list(stream_id=stream.id, per_page=1).first()
        if latest is not None:
            say(
                f"  {latest.customer} stayed {latest.readable_duration} on "
                f"{latest.application_name}, sound {latest.audio_state or 'unknown'}"
            )


if __name__ == "__main__":
    asyncio.run(main())
