"""Warnings about objects that were garbage-collected without being closed."""

from __future__ import annotations

import sys
import warnings

__all__ = ["calling_line", "warn_left_open"]

#: Frames of this package are skipped.
_PACKAGE = f"{__name__.partition('.')[0]}."


def calling_line() -> tuple[str, int]:
    """The file and line of the caller outside of this package.

    It takes a microsecond; inspect.stack() takes a hundred.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - documented, and the only way to it
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def warn_left_open(what: str, where: tuple[str, int]) -> None:
    """Warn at the line that opened something, after it was closed.

    There is no warning while the interpreter shuts down, and collects all that is left.

    Args:
        what: such as "a VNC tunnel".
        where: as returned by :func:`calling_line`.
    """
    if sys.is_finalizing():
        return
    file, line = where
    # Not warnings.warn: a finalizer has no caller at that line.
    warnings.warn_explicit(
        f"{what} that was opened at {file}:{line} was garbage-collected while open: "
        "it was closed; use `async with`, or call aclose()",
        ResourceWarning,
        file,
        line,
    )
