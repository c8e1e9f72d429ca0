"""What a type checker knows of Vagon Streams. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_type

from vcloud import Pager, VagonStreams
from vcloud.providers.streams import (
    Application,
    ApplicationRef,
    Assignment,
    ConnectionStatus,
    Region,
    Stream,
    StreamCapacity,
    StreamMachine,
    StreamMachineRef,
    StreamRef,
    User,
    UserRef,
    VisitorSession,
)


async def collections(streams: VagonStreams) -> None:
    assert_type(streams.streams.list("1"), Pager[Stream])
    assert_type(streams.streams.ref("1"), StreamRef)
    assert_type(streams.machines.list(), Pager[StreamMachine])
    assert_type(streams.machines.ref("1"), StreamMachineRef)
    assert_type(streams.applications.list(), Pager[Application])
    assert_type(streams.applications.ref(1), ApplicationRef)
    assert_type(streams.sessions.list(), Pager[VisitorSession])
    assert_type(streams.users.ref("1"), UserRef)
    assert_type(await streams.users.create(), User)


async def verbs(stream: Stream) -> None:
    assert_type(stream.machines(), Pager[StreamMachine])
    assert_type(await stream.refresh(), Stream)
    assert_type(await stream.start_machine(Region.DUBLIN), StreamMachine)
    assignment = await stream.assign_machine("dublin")
    assert_type(assignment, Assignment)
    assert_type(assignment.connection_link, str)
    assert_type(await stream.connect("dublin"), Assignment)
    assert_type(stream.capacities, tuple[StreamCapacity, ...] | None)


async def fields(machine: StreamMachine) -> None:
    assert_type(machine.id, str)
    assert_type(machine.uid, str | None)
    assert_type(machine.start_at, datetime | None)
    assert_type(machine.connection_status, ConnectionStatus | None)
    assert_type(machine.region, Region | None)
    assert_type(machine.cost, Decimal | None)
    assert_type(machine.duration, timedelta | None)
    assert_type(machine.application_id, str | None)
    assert_type(await machine.stop(), None)
    assert_type(await machine.wait_until("running"), StreamMachine)
