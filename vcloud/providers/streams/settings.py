"""The settings of a stream as a request has them, by subject. None is not sent."""

from __future__ import annotations

from collections.abc import Sequence

from vcloud._core.arguments import optional_member
from vcloud._core.request import drop_none
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streams.models import (
    AutoTurnOffDuration,
    Capacity,
    CapacityType,
    DockPosition,
    IdleDuration,
    MaximumSessionDuration,
    MediaActivation,
    Resolution,
)


def media(
    resolution: Resolution | str | None,
    sound: MediaActivation | str | None,
    microphone: MediaActivation | str | None,
) -> dict[str, object]:
    """Picture and sound."""
    return drop_none(
        resolution=optional_member(resolution, Resolution, "resolution"),
        sound=optional_member(sound, MediaActivation, "sound"),
        microphone=optional_member(microphone, MediaActivation, "microphone"),
    )


def durations(
    auto_turn_off_duration: AutoTurnOffDuration | str | None,
    maximum_session_duration: MaximumSessionDuration | str | None,
    idle_duration: IdleDuration | str | None,
) -> dict[str, object]:
    """How long a machine stays on, and how long a visitor may stay."""
    return drop_none(
        auto_turn_off_duration=optional_member(
            auto_turn_off_duration, AutoTurnOffDuration, "auto_turn_off_duration"
        ),
        maximum_session_duration=optional_member(
            maximum_session_duration, MaximumSessionDuration, "maximum_session_duration"
        ),
        idle_duration=optional_member(idle_duration, IdleDuration, "idle_duration"),
    )


def visitor_page(
    launch_arguments: str | None,
    dark_mode: bool | None,  # noqa: FBT001 - a field of the document
    collect_info: bool | None,  # noqa: FBT001 - as above
    dock_position: DockPosition | str | None,
    keyboard_layout: str | None,
) -> dict[str, object]:
    """The application and the page that a visitor sees."""
    return drop_none(
        launch_arguments=launch_arguments,
        dark_mode=dark_mode,
        collect_info=collect_info,
        dock_position=optional_member(dock_position, DockPosition, "dock_position"),
        keyboard_layout=keyboard_layout,
    )


def protection(password: str | None, password_protection: bool | None) -> dict[str, object]:  # noqa: FBT001 - a field of the document
    """The password. The document calls ``password_protection`` a String in requests."""
    text = None if password_protection is None else str(password_protection).lower()
    return drop_none(password=password, password_protection=text)


def features(
    user_session_data: bool | None,  # noqa: FBT001 - a field of the document
    boost_enabled: bool | None,  # noqa: FBT001 - as above
    pixel_streaming_enabled: bool | None,  # noqa: FBT001 - as above
    port_access_enabled: bool | None,  # noqa: FBT001 - as above
) -> dict[str, object]:
    """The features that can be switched on."""
    return drop_none(
        user_session_data=user_session_data,
        boost_enabled=boost_enabled,
        pixel_streaming_enabled=pixel_streaming_enabled,
        port_access_enabled=port_access_enabled,
    )


def capacity(
    capacities: Sequence[Capacity] | None, capacity_type: CapacityType | str | None
) -> dict[str, object]:
    """How many machines there may be in each region, and who starts them.

    Raises:
        InvalidArgumentError: ``capacities`` has no capacity, or there is no such capacity type.
    """
    if capacities is None:
        wire = None
    elif capacities and all(isinstance(one, Capacity) for one in capacities):
        wire = [one.wire() for one in capacities]
    else:
        raise InvalidArgumentError(
            "capacities must be one Capacity or more, such as [Capacity('dublin', 5)], "
            f"not {capacities!r}"
        )
    return drop_none(
        capacities=wire,
        capacity_type=optional_member(capacity_type, CapacityType, "capacity_type"),
    )
