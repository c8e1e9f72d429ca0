"""Reading the requests of the Streams API: bodies of create and configure, filters of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from vcloud.emulator.streams.catalog import MACHINE_TYPES
from vcloud.emulator.streams.state import Machine
from vcloud.emulator.vagon.service import VagonError, known_region, query_integer

Json = dict[str, Any]

CAPACITY_TYPES = ("on_demand", "balanced", "always_on")
KEY_MAPPINGS = ("click", "game_mode")
MEDIA = ("off", "activate_on_start", "user_can_activate")

_CAPACITY = re.compile(r"[1-9][0-9]{0,2}")
"""At most 999. Undocumented: always_on streams keep this many machines in memory."""

Check = Callable[[str, object], Any]


def one_of(*values: str) -> Check:
    """A check for an enumerated string."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in values:
            raise VagonError(400, f"{name} must be one of {', '.join(values)}")
        return value

    return check


def boolean(name: str, value: object) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise VagonError(400, f"{name} must be true or false")
    return value


def written_boolean(name: str, value: object) -> bool:
    """Check for the strings `true` and `false`: the document calls this field a String."""
    if value not in ("true", "false"):
        raise VagonError(400, f'{name} must be the string "true" or "false"')
    return value == "true"


def text(name: str, value: object) -> str:
    """Check for a string."""
    if not isinstance(value, str):
        raise VagonError(400, f"{name} must be a string")
    return value


def required_text(name: str, value: object) -> str:
    """Check for a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise VagonError(400, f"{name} is required, as a string")
    return value


def machine_type(name: str, value: object) -> int:
    """Check for one of the documented ids."""
    if type(value) is not int or value not in MACHINE_TYPES:
        raise VagonError(400, f"{name} must be one of {', '.join(map(str, MACHINE_TYPES))}")
    return value


def capacities(name: str, value: object) -> dict[str, int]:
    """Check for capacities, in which totals are strings; the totals by region."""
    if not isinstance(value, list) or not value:
        raise VagonError(400, f"{name} must be an array with at least one object")
    found: dict[str, int] = {}
    for entry in value:
        if not isinstance(entry, dict):
            raise VagonError(400, f"{name} must be an array of objects")
        region = known_region(entry.get("region"))
        total = entry.get("total_capacity")
        if not isinstance(total, str) or not _CAPACITY.fullmatch(total):
            raise VagonError(400, 'total_capacity must be a string such as "5", from "1" to "999"')
        if region in found:
            raise VagonError(400, f"{name} names {region} twice")
        found[region] = int(total)
    return found


APPLICATION: Mapping[str, Check] = {
    "application_name": required_text,
    "key_mapping_selection": one_of(*KEY_MAPPINGS),
    "changeable_key_mapping": boolean,
    "machine_type_id": machine_type,
}

STREAM: Mapping[str, Check] = {
    "resolution": one_of("res_scale", "res_720p", "res_1080p", "res_2160p"),
    "sound": one_of(*MEDIA),
    "microphone": one_of(*MEDIA),
    "auto_turn_off_duration": one_of(
        "off", "immediatly", "2_min", "5_min", "30_min", "1_hour", "3_hour", "6_hour"
    ),
    "maximum_session_duration": one_of("off", "5_min", "15_min", "30_min", "1_hour"),
    "idle_duration": one_of("off", "1_min", "5_min", "10_min"),
    "launch_arguments": text,
    "dark_mode": boolean,
    "collect_info": boolean,
    "password": text,
    "password_protection": written_boolean,
    "dock_position": one_of("hide", "bottom", "top", "left"),
    "keyboard_layout": text,
    "user_session_data": boolean,
    "boost_enabled": boolean,
    "pixel_streaming_enabled": boolean,
    "port_access_enabled": boolean,
    "capacity_type": one_of(*CAPACITY_TYPES),
    "capacities": capacities,
}


def read_changes(body: Json, checks: Mapping[str, Check]) -> Json:
    """Read the settings that were sent; all are checked before any is used."""
    return {name: check(name, body[name]) for name, check in checks.items() if name in body}


def read_email(body: Json) -> str | None:
    """Read a new user's email, which may be left out or blank."""
    email = body.get("email")
    if email is None or email == "":
        return None
    if not isinstance(email, str) or "@" not in email:
        raise VagonError(400, "email must be an email address")
    return email


@frozen(kw_only=True)
class Filter:
    """The filters of both statistics; None does not filter."""

    start_at: float | None
    end_at: float | None
    application_id: int | None
    stream_id: int | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filter:
        """Read the filters from a query."""
        return cls(
            start_at=_instant(query, "start_at"),
            end_at=_instant(query, "end_at"),
            application_id=query_integer(query, "application_id"),
            stream_id=query_integer(query, "stream_id"),
        )

    def passes(self, machine: Machine, start_at: float) -> bool:
        """Whether something that began at this time on this machine passes."""
        return (
            (self.start_at is None or start_at >= self.start_at)
            and (self.end_at is None or start_at <= self.end_at)
            and (
                self.application_id is None or machine.stream.application.id == self.application_id
            )
            and (self.stream_id is None or machine.stream.id == self.stream_id)
        )


def _instant(query: Mapping[str, str], name: str) -> float | None:
    written = query.get(name)
    if written is None:
        return None
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise VagonError(400, f"{name} must look like 2023-09-15T06:42:36.564Z") from error
