"""An agent on a real desktop: it opens a terminal, types, clicks, scrolls and takes screenshots.

The desktop is a real X display on this machine, behind the embedded emulator. The same code drives
a desktop in the cloud. It needs Linux and a few programs, and prints which of them are missing. It
runs commands on this machine, in a temporary directory.

    python examples/desktop_agent.py
    python examples/desktop_agent.py --directory pictures
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from vcloud import printable
from vcloud.emulator import Emulator
from vcloud.emulator.x11 import missing
from vcloud.providers.desktops import Desktop, Desktops, Screenshot

#: What the agent types: everything that is hard to type, and a line that would run if a part of the
#: note were executed.
LINES = """It's a note, typed key by key: "quotes", 'apostrophes', $HOME, `date`, 100 % and \\.
--help -- and a line that begins with dashes - doesn't end it.
x'; touch owned; echo 'y
for i in 1 2 3; do echo "$i"; done # that's it

"""
LENGTH = 2000
NOTE = (LINES * 10)[: LENGTH - 1] + "\n"
SCRIPT = (
    "echo 'A note, please; Ctrl+D ends it:'; touch ready; cat > note.txt; seq 200; "
    "echo Thank you.; touch done; exec cat"
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
        "--directory", type=Path, help="where to keep the screenshots (default: they are deleted)"
    )
    return parser.parse_args()


def missing_programs() -> list[str]:
    """What must be installed first."""
    return missing() + (
        [] if shutil.which("xterm") else ["the program xterm (Debian: apt-get install xterm)"]
    )


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Poll until the check succeeds, as an agent does."""
    async with asyncio.timeout(20):
        while True:
            if await check():
                return
            await asyncio.sleep(0.05)


async def changed(desktop: Desktop, before: Screenshot) -> Screenshot:
    """Take screenshots until one differs."""
    shots = [before]

    async def differs() -> bool:
        shots.append(await desktop.screenshot())
        return shots[-1].data != before.data

    await until(differs)
    return shots[-1]


async def work(desktop: Desktop, pictures: Path) -> None:
    """Open a terminal, type a note into it, and check what arrived."""

    def keep(name: str, shot: Screenshot) -> None:
        say(f"  {name}.jpg: {len(shot.data)} bytes, kept at {shot.save(pictures / f'{name}.jpg')}")

    async def exists(file: str) -> bool:
        return bool(await desktop.bash(f"ls {file} 2>/dev/null || true"))

    empty = await desktop.screenshot()
    keep("1-empty", empty)

    say("Opening a terminal, and clicking into it:")
    await desktop.bash(
        'xterm -geometry 100x40+20+20 -fg white -bg "#203040" '
        f'-e bash -c "{SCRIPT}" >/dev/null 2>&1 &'
    )
    await until(lambda: exists("ready"))
    await desktop.click(300, 200)
    say(f"  the pointer is at {', '.join(map(str, await desktop.cursor_position()))}")
    opened = await changed(desktop, empty)
    keep("2-opened", opened)

    say(f"Typing a note of {len(NOTE)} characters, which takes a minute:")
    await desktop.type(NOTE)
    typed = await changed(desktop, opened)
    keep("3-typed", typed)

    say("Pressing Ctrl+D, and scrolling back:")
    await desktop.press("ctrl+d")
    await until(lambda: exists("done"))
    ended = await changed(desktop, typed)
    await desktop.scroll("up", 3)
    keep("4-scrolled", await changed(desktop, ended))

    # The output of a command arrives without white space at its ends. To get it exactly, encode it.
    note = base64.b64decode(await desktop.bash("base64 note.txt")).decode()
    same = "equal to" if note == NOTE else "DIFFERENT FROM"
    say(
        f"The note, read from the file that it was typed into, is {same} what was typed. It begins:"
    )
    for line in note.splitlines()[:4]:
        say(f"  {line}")
    files = (await desktop.bash("ls")).split()
    ran = "A PART OF THE NOTE RAN" if "owned" in files else "no part of the note ran"
    say(f"The desktop's directory has {', '.join(files)}: {ran}.")
    if note != NOTE or "owned" in files:
        raise SystemExit(1)


async def main() -> None:
    """Use one desktop as a person would, and leave nothing behind."""
    options = arguments()
    if needed := missing_programs():
        say(
            "This example drives a real desktop on this machine, and some programs for that are "
            "missing."
        )
        say("It needs:")
        for each in needed:
            say(f"  - {each}")
        say("On Debian or Ubuntu, as root:")
        say(
            "  apt-get install --no-install-recommends "
            "tigervnc-standalone-server xdotool scrot xterm"
        )
        say("Nothing was done.")
        return
    with tempfile.TemporaryDirectory() as temporary:
        pictures: Path = options.directory or Path(temporary)
        await asyncio.to_thread(pictures.mkdir, parents=True, exist_ok=True)
        # allow_exec, because the desktop's shell runs on this machine.
        async with (
            Emulator(backend="x11", allow_exec=True) as emulator,
            Desktops(emulator.endpoints()["desktops"]) as desktops,
            desktops.launch(timedelta(minutes=10), poll=0.02) as desktop,
        ):
            say(f"Desktop {desktop.id} is {desktop.status}.")
            await work(desktop, pictures)
        say(
            "The desktop was stopped."
            if options.directory
            else "The desktop was stopped, and the screenshots were deleted: "
            "use --directory to keep them."
        )


if __name__ == "__main__":
    asyncio.run(main())
