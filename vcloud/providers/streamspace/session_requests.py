"""What is asked of StreamSpace about sessions, checked, before a dialect puts it into words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from vcloud._core.arguments import identifier, optional_member, text
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agents import AgentRef
from vcloud.providers.streamspace.arguments import checked_tags, go_duration
from vcloud.providers.streamspace.models import (
    Platform,
    Resources,
    SessionSort,
    SessionState,
    SortOrder,
)
from vcloud.providers.streamspace.templates import TemplateRef
from vcloud.providers.streamspace.users import User

__all__ = ["NewSession", "SessionFilters", "new_session", "session_filters"]

INITIAL: Final = (SessionState.RUNNING, SessionState.HIBERNATED)


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to create. What is None was not given; durations are as Go writes them."""

    user: str
    template: str
    platform: Platform | None
    state: SessionState | None
    resources: dict[str, str] | None
    persistent_home: bool | None
    idle_timeout: str | None
    max_session_duration: str | None
    tags: tuple[str, ...] | None


class SessionFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions to list, and in which order. What is None was not given."""

    user: str | None
    template: str | None
    platform: Platform | None
    agent_id: str | None
    state: SessionState | None
    tags: tuple[str, ...] | None
    sort: SessionSort | None
    order: SortOrder | None


def new_session(
    *,
    user: User | str,
    template: TemplateRef | str,
    platform: Platform | str | None,
    state: SessionState | str | None,
    resources: Resources | None,
    persistent_home: bool | None,
    idle_timeout: timedelta | float | None,
    max_session_duration: timedelta | float | None,
    tags: Sequence[str] | None,
) -> NewSession:
    """The arguments of a create, checked.

    Raises:
        InvalidArgumentError: one of them is not valid.
    """
    # The service decides on states that this SDK does not know.
    unknown = isinstance(state, SessionState) and not state.known
    if state is not None and state not in INITIAL and not unknown:
        raise InvalidArgumentError(f"state must be one of {', '.join(INITIAL)}, not {state!r}")
    if not isinstance(resources, Resources | None):
        raise InvalidArgumentError(f"resources must be a Resources(...), not {resources!r}")
    return NewSession(
        user=text(user, "user", User, "username"),
        template=text(template, "template", TemplateRef),
        platform=optional_member(platform, Platform, "platform"),
        state=optional_member(state, SessionState, "state"),
        resources=None if resources is None else resources.to_wire(),
        persistent_home=persistent_home,
        idle_timeout=_duration(idle_timeout, "idle_timeout"),
        max_session_duration=_duration(max_session_duration, "max_session_duration"),
        tags=None if tags is None else checked_tags(tags),
    )


def session_filters(
    *,
    user: User | str | None,
    template: TemplateRef | str | None,
    platform: Platform | str | None,
    agent_id: AgentRef | str | int | None,
    state: SessionState | str | None,
    tags: Sequence[str] | None,
    sort: SessionSort | str | None,
    order: SortOrder | str | None,
) -> SessionFilters:
    """The filters of a list, checked.

    Raises:
        InvalidArgumentError: one of them is not valid.
    """
    return SessionFilters(
        user=user if isinstance(user, str | None) else text(user, "user", User, "username"),
        template=template
        if isinstance(template, str | None)
        else text(template, "template", TemplateRef),
        platform=optional_member(platform, Platform, "platform"),
        agent_id=None
        if agent_id is None
        else identifier(agent_id, "agent_id", AgentRef, "agent_id"),
        state=optional_member(state, SessionState, "state"),
        tags=checked_tags(tags) or None if tags is not None else None,
        sort=optional_member(sort, SessionSort, "sort"),
        order=optional_member(order, SortOrder, "order"),
    )


def _duration(value: timedelta | float | None, name: str) -> str | None:
    return None if value is None else go_duration(value, name)
