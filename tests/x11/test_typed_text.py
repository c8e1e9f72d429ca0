"""What is typed arrives in real programs: the client, the service's own commands, real xdotool, a
terminal and an editor.

Nothing of the emulator takes part, so that this is a second witness.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from attrs import frozen

from tests.lacking import untested
from tests.unit.desktops_service import command
from tests.unit.desktops_wired import ID, Wired, client, response
from tests.x11.machine import content, until
from vcloud import Response
from vcloud.providers.desktops import DesktopRef
from vcloud.providers.desktops.keys import _EXACT, _FOLDED

PROGRAMS = {
    "Xvnc": "tigervnc-standalone-server",
    "xdotool": "xdotool",
    "xterm": "xterm",
    "mousepad": "mousepad",
    "dbus-run-session": "dbus-daemon",
    "xev": "x11-utils",
}

#: What the keyboard of the display has: it arrives, whatever else the machine is doing.
PLAIN = [
    "x'; touch owned; echo 'y",
    "it's 'quoted', and \"quoted\"",
    "''",
    "'-x",
    "--help",
    "-n -e --version -",
    "a\n-b\r\n--c\rd",
    "$(touch owned) `touch owned` ${HOME} $PWD ~ !! | & ; < > ( ) # % ^ @ = + _ [a] {b} * ?",
    "\\ \\\\ \\n \\t \\x41 %s %d \\' \\\" $'x'",
    "a\tb",
    "   three spaces   ",
    "MiXeD CaSe 0123456789",
    'for i in 1 2 3; do echo "$i"; done # it\'s done',
    "end of line\n\n\nthree lines on",
    "0123456789 -abcdefg " * 13,
]
#: What it lacks: xdotool lends each a spare key, and a program that is busy may look it up too late
#: and miss it.
LENT = "Äé€ñß\xd7ÉØÞ日кŁ😀\u00a0\u2028"


def require_programs() -> None:
    """Skip if a program is missing; in CI, fail."""
    lacking = [
        f"{name} (Debian: {package})"
        for name, package in PROGRAMS.items()
        if not shutil.which(name)
    ]
    if not lacking:
        return
    reason = f"TYPING INTO REAL PROGRAMS IS NOT TESTED: there is not {', nor '.join(lacking)}"
    untested(reason)


def lines(text: str) -> str:
    return re.sub("\r\n?", "\n", text)


@frozen
class Screen:
    """A real display, and the service's way to it."""

    display: str
    folder: Path
    desktop: DesktopRef

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DISPLAY": self.display,
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "GDK_BACKEND": "x11",
        }

    async def run(self, line: str) -> tuple[int | None, str]:
        """Run a command as the service does; its exit status and its output."""
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", line.replace("DISPLAY=:99 ", ""), cwd=self.folder, env=self.environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await process.communicate()
        return process.returncode, (output.decode().strip() or errors.decode().strip())

    @asynccontextmanager
    async def program(self, *arguments: str) -> AsyncIterator[None]:
        """A program with a window, which gets the pointer and with it the keyboard."""
        async with started(*arguments, cwd=self.folder, env=self.environment()):

            async def there() -> bool:
                _, output = await self.run(
                    "xdotool mousemove 1000 750 mousemove 200 200 getmouselocation --shell"
                )
                return int(dict(line.split("=") for line in output.split())["WINDOW"]) != self.root

            await until(there)
            yield

    @property
    def root(self) -> int:
        return int((self.folder / "root").read_text())


@asynccontextmanager
async def started(*arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL, start_new_session=True, **options,
    )  # fmt: skip
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, 15)
        except ProcessLookupError:
            pass
        await process.wait()


@pytest_asyncio.fixture
async def screen(tmp_path: Path) -> AsyncIterator[Screen]:
    require_programs()
    reader, writer = os.pipe()
    async with AsyncExitStack() as stack:
        xvnc = started(
            "Xvnc", "-displayfd", str(writer), "-geometry", "1024x768", "-depth", "24",
            "-SecurityTypes", "None", "-rfbport", "-1", "-rfbunixpath", str(tmp_path / "rfb"),
            "-nolisten", "tcp", pass_fds=[writer],
        )  # fmt: skip
        await stack.enter_async_context(xvnc)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            display = f":{(await asyncio.to_thread(pipe.readline)).strip()}"

        async def reply(method: str, path: str) -> Response:
            body = wired.asked[-1][2]
            code, output = await made.run(command(path, body))
            if code and not path.endswith("/bash-action"):
                said = f"Failed: Command failed with code {code}"
                return response({"status": "error", "error": said, "docs": "d"}, 500)
            return response({"status": "success", "output": output})

        wired = Wired(reply)
        made = Screen(display, tmp_path, client(wired).ref(ID))
        _, output = await made.run("xdotool mousemove 1000 750 getmouselocation --shell")
        (tmp_path / "root").write_text(dict(line.split("=") for line in output.split())["WINDOW"])
        yield made
        assert not (tmp_path / "owned").exists(), "a part of a text ran"


def remove(file: Path) -> None:
    file.unlink(missing_ok=True)


async def came(screen: Screen, file: Path, text: str, *, before: Sequence[str], after: str) -> str:
    """Type a text, and return what a program then writes into a file."""
    for key in before:
        await screen.desktop.press(key)
    remove(file)
    await screen.desktop.type(text)
    await screen.desktop.press(after)
    # Until it has content, because it is created before.
    await until(lambda: content(file) != "")
    return content(file).removesuffix("\n")


async def check(screen: Screen, file: Path, *, before: Sequence[str], after: str) -> None:
    for text in PLAIN:
        assert await came(screen, file, text, before=before, after=after) == lines(text)
    for character in LENT:
        text = f"|{character}|"
        while (seen := await came(screen, file, text, before=before, after=after)) != text:
            assert seen == "||", "it is missed, or it arrives as it is"


@pytest.mark.timeout(240)
async def test_hard_texts_arrive_in_an_editor(screen: Screen) -> None:
    file = screen.folder / "note.txt"
    file.write_text("")
    async with screen.program("dbus-run-session", "--", "mousepad", str(file)):
        await screen.desktop.click(200, 200)
        await check(screen, file, before=("ctrl+a", "DELETE"), after="ctrl+s")


#: Writes what is typed until a form feed, which Ctrl+L is, and begins anew.
READER = r"""
import os, sys, tty
tty.setraw(0)
open("ready", "w").close()
typed = b""
while True:
    typed += os.read(0, 4096)
    if typed.endswith(b"\f"):
        with open("new", "wb") as file:
            file.write(typed[:-1].replace(b"\r", b"\n"))
        os.rename("new", sys.argv[1])
        typed = b""
"""


@pytest.mark.timeout(240)
async def test_hard_texts_arrive_in_a_terminal(screen: Screen) -> None:
    file = screen.folder / "typed"
    (screen.folder / "reader.py").write_text(READER)
    async with screen.program(
        "xterm", "-u8", "-geometry", "100x40+0+0", "-e", "python3", "reader.py", str(file)
    ):
        await until((screen.folder / "ready").exists)
        await screen.desktop.click(200, 200)
        await check(screen, file, before=(), after="ctrl+l")


async def test_held_keys_apply_to_clicks_and_to_keys_that_are_held_with_them_and_are_released(
    screen: Screen,
) -> None:
    log = screen.folder / "events"
    desktop = screen.desktop
    async with screen.program("bash", "-c", f"exec xev -geometry 400x400+0+0 > {log}"):
        await desktop.move(200, 200)

        async def state_of_click() -> int:
            """The modifiers that the next click has."""
            seen = len(content(log))
            await desktop.click()
            await until(lambda: "ButtonRelease" in content(log)[seen:])
            found = re.search(r"ButtonPress.*?state (0x[0-9a-f]+)", content(log)[seen:], re.DOTALL)
            assert found is not None
            return int(found[1], 16)

        shift, ctrl = 1, 4
        assert await state_of_click() == 0
        await desktop.key_down("Shift")
        assert await state_of_click() == shift
        await desktop.key_down("CTRL")
        await desktop.type("ab")
        await desktop.press("Enter")
        assert await state_of_click() == shift | ctrl
        seen = len(content(log))
        await desktop.key_down("c")
        await desktop.key_up("c")
        await until(lambda: "keysym 0x43, C" in content(log)[seen:])
        await desktop.key_up("ctrl")
        assert await state_of_click() == shift
        await desktop.key_up("shift")
        assert await state_of_click() == 0


async def test_real_xdotool_knows_every_symbol_that_a_name_is_translated_to(screen: Screen) -> None:
    symbols = sorted({*_EXACT.values(), *_FOLDED.values(), "U20AC", "U1F600"})
    code, output = await screen.run(f"xdotool keyup {' '.join(symbols)}")
    assert (code, output) == (0, "")
    # An unknown name is reported.
    assert "No such key name" in (await screen.run("xdotool keyup NoSuchKey"))[1]
