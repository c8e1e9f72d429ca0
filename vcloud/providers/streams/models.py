"""Values that the Streams API takes and answers with, and their enumerations.

The fields of a machine are in ``machines.py``, those of a stream in ``stream.py``, and so on.
"""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum
from typing import Any, Final, Self

from attrs import field, frozen

from vcloud._core.arguments import member, positive_integer
from vcloud._core.decoding.models import ListOf, NullAsEmpty, none_when_absent
from vcloud._core.model import Model
from vcloud._core.scalars import Instant, Integer, OpenEnum

__all__ = [
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
    "StreamCapacity",
    "StreamTexts",
]


class Region(OpenEnum):
    """Where machines can run."""

    DUBLIN = "dublin"
    NORTH_VIRGINIA = "north_virginia"
    OREGON = "oregon"
    OHIO = "ohio"
    MONTREAL = "montreal"
    CALIFORNIA = "california"
    SAO_PAOLO = "sao_paolo"
    STOCKHOLM = "stockholm"
    FRANKFURT = "frankfurt"
    BAHRAIN = "bahrain"
    MUMBAI = "mumbai"
    SEOUL = "seoul"
    TOKYO = "tokyo"
    SINGAPORE = "singapore"
    SYDNEY = "sydney"
    JAKARTA = "jakarta"
    #: Dubai.
    UAE = "uae"
    CAPE_TOWN = "cape_town"
    HONG_KONG = "hong_kong"


class ConnectionStatus(OpenEnum):
    """The state of a stream's machine."""

    #: It boots and prepares for a connection.
    WAITING = "waiting"
    #: It can be assigned, and then connected to.
    AVAILABLE = "available"
    #: It is assigned to a visitor who has not connected yet.
    ASSIGNED = "assigned"
    #: A visitor is connected.
    CONNECTED = "connected"
    #: It is off, and cannot be started again.
    TERMINATED = "terminated"
    #: It is prepared for the next visitor.
    PROXY_IN_MIGRATION = "proxy-in-migration"


class CapacityType(OpenEnum):
    """Who starts the machines of a stream."""

    #: Cost optimized: you start them, with :meth:`StreamRef.start_machine`.
    ON_DEMAND = "on_demand"
    #: The service keeps some available.
    BALANCED = "balanced"
    #: Availability optimized: the service keeps all of them on.
    ALWAYS_ON = "always_on"


class KeyMapping(OpenEnum):
    """How an application handles mouse and keyboard."""

    CLICK = "click"
    GAME_MODE = "game_mode"


class MachineType(IntEnum):
    """The hardware that an application can be given, by the document's ids.

    Answers also show ids that are not among these, such as 11, so there the id is a plain ``int``.
    """

    STARTER = 9
    PRO = 17
    STARTER_G2 = 12
    PRO_G2 = 13


class Resolution(OpenEnum):
    """The picture's resolution."""

    SCALE = "res_scale"
    P720 = "res_720p"
    P1080 = "res_1080p"
    P2160 = "res_2160p"


class MediaActivation(OpenEnum):
    """Whether a visitor has sound, or a microphone."""

    OFF = "off"
    ACTIVATE_ON_START = "activate_on_start"
    USER_CAN_ACTIVATE = "user_can_activate"


class DockPosition(OpenEnum):
    """Where the visitor's toolbar is."""

    HIDE = "hide"
    BOTTOM = "bottom"
    TOP = "top"
    LEFT = "left"


class _Duration(OpenEnum):
    """A duration that can only be chosen from a list."""

    @property
    def duration(self) -> timedelta | None:
        """The value as a duration; None for ``off`` or an unknown value."""
        number, _, unit = self.value.partition("_")
        readable = number.isdecimal() and len(number) < 6 and unit in _UNITS
        return int(number) * _UNITS[unit] if readable else None


_UNITS: Final = {"min": timedelta(minutes=1), "hour": timedelta(hours=1)}


class AutoTurnOffDuration(_Duration):
    """How long an unused machine stays on."""

    OFF = "off"
    #: The document's spelling. ``immediately``, the spelling of Vagon's client, is the same member.
    IMMEDIATELY = "immediatly"
    MIN_2 = "2_min"
    MIN_5 = "5_min"
    MIN_30 = "30_min"
    HOUR_1 = "1_hour"
    HOUR_3 = "3_hour"
    HOUR_6 = "6_hour"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls("immediatly") if value == "immediately" else super()._missing_(value)

    @property
    def duration(self) -> timedelta | None:
        """The value as a duration; zero for :attr:`IMMEDIATELY`, None for ``off``."""
        return timedelta(0) if self.value == "immediatly" else super().duration


class MaximumSessionDuration(_Duration):
    """How long a visitor may stay."""

    OFF = "off"
    MIN_5 = "5_min"
    MIN_15 = "15_min"
    MIN_30 = "30_min"
    HOUR_1 = "1_hour"


class IdleDuration(_Duration):
    """How long a visitor may do nothing."""

    OFF = "off"
    MIN_1 = "1_min"
    MIN_5 = "5_min"
    MIN_10 = "10_min"


class AudioState(OpenEnum):
    """Whether a visitor had sound."""

    MUTED = "muted"
    PLAYING = "playing"
    NOT_COLLECTED = "not_collected"


def _check_region(_: object, __: object, value: Any) -> None:
    member(value, Region, "region")


def _check_total(_: object, __: object, value: Any) -> None:
    positive_integer(value, "total_capacity")


@frozen
class Capacity(Model):
    """How many machines a stream may have in a region, for a request.

    The document writes ``total_capacity`` as a string in requests and as a number in answers
    (:class:`StreamCapacity`), and so does the client.

    Raises:
        InvalidArgumentError: the total is below one, or there is no such region. A region that this
            SDK does not know is given as ``Region(text)``.
    """

    region: Region | str = field(validator=_check_region)
    total_capacity: int = field(validator=_check_total)

    def wire(self) -> dict[str, str]:
        """The capacity as a request has it."""
        return {"region": str(self.region), "total_capacity": str(self.total_capacity)}


@frozen(kw_only=True, field_transformer=none_when_absent)
class StreamCapacity(Model):
    """How many machines a stream has in a region, in an answer.

    Attributes:
        id: the region again.
        machine_type_id: the hardware; not always a :class:`MachineType`.
        reserve_capacity: how many machines the service keeps ready.
        total_capacity: how many machines there may be at once.
        used_capacity: how many machines there are.
        assignable_machine_count: how many machines can be assigned now.
    """

    id: str = ""
    region: Region | None
    machine_type_id: Integer | None
    capacity_type: CapacityType | None
    reserve_capacity: Integer | None
    total_capacity: Integer | None
    used_capacity: Integer | None
    assignable_machine_count: Integer | None


@frozen(kw_only=True)
class StreamTexts(Model):
    """The texts that visitors of a stream see; None if an answer leaves one out."""

    initializing_text: str | None = None
    session_expired_text: str | None = None
    invalid_email_text: str | None = None
    invalid_password_text: str | None = None
    not_active_text: str | None = None
    reconnect_text: str | None = None
    queue_text: str | None = None
    installing_application_text: str | None = None
    connecting_text: str | None = None
    idle_text: str | None = None


@frozen(kw_only=True, field_transformer=none_when_absent)
class Executable(NullAsEmpty, Model):
    """A version of an application.

    Attributes:
        executable_name: the program that is run.
        launch_arguments: its arguments.
        restart_arguments: its arguments when it is run again.
        file: the archive that was uploaded.
        version: which upload it is, from 1.
        active: whether it is the one that streams use.
        created_at: when it was uploaded.
        images: as the service sends them; the document only shows an empty list.
    """

    id: str = ""
    executable_name: str | None
    launch_arguments: str | None
    restart_arguments: str | None
    file: str | None
    version: Integer | None
    active: bool | None
    created_at: Instant | None
    images: ListOf[Any] = ()


@frozen(kw_only=True, field_transformer=none_when_absent)
class AudioDevice(Model):
    """A visitor's microphone or speaker, as the browser describes it."""

    kind: str | None
    label: str | None
    groupId: str | None  # noqa: N815 - the wire's name
    deviceId: str | None  # noqa: N815 - as above
