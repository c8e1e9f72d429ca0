"""Vagon Streams: the client, its resources and what they are made of.

Collections and handles come from a client; their constructors are not for users.
"""

from __future__ import annotations

from vcloud.providers.streams.applications import Application, ApplicationRef, Applications
from vcloud.providers.streams.client import VagonStreams
from vcloud.providers.streams.errors import VagonCode
from vcloud.providers.streams.machines import (
    Assignment,
    StreamMachine,
    StreamMachineRef,
    StreamMachines,
)
from vcloud.providers.streams.models import (
    AudioDevice,
    AudioState,
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    ConnectionStatus,
    DockPosition,
    Executable,
    IdleDuration,
    KeyMapping,
    MachineType,
    MaximumSessionDuration,
    MediaActivation,
    Region,
    Resolution,
    StreamCapacity,
    StreamTexts,
)
from vcloud.providers.streams.sessions import VisitorSession, VisitorSessions
from vcloud.providers.streams.stream import Stream, StreamRef
from vcloud.providers.streams.streams import Streams
from vcloud.providers.streams.users import User, UserRef, Users

__all__ = [
    "Application",
    "ApplicationRef",
    "Applications",
    "Assignment",
    "AudioDevice",
    "AudioState",
    "AutoTurnOffDuration",
    "Capacity",
    "CapacityType",
    "ConnectionStatus",
    "DockPosition",
    "Executable",
    "IdleDuration",
    "KeyMapping",
    "MachineType",
    "MaximumSessionDuration",
    "MediaActivation",
    "Region",
    "Resolution",
    "Stream",
    "StreamCapacity",
    "StreamMachine",
    "StreamMachineRef",
    "StreamMachines",
    "StreamRef",
    "StreamTexts",
    "Streams",
    "User",
    "UserRef",
    "Users",
    "VagonCode",
    "VagonStreams",
    "VisitorSession",
    "VisitorSessions",
]
