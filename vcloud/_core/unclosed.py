"""What is left open and held by nobody: where it was opened, and the warning that says so."""

from __future__ import annotations

import sys
import warnings

__all__ = ["calling_line", "warn_left_open"]

#: The package whose frames are passed over.
_OWN = f"{__name__.partition('.')[0]}."


def calling_line() -> tuple[str, int]:
    """The file and the line that called into this package.

    It takes a microsecond, where a whole stack takes a hundred.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def warn_left_open(what: str, where: tuple[str, int]) -> None:
    """Warn of this, at the line that opened it. To be called when it is closed already.

    Nothing is said while the interpreter ends, when whatever a program left is collected.

    Args:
        what: such as "a VNC tunnel".
        where: as :func:`calling_line` gave it.
    """
    if sys.is_finalizing():
        return
    file, line = where
    # By its own filter at that line: a warning from a finalizer has no caller.
    warnings.warn_explicit(
        f"{what} that was opened at {file}:{line} is held by nobody, and was closed: "
        "use `async with`, or call aclose()",
        ResourceWarning,
        file,
        line,
    )
