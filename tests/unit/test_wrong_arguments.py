"""Wrong arguments of methods: the error says what to write."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.unit.test_public import ENDPOINTS
from vcloud import Bulk, Journal, VCloud
from vcloud._core.resource import Collection
from vcloud.providers.desktops import DesktopRef
from vcloud.testing import make_desktop


@pytest.fixture
async def cloud() -> AsyncIterator[VCloud]:
    async with VCloud(**ENDPOINTS) as cloud:  # type: ignore[arg-type]
        yield cloud


async def nothing(_: object) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda cloud: cloud.computers.machines.list(state="off"),
            "Machines.list has no argument 'state': did you mean status? Machines.list takes",
        ),
        (
            lambda cloud: cloud.computers.machines.list(friendly_status="off"),
            "did you mean status?",
        ),
        (
            lambda cloud: cloud.computers.machines.list("off"),
            "by name: write Machines.list(",
        ),
        (
            lambda cloud: cloud.streamspace.sessions.list(status="running"),
            "Sessions.list has no argument 'status': did you mean state?",
        ),
        (
            lambda cloud: cloud.streams.machines.list(stream=5),
            "StreamMachines.list has no argument 'stream': did you mean stream_id?",
        ),
        (
            lambda cloud: cloud.streams.streams.list(),
            "Streams.list needs application_id: write Streams.list(application_id=...)",
        ),
        (
            lambda cloud: cloud.desktops.launch(ttl=60),
            "launch has no argument 'ttl': did you mean lifetime or timeout? launch takes lifetime",
        ),
        (
            lambda _: Bulk([], nothing, 10),  # type: ignore[arg-type]
            "all others by name: write Bulk(items, action, concurrency=...)",
        ),
        (
            lambda _: Journal("stop.journal", jb="stop"),  # type: ignore[call-arg]
            "Journal has no argument 'jb': did you mean job? Journal takes path, job",
        ),
    ],
)
async def test_a_method_says_what_to_write(
    cloud: VCloud, write: Callable[[Any], object], said: str
) -> None:
    with pytest.raises(TypeError) as caught:
        write(cloud)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (
            lambda desktop: desktop.drag(1, 2, 3, 4),
            "drag takes start and end only: 4 were given by position",
        ),
        (lambda desktop: desktop.drag(to=(1, 2)), "drag has no argument 'to': drag takes start"),
        (
            lambda desktop: desktop.scroll("down"),
            "scroll needs amount: write scroll(direction=..., amount=...)",
        ),
        (
            lambda desktop: desktop.click(1, 2, clicks=2),
            "click has no argument 'clicks': did you mean count? click takes x, y, button",
        ),
    ],
)
async def test_an_action_says_what_to_write(
    write: Callable[[Any], Awaitable[object]], said: str
) -> None:
    with pytest.raises(TypeError) as caught:
        await write(make_desktop())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda cloud: cloud.ping("computers"), "ping takes timeout by name: write ping(timeout="),
        (lambda cloud: cloud.ping(timout=5), "ping has no argument 'timout': did you mean timeout"),
        (
            lambda cloud: cloud.computers.machines.ref("1").wait_until("ready", timout=5),
            "wait_until has no argument 'timout': did you mean timeout?",
        ),
        (
            lambda cloud: cloud.instance("computers/1").wait_until("running", 5),
            "wait_until takes timeout by name: write wait_until(state=..., timeout=...)",
        ),
        (lambda cloud: cloud.instances(), r"use `async for instance in ...`, or `await ....all()`"),
    ],
)
async def test_what_is_awaited_says_what_to_write(
    cloud: VCloud, write: Callable[[Any], Awaitable[object]], said: str
) -> None:
    with pytest.raises(TypeError) as caught:
        await write(cloud)
    assert said in str(caught.value)


async def test_instances_say_how_to_have_the_first_ones(cloud: VCloud) -> None:
    instances: Any = cloud.instances()
    for name, said in (("first", "anext"), ("take", "leave the loop"), ("list", "all?")):
        with pytest.raises(AttributeError, match=said):
            getattr(instances, name)
    assert not hasattr(instances, "first")


async def test_a_run_is_not_awaited_itself() -> None:
    run: Any = Bulk([], nothing)
    with pytest.raises(TypeError, match=r"`await ....run\(\)`"):
        await run


def test_they_stay_what_they_were() -> None:
    verbs = (DesktopRef.drag, DesktopRef.scroll, DesktopRef.click, DesktopRef.wait_until)
    for method in (*verbs, VCloud.ping):
        assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(DesktopRef.drag).parameters) == ["self", "start", "end"]

    def below(cls: type[Any]) -> list[type[Any]]:
        direct: list[type[Any]] = cls.__subclasses__()
        return [one for found in direct for one in (found, *below(found))]

    listing = [one for one in below(Collection) if hasattr(one, "list")]
    assert len(listing) > 8
    for one in listing:
        # One layer, whatever is inherited.
        assert one.list.__wrapped__ is inspect.unwrap(one.list)
