"""Desktop actions: launch a desktop, use it, and replay recorded actions on another one.

By default it uses the embedded emulator. Set VCLOUD_DESKTOPS_API_KEY to use the real service, and
VCLOUD_EXAMPLE_BUY=1 to allow it to spend money there.

    python examples/desktops.py
    python examples/desktops.py --minutes 5 --save screen.jpg
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import AsyncExitStack
from datetime import timedelta

from vcloud import APIKeyAuth, Endpoint, InvalidArgumentError, printable
from vcloud.emulator import Emulator
from vcloud.providers.desktops import (
    Action,
    ActionsFailed,
    ClickMouse,
    DesktopRef,
    Desktops,
    GetCursorPosition,
    MoveMouse,
    PressKeys,
    TakeScreenshot,
    TypeText,
    Wait,
    from_json,
    to_json,
)


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes",
        type=int,
        default=10,
        help="time after which a desktop stops by itself (default: %(default)s)",
    )
    parser.add_argument("--save", metavar="FILE", help="where to write the screenshot")
    return parser.parse_args()


#: The actions of an agent, as data.
PLAN: tuple[Action, ...] = (
    ClickMouse(x=500, y=300, button="left", count=2),
    TypeText("Hello from vcloud"),
    PressKeys("Return"),
    Wait(0.5),
    MoveMouse(640, 200),
    GetCursorPosition(),
    TakeScreenshot(),
)


async def work(desktop: DesktopRef, save: str | None) -> None:
    """Use the desktop, with one call for each action."""
    await desktop.click(500, 300)
    await desktop.type("ls")
    await desktop.press("ctrl+a")
    await desktop.drag((100, 100), (400, 250))
    await desktop.scroll("down", 3)
    x, y = await desktop.cursor_position()
    say(f"  the pointer is at {x}, {y}")

    shot = await desktop.screenshot()
    say(
        f"  the screen is {len(shot.data)} bytes of {shot.media_type}"
        + (f", in {shot.save(save)}" if save else "")
    )
    for command in ("whoami", "uname", "echo 'Hello, World!'"):
        say(f"  $ {command:<22} {(await desktop.bash(command)).strip()}")


async def replay(desktop: DesktopRef, recording: str) -> None:
    """Perform recorded actions, and print the result of each."""
    actions = [from_json(line) for line in json.loads(recording)]
    try:
        results = await desktop.perform_all(actions)
    except ActionsFailed as error:
        say(f"  stopped after {len(error.results)} of {len(actions)}: {error.error}")
        return
    for action, result in zip(actions, results, strict=True):
        seen = (
            f"{len(result.screenshot.data)} bytes"
            if result.screenshot
            else " ".join((result.output or "done").split())
        )
        say(f"  {action.tag:<20} {seen}")


async def main() -> None:
    """Use one desktop directly and a second one by replaying, and leave none running."""
    options = arguments()
    lifetime = timedelta(minutes=options.minutes)
    async with AsyncExitStack() as stack:
        key = os.environ.get("VCLOUD_DESKTOPS_API_KEY")
        if key:
            endpoint, poll = (
                Endpoint(os.environ.get("VCLOUD_DESKTOPS_URL") or None, auth=APIKeyAuth(key)),
                2.0,
            )
        else:
            # A minute of the service's time passes in half a second.
            emulator = await stack.enter_async_context(Emulator(speed=120))
            endpoint, poll = emulator.endpoints()["desktops"], 0.02
        client = await stack.enter_async_context(Desktops(endpoint))
        if key and os.environ.get("VCLOUD_EXAMPLE_BUY") != "1":
            say("Desktops cost money: set VCLOUD_EXAMPLE_BUY=1 to go on.")
            return

        # Leaving the block stops the desktop, also after an error.
        async with client.launch(lifetime, poll=poll) as desktop:
            say(
                f"Desktop {desktop.id} is {desktop.status} "
                f"until {desktop.timeout_at:%H:%M} UTC at the latest:"
            )
            # Anyone who has desktop.stream_url can use the desktop: show it to its user, and never
            # log it.
            await work(desktop, options.save)
        say(f"  and now it is {(await desktop.refresh()).status}")

        recording = json.dumps([to_json(action) for action in PLAN])
        print()
        say(f"Replaying {len(PLAN)} recorded actions ({len(recording)} bytes of JSON) on another:")
        async with client.launch(lifetime, poll=poll) as desktop:
            await replay(desktop, recording)

            print()
            say("Mistakes, caught before anything is sent:")
            for mistake in (
                {"type": "move_mouse", "x": -1, "y": 5},
                {"type": "press_keys", "keys": "a; reboot"},
            ):
                try:
                    await desktop.perform(from_json(mistake))
                except InvalidArgumentError as error:
                    say(f"  {error}")


if __name__ == "__main__":
    asyncio.run(main())
