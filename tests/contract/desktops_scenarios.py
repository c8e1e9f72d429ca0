"""Everything that each desktop operation can send and receive, over a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tests.contract.desktops_calls import ACTIONS
from vcloud.emulator import Emulator, Fault
from vcloud.providers.desktops import Desktops, DesktopStatus, Point


def put(emulator: Emulator, route: str, **fields: Any) -> None:
    """Put values into the next answer that the emulator itself would not put there."""
    emulator.faults.add(route, Fault.edit(lambda answer: {**answer, **fields}))


async def _get(client: Desktops, emulator: Emulator) -> None:
    seeded = emulator.desktops.add_desktop()
    for status in DesktopStatus:
        emulator.desktops.set_status(seeded.id, status)
        desktop = await client.get(seeded.id)
        assert desktop.status is status
        assert (desktop.stream_url is None) is (status is DesktopStatus.PENDING)
        assert desktop.timeout_at is not None
        assert desktop.created_at is not None
        assert desktop.timeout_at - desktop.created_at > timedelta(hours=23)


async def _create(client: Desktops, emulator: Emulator) -> None:
    launched = await client.launch()
    assert launched.status is DesktopStatus.PENDING
    for status in DesktopStatus:
        put(emulator, "POST /v1/desktop", status=status)
        assert (await client.launch()).status is status
    hour = await (await client.launch(timedelta(hours=1))).refresh()
    assert hour.created_at is not None
    assert hour.timeout_at == hour.created_at + timedelta(hours=1)


async def _stop(client: Desktops, emulator: Emulator) -> None:
    ref = client.ref(emulator.desktops.add_desktop().id)
    await ref.stop()
    await ref.stop()
    assert (await ref.refresh()).status is DesktopStatus.TERMINATED


async def _computer_action(client: Desktops, emulator: Emulator) -> None:
    seeded = emulator.desktops.add_desktop()
    desktop = client.ref(seeded.id)
    assert len(await desktop.perform_all(ACTIONS)) == len(ACTIONS)
    assert (seeded.simulated.x, seeded.simulated.y) == (500, 300)
    assert await desktop.cursor_position() == Point(500, 300)
    assert (await desktop.screenshot()).media_type == "image/jpeg"
    put(emulator, "POST */computer-action", error="a warning")
    assert (await desktop.perform(ACTIONS[0])).error == "a warning"


async def _bash_action(client: Desktops, emulator: Emulator) -> None:
    desktop = client.ref(emulator.desktops.add_desktop().id)
    assert await desktop.bash("echo 'Hello, World!'") == "Hello, World!"


SCENARIOS: dict[str, Callable[[Desktops, Emulator], Awaitable[None]]] = {
    "desktop.get": _get,
    "desktop.create": _create,
    "desktop.stop": _stop,
    "desktop.computer_action": _computer_action,
    "desktop.bash_action": _bash_action,
}
