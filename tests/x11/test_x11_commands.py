"""Commands on a real desktop: their output, their end, and their timeouts."""

from __future__ import annotations

import asyncio
import random
import stat
from datetime import timedelta

import pytest

from tests.x11.machine import (
    content,
    home_of,
    name_of,
    processes,
    runs,
    socket_of,
    until,
)
from vcloud import ServerError
from vcloud.emulator import Emulator
from vcloud.emulator.x11 import X11Desktop
from vcloud.emulator.x11.backend import X11Backend
from vcloud.providers.desktops import Desktop, Desktops

pytestmark = pytest.mark.usefixtures("temporary")


async def test_commands_run_in_the_desktop_s_home(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = await home_of(desktop)
    assert home.is_dir()
    assert stat.S_IMODE(home.parent.stat().st_mode) == 0o700
    assert await desktop.bash("echo 'Grüße' > note; cat note") == "Grüße"
    assert (home / "note").read_text() == "Grüße\n"
    assert await desktop.bash("echo lost >&2; exit 3") == "lost", (
        "the error output when there is no other"
    )
    assert await desktop.bash("echo out; echo lost >&2") == "out"
    assert await desktop.bash("printf ' \\n'; echo lost >&2") == "lost"
    assert await desktop.bash("true") == ""
    assert (await desktop.bash("echo $HOME $DISPLAY")).split()[0] == str(home)


async def test_commands_do_not_inherit_the_emulator_s_environment(
    monkeypatch: pytest.MonkeyPatch, desktops: Desktops
) -> None:
    monkeypatch.setenv("VCLOUD_COMPUTERS_SECRET", "sk_very_secret")
    async with desktops.launch(timedelta(hours=1), poll=0.01) as desktop:
        assert "sk_very_secret" not in await desktop.bash("env")


async def test_a_program_in_the_background_is_not_waited_for_and_may_print(
    desktop: Desktop,
) -> None:
    home = await home_of(desktop)
    await desktop.bash("(while test ! -e go; do sleep 0.01; done; seq 100000 && touch printed) &")
    (home / "go").touch()
    await until((home / "printed").exists)


async def test_output_is_kept_up_to_a_limit_and_the_command_still_ends(
    desktop: Desktop,
) -> None:
    assert (
        len(await desktop.bash("head -c 9000000 /dev/zero | tr '\\0' x; touch done"))
        == X11Desktop.output_limit
    )
    assert await desktop.bash("ls done") == "done"


async def test_a_command_keeps_running_after_the_gateway_has_timed_out(
    emulator: Emulator, desktop: Desktop
) -> None:
    """As on the service (wire-facts, section 4): a 502, and the command keeps running."""
    home = await home_of(desktop)
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    backend.command_limit = 0.2
    with pytest.raises(ServerError) as caught:
        await desktop.bash("while test ! -e go; do sleep 0.01; done; echo carried out > done")
    assert caught.value.status == 502
    assert await desktop.bash("echo well") == "well"
    (home / "go").touch()
    await until(lambda: content(home / "done") == "carried out\n")


async def test_a_command_that_timed_out_ends_with_the_desktop(
    emulator: Emulator, desktop: Desktop
) -> None:
    backend = emulator.desktops.desktops[desktop.id].backend
    assert isinstance(backend, X11Backend)
    backend.command_limit = 0.1
    seconds = f"9{random.randrange(10**8)}.25"
    display = backend.desktop.display
    for command in (f"sleep {seconds} & setsid sleep {seconds} & sleep {seconds}",):
        with pytest.raises(ServerError):
            await desktop.bash(command)
    with pytest.raises(ServerError):
        await desktop.type(f"{seconds} is typed for long after the answer, " * 5)
    assert len(processes(seconds)) >= 3
    # No process has the text in its arguments, so xdotool is found by its user.
    home = str(backend.desktop.home)
    typing = [pid for pid in processes(home) if name_of(pid) == "xdotool"]
    assert typing
    socket = socket_of(display)
    assert socket is not None
    await desktop.stop()
    assert processes(seconds, home) == []
    assert not any(map(runs, typing))
    assert socket_of(display) != socket


async def test_a_cancelled_command_is_killed() -> None:
    async with await X11Desktop.start() as desktop:
        seconds = f"9{random.randrange(10**8)}.75"
        task = asyncio.create_task(desktop.run(f"sleep {seconds}"))
        await until(lambda: bool(processes(seconds)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not processes(seconds))
