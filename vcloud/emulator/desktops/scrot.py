"""`scrot` on a simulated screen, as Debian's scrot 1.8.1 behaves."""

from __future__ import annotations

import re
from typing import Final

from vcloud.emulator.desktops.files import Files
from vcloud.emulator.desktops.programs import Call, Ran
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.screen import Screen
from vcloud.emulator.desktops.xdotool import DISPLAYS

_NAME: Final = re.compile(r"[^%$]+\.jpe?g")
"""Names that are not formats, and of the only kind of picture that is drawn."""


class Scrot:
    """The program that takes a picture of a screen."""

    def __init__(self, screen: Screen, files: dict[str, str]) -> None:
        """Take pictures of this screen, and put them among these files."""
        self._screen = screen
        self._files = files

    def run(self, call: Call) -> Ran:
        """Take a picture as `scrot [-q QUALITY] FILE.jpg`; the quality makes no difference.

        Raises:
            NotSimulatedError: it is called in another way.
        """
        if call.environment.get("DISPLAY") not in DISPLAYS:
            return Ran(stderr="scrot: Can't open X display. It *is* running, yeah?\n", code=1)
        *options, name = call.arguments or [""]
        if not _NAME.fullmatch(name) or not re.fullmatch(r"(-q ?\d{1,3})?", " ".join(options)):
            raise NotSimulatedError("scrot other than scrot [-q QUALITY] FILE.jpg")
        path = Files(self._files, dict(call.environment)).absolute(name)
        stem, dot, ending = path.rpartition(".")
        number = 0
        while path in self._files:
            # A file that is there is never overwritten.
            path = f"{stem}_{number:03}{dot}{ending}"
            number += 1
        self._screen.note("screenshot")
        self._files[path] = self._screen.picture().decode(errors="surrogateescape")
        return Ran()
