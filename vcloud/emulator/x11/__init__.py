r"""Real desktops: an X server with VNC for each, with its own directory and processes.

    async with await X11Desktop.start(["xterm"]) as desktop:
        await desktop.run("xdotool type $'echo hello\n'")
        reader, writer = await desktop.open_vnc()

Programs run on this machine, as this user: the desktop is separate, but it is not a sandbox.
Whatever ends it (`aclose`, an exception, even SIGKILL of this process) ends all of its processes
and removes its directory; see `supervisor`. Linux only. If something is not installed, the error
names the Debian package.
"""

from __future__ import annotations

from vcloud.emulator.x11.desktop import (
    DesktopGoneError,
    X11Desktop,
    X11UnavailableError,
    missing,
    require,
)

__all__ = ["DesktopGoneError", "X11Desktop", "X11UnavailableError", "missing", "require"]
