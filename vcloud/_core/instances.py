"""The common view of what all providers rent; :mod:`vcloud.instances` lists it."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from attrs import frozen

from vcloud._core.model import Model


class InstanceState(StrEnum):
    """The state of an instance, in terms that all providers share."""

    #: It will run soon.
    STARTING = "starting"
    #: It can be used now, or is being used.
    RUNNING = "running"
    #: Its memory is saved. It runs again soon after it is started.
    HIBERNATED = "hibernated"
    #: It cannot be used meanwhile: it is resized, moved, or something is installed.
    MAINTENANCE = "maintenance"
    #: It will be stopped soon.
    STOPPING = "stopping"
    #: It is off; whether it can be started again depends on the provider.
    STOPPED = "stopped"
    #: It is broken.
    FAILED = "failed"
    #: The provider's state is not known to this SDK; see the resource.
    UNKNOWN = "unknown"


@runtime_checkable
class Controllable(Protocol):
    """What the machines, sessions and desktops of every provider can do.

    Each method acts on the object it is called on. ``start`` and ``connect_url`` are not part of
    it, because not every provider has them: a Streams machine that ended does not start again, and
    its link belongs to an assignment. Machines of Computers and sessions of StreamSpace have
    ``start``; these and desktops have ``connect_url``.
    """

    async def stop(self) -> object:
        """Stop it. Only machines of Computers can be started again."""
        ...

    async def wait_until(
        self, state: str, /, *, timeout: timedelta | float = ..., poll: timedelta | float = ...
    ) -> object:
        """Wait for a state, in the provider's words."""
        ...


@frozen
class Instance(Model):
    """Something that runs, or could run.

    Attributes:
        provider: ``"streams"``, ``"computers"``, ``"streamspace"`` or ``"desktops"``.
        id: the provider's id for it.
        name: for display.
        state: in the vocabulary that all providers share.
        region: where it is; None when the provider does not say.
        started_at: since when it runs; None when it does not run, or the provider does not say.
        resource: the provider's own object, to act on.
    """

    provider: str
    id: str
    name: str
    state: InstanceState
    region: str | None
    started_at: datetime | None
    resource: Controllable

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, without ``resource``, which has its own ``to_dict``."""
        plain = super().to_dict()
        del plain["resource"]
        return plain
