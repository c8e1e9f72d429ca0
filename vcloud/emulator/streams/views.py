"""The Streams API's representations. Fields are in the order of the document's examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vcloud.emulator.clock import Clock
from vcloud.emulator.streams.catalog import PENDING, PERFORMANCES, STATUSES
from vcloud.emulator.streams.state import Application, Machine, Stream, User, Visit

Json = dict[str, Any]

TEXTS = {
    "initializing_text": "Initializing Stream",
    "session_expired_text": "Session expired, you can reconnect again.",
    "invalid_email_text": "Visitor information is invalid, contact your system admin.",
    "invalid_password_text": "Stream password is incorrect.\n"
    "Check the password or contact your system admin.",
    "not_active_text": "Stream is not active at the moment.\n"
    "Contact your system admin to check availability.",
    "reconnect_text": "Connection expired, you can reconnect again.",
    "queue_text": "Waiting in queue",
    "installing_application_text": "Installing Application",
    "connecting_text": "Connecting...",
    "idle_text": "Connection expired due to inactivity. \nYou can reconnect again.",
}


def application_view(application: Application, clock: Clock, *, live: bool) -> Json:
    """An application; `live` says whether it has streams."""
    attributes: Json = {
        "id": application.id,
        "name": application.name,
        "status": "active",
        "banner_url": None,
        "logo_url": None,
        "friendly_status": "live" if live else "no_streams",
        "os": "windows",
        "active_executable": _executable(application, clock) if application.executable else None,
        "performance": PERFORMANCES[application.machine_type_id],
        "enterprise": None,
        "pro": None,
    }
    return {"id": str(application.id), "type": "application", "attributes": attributes}


def _executable(application: Application, clock: Clock) -> Json:
    attributes: Json = {
        "executable_name": "Application",
        "launch_arguments": None,
        "restart_arguments": None,
        "file": "Application.zip",
        "version": 1,
        "active": True,
        "created_at": clock.iso(application.created_at),
        "images": [],
    }
    return {"id": str(application.id + 79), "type": "executable", "attributes": attributes}


def stream_view(stream: Stream, clock: Clock) -> Json:
    """A stream as list and configure answer it."""
    return _stream(stream, clock, {})


def full_stream_view(
    stream: Stream, clock: Clock, used: Mapping[str, int], assignable: Mapping[str, int]
) -> Json:
    """A stream as get and create answer it: with capacities and texts.

    `used` and `assignable` are numbers of machines by region.
    """
    capacities = [
        {
            "id": region,
            "type": "vendor_capacity",
            "attributes": {
                "region": region,
                "machine_type_id": stream.application.machine_type_id,
                "capacity_type": stream.capacity_type,
                "reserve_capacity": stream.reserve(region),
                "total_capacity": total,
                "used_capacity": used.get(region, 0),
                "assignable_machine_count": assignable.get(region, 0),
            },
        }
        for region, total in stream.capacities.items()
    ]
    return _stream(stream, clock, {"capacities": capacities, "texts": TEXTS})


def _stream(stream: Stream, clock: Clock, more: Json) -> Json:
    attributes: Json = {
        "id": stream.id,
        "status": "active",
        "uid": stream.uid,
        **stream.settings,
        **more,
        "application": application_view(stream.application, clock, live=True),
        "in_active_time_range": stream.in_active_time_range,
    }
    return {"id": str(stream.id), "type": "stream", "attributes": attributes}


def machine_view(machine: Machine, clock: Clock, now: float) -> Json:
    """A machine."""
    connection_status = machine.status_at(now)
    # A forced status may be an unknown one.
    status, friendly_status = STATUSES.get(connection_status, ("running", "ready"))
    if machine.booting_at(now):
        status, friendly_status = PENDING
    end_at = machine.end_at(now)
    attributes = {
        "start_at": clock.iso(machine.start_at),
        "end_at": None if end_at is None else clock.iso(end_at),
        "status": status,
        "friendly_status": friendly_status,
        "connection_status": connection_status,
        "region": machine.region,
        "uid": machine.uid,
        "cost": machine.cost(now),
        "duration": machine.seconds(now),
        "application_name": machine.stream.application.name,
        "application_id": machine.stream.application.id,
        "stream_id": machine.stream.id,
        "stream_name": machine.stream.name,
        "machine_type": PERFORMANCES[machine.machine_type_id],
        "public_ip_address": machine.public_ip_address,
    }
    return {"id": str(machine.id), "type": "machine", "attributes": attributes}


def user_view(user: User) -> Json:
    """A user."""
    return {"id": user.id, "type": "user", "attributes": {"email": user.email}}


def visit_view(visit: Visit, clock: Clock, now: float) -> Json:
    """A visit. A value that was not collected is null; an object is left out."""
    machine, visitor = visit.machine, visit.visitor
    collects = machine.stream.settings["collect_info"]
    minutes, end = visit.minutes(now), visit.ended(now)
    attributes: Json = {
        "start_at": clock.iso(visit.start_at),
        "end_at": None if end is None else clock.iso(end),
        "region": machine.region,
    }
    if visitor.ping is not None:
        attributes["ping"] = visitor.ping
    if visitor.audio_state is not None:
        attributes["audio_state"] = visitor.audio_state
    if visitor.audio_input:
        attributes["audio_input"] = _device("audioinput")
    if visitor.audio_output:
        attributes["audio_output"] = _device("audiooutput")
    attributes |= {
        "duration": minutes,
        "readable_duration": "1 minute" if minutes == 1 else f"{minutes} minutes",
        "city": visitor.city if collects else None,
        "country": visitor.country if collects else None,
        "os": visitor.os if collects else None,
        "device_type": visitor.device_type if collects else None,
        "customer": visit.user.email
        if collects and visit.user and visit.user.email
        else f"CUS_{visit.id}",
        "application_name": machine.stream.application.name,
        "application_id": machine.stream.application.id,
        "stream_id": machine.stream.id,
        "stream_name": machine.stream.name,
        "machine_type": PERFORMANCES[machine.machine_type_id],
    }
    return {"id": str(visit.id), "type": "vendor_customer_session", "attributes": attributes}


def _device(kind: str) -> Json:
    return {"kind": kind, "label": "", "groupId": "", "deviceId": "default"}
