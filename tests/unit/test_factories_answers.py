"""What the factories make has the types of what services answer, once it is decoded."""

from __future__ import annotations

from typing import Any

import attrs

from vcloud import VCloud
from vcloud.emulator import Emulator
from vcloud.providers.computers import Machine
from vcloud.providers.streams import StreamMachine
from vcloud.providers.streamspace import Session
from vcloud.testing import (
    make_agent,
    make_desktop,
    make_machine,
    make_session,
    make_stream,
    make_stream_machine,
    make_stream_user,
    make_task,
    make_user,
)


def names(model: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(model))


def types(value: Any) -> Any:
    """The types of a model's fields, at any depth."""
    if attrs.has(type(value)):
        return type(value), {name: types(getattr(value, name)) for name in names(type(value))}
    if isinstance(value, tuple):
        return type(value), [types(one) for one in value]
    return type(value)


def differences(made: Any, answered: Any) -> dict[str, tuple[Any, Any]]:
    """The fields whose types differ, where both have a value."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in names(type(answered)):
        mine, its = getattr(made, name), getattr(answered, name)
        # A mapping has other keys on each platform.
        if None in (mine, its) or isinstance(mine, dict) or types(mine) == types(its):
            continue
        found[name] = (types(mine), types(its))
    return found


async def test_they_are_as_the_emulators_answers_are_once_decoded() -> None:
    async with Emulator(machines=3) as emulator, VCloud(**emulator.endpoints()) as cloud:
        machine = await cloud.computers.machines.list().first()
        assert machine is not None
        assert isinstance(machine, Machine)
        assert differences(make_machine(user=machine.user), machine) == {}
        (stream,) = await cloud.streams.streams.list("1143").all()
        full = await stream.refresh()
        assert differences(make_stream(), full) == {}
        started = await stream.start_machine("dublin")
        assert isinstance(started, StreamMachine)
        assert differences(make_stream_machine(), started) == {}
        added = emulator.streamspace.add_session()
        session = await cloud.streamspace.sessions.get(added.id)
        assert isinstance(session, Session)
        assert differences(make_session(), session) == {}
        assert make_session().status is not None
        agent = await cloud.streamspace.agents.get("k8s-prod-us-east-1")
        assert differences(make_agent(sessions=agent.sessions), agent) == {}
        user = await cloud.streamspace.users.list().first()
        assert differences(make_user(), user) == {}
        desktop = await cloud.desktops.get(emulator.desktops.add_desktop().id)
        assert differences(make_desktop(), desktop) == {}
        assert type(make_desktop().stream_url) is type(desktop.stream_url)
        visitor = await cloud.streams.users.create("a@example.com")
        assert differences(make_stream_user(), visitor) == {}
        task = await machine.tasks.list().first()
        assert differences(make_task(), task) == {}
