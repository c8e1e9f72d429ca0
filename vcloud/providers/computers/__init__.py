"""Vagon Computers: the client, its resources and what they are made of.

Collections and handles come from a client; their constructors are not for users.
"""

from __future__ import annotations

from vcloud.providers.computers.client import VagonComputers
from vcloud.providers.computers.errors import VagonCode
from vcloud.providers.computers.machine import Machine, MachineRef
from vcloud.providers.computers.machines import Machines
from vcloud.providers.computers.models import (
    AUTO_STOP_THRESHOLDS,
    AccessLink,
    ActiveTask,
    BaseImage,
    ImageStatus,
    MachineStatus,
    MachineType,
    MachineUser,
    MachineUserAttributes,
    PermissionField,
    Permissions,
    Software,
    TaskResult,
    TaskStatus,
    UsageSource,
)
from vcloud.providers.computers.sessions import MachineSession, MachineSessions
from vcloud.providers.computers.software import SoftwareCatalog
from vcloud.providers.computers.tasks import MachineTasks, Task, TaskActivation, TaskRef

__all__ = [
    "AUTO_STOP_THRESHOLDS",
    "AccessLink",
    "ActiveTask",
    "BaseImage",
    "ImageStatus",
    "Machine",
    "MachineRef",
    "MachineSession",
    "MachineSessions",
    "MachineStatus",
    "MachineTasks",
    "MachineType",
    "MachineUser",
    "MachineUserAttributes",
    "Machines",
    "PermissionField",
    "Permissions",
    "Software",
    "SoftwareCatalog",
    "Task",
    "TaskActivation",
    "TaskRef",
    "TaskResult",
    "TaskStatus",
    "UsageSource",
    "VagonCode",
    "VagonComputers",
]
