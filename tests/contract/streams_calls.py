"""How the Streams client makes each documented call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vcloud.providers.streams import Capacity, VagonStreams

UID = "57f01de3-910a-aa25-2055-cf4a6aef093c"

# first() if an example announces another page, because the same answer twice is an error.
CALLS: dict[str, list[Callable[[VagonStreams], Awaitable[object]]]] = {
    "applications.list": [lambda c: c.applications.list().first()],
    "applications.update": [
        lambda c: c.applications.ref("1143").configure(application_name="Test Application")
    ],
    "streams.list": [lambda c: c.streams.list("11421").first()],
    "streams.create": [
        lambda c: c.streams.create(
            "1144", capacities=[Capacity("dublin", 5)], capacity_type="on_demand"
        ),
    ],
    "streams.get": [lambda c: c.streams.get(UID)],
    "streams.update": [
        lambda c: c.streams.ref("1364").configure(
            microphone="off", capacities=[Capacity("dublin", 5)]
        )
    ],
    "streams.machines.list": [lambda c: c.streams.ref("1364").machines().first()],
    "streams.start_machine": [lambda c: c.streams.ref("1381").start_machine("dublin")],
    "streams.assign_machine": [
        lambda c: c.streams.ref("1381").assign_machine("dublin", "7D4F4EA7F4")
    ],
    "streams.stop_machine": [lambda c: c.machines.ref("94683").stop()],
    "users.create": [lambda c: c.users.create("visitor@vendor.com")],
    "users.delete": [lambda c: c.users.ref("7D4F4EA7F4").delete()],
    "machines.list": [lambda c: c.machines.list().first()],
    "machines.get": [lambda c: c.machines.get("bf96fb3b-edc3-43ce-8dc5-b8477fd52303")],
    "sessions.list": [lambda c: c.sessions.list().first()],
}

#: Operations whose documented answer does not decode strictly, with the reason.
DRIFT: dict[str, str] = {}
