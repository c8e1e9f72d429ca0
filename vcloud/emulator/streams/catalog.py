"""The constants of the Streams API: machine types, prices, statuses and settings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

DEFAULT_MACHINE_TYPE = 13

MACHINE_TYPES = {9: "Starter", 17: "Pro", 12: "Starter - G2", 13: "Pro - G2"}
"""The machine types that an application can have."""

PERFORMANCES = {**MACHINE_TYPES, 11: "Starter"}
"""With former machine types: the document shows 11."""

HOURLY = {
    9: Decimal("0.60"),
    11: Decimal("0.60"),
    12: Decimal("0.90"),
    13: Decimal("1.70"),
    17: Decimal("1.40"),
}
"""Undocumented. Pro - G2 is close to the document's examples."""

RESERVE = {"on_demand": 0, "balanced": 1}
"""Machines that the service keeps free, by capacity type; with always_on, it keeps all on."""

CAPACITY_TYPES = ("on_demand", "balanced", "always_on")
KEY_MAPPINGS = ("click", "game_mode")

UNASSIGNED = frozenset({"waiting", "available"})

PENDING: tuple[str, str] = ("pending", "turning_on")
"""`status` and `friendly_status` of a machine that is booting, assigned or not."""

STATUSES: dict[str, tuple[str, str]] = {
    "waiting": PENDING,
    "available": ("running", "ready"),
    "assigned": ("running", "ready"),
    "connected": ("running", "ready"),
    "proxy-in-migration": ("running", "ready"),
    "terminated": ("stopped", "off"),
}
"""`status` and `friendly_status` by connection status; undocumented for running machines."""

IMMEDIATELY = "immediatly"
"""The document's spelling."""

_SECONDS = {
    "1_min": 60.0,
    "2_min": 120.0,
    "5_min": 300.0,
    "10_min": 600.0,
    "15_min": 900.0,
    "30_min": 1800.0,
    "1_hour": 3600.0,
    "3_hour": 10800.0,
    "6_hour": 21600.0,
}


def seconds_of(duration: str) -> float | None:
    """The seconds of a duration in the settings; None for `off` and for `immediatly`."""
    return _SECONDS.get(duration)


SETTINGS: dict[str, Any] = {
    "resolution": "res_1080p",
    "collect_info": False,
    "dark_mode": None,
    "password_protection": False,
    "sound": "user_can_activate",
    "microphone": "user_can_activate",
    "launch_arguments": None,
    "dock_position": "bottom",
    "keyboard_layout": None,
    "user_session_data": False,
    "boost_enabled": False,
    "pixel_streaming_enabled": False,
    "port_access_enabled": False,
    "maximum_session_duration": "off",
    "idle_duration": "off",
    "auto_turn_off_duration": "5_min",
}
"""A new stream's settings, in the order of the document's examples."""
