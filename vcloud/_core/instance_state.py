"""The words that all providers share: the states of an instance, and what can be done with it."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from vcloud._core.model import Model

__all__ = ["Capabilities", "InstanceState"]


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
    #: It will be stopped or hibernated soon.
    STOPPING = "stopping"
    #: It is off; whether it can be started again depends on the provider.
    STOPPED = "stopped"
    #: It is broken.
    FAILED = "failed"
    #: The provider's state is not known to this SDK; see the resource.
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class Capabilities(Model):
    """What a provider's instances can do at all, whatever their state is now.

    The first five are the methods of an :class:`~vcloud.InstanceRef`: where one is False, the
    method raises an :class:`~vcloud.UnsupportedError`, and nothing is sent.

    Attributes:
        start: ``start()``: one that is stopped or hibernated runs again.
        stop: ``stop()``.
        hibernate: ``hibernate()``.
        wake: ``wake()``.
        connect: ``connect_url()``.
        stop_is_final: whether what was stopped never runs again.
        stop_loses_disk: whether what it wrote to its disk is lost when it is stopped. (StreamSpace
            keeps the user's home directory where ``persistent_home`` is True, and loses the rest.)
    """

    start: bool
    stop: bool = True
    hibernate: bool = False
    wake: bool = False
    connect: bool
    stop_is_final: bool
    stop_loses_disk: bool
