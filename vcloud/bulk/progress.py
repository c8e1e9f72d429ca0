"""The progress of a run on standard error: a bar on a terminal, occasional lines elsewhere.

No error here ends a run. Standard error may be missing (``pythonw``), closed, a pipe without
a reader, or a terminal that disappears while the run continues.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from vcloud._core.waiting_report import Waiting, briefly
from vcloud.errors import ConfigurationError
from vcloud.errors.text import printable

if TYPE_CHECKING:
    from vcloud.bulk.outcome import Totals

#: Seconds between two lines where there is not a terminal: a run of an hour makes 120 of them.
LINE_INTERVAL: Final = 30.0
#: Seconds between two updates of what the calls wait for, while there is a bar.
WAIT_INTERVAL: Final = 1.0

#: Returns what the calls of a run wait for.
CurrentWaits = Callable[[], Sequence[Waiting]]


class Display(Protocol):
    """Shows the progress of a run."""

    def show(self, totals: Totals) -> None:
        """Show these totals."""

    def close(self) -> None:
        """Show nothing more, and leave the terminal as it was."""


class _NoDisplay:
    """Shows nothing."""

    def show(self, totals: Totals) -> None:
        pass

    def close(self) -> None:
        pass


def open_display(title: str | None, waits: CurrentWaits) -> Display:
    """Open the progress display of a run, in the event loop of the run.

    Args:
        title: what the run does; None: show nothing.
        waits: what its calls wait for.

    Returns:
        On a terminal, a bar that rich draws. Elsewhere, a display that writes a line every 30
        seconds. Without a title or a standard error, one that shows nothing.

    Raises:
        ConfigurationError: standard error is a terminal, and rich is not installed.
    """
    # Another bar that is open has replaced standard error; this one needs the original.
    stream: Any = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
    if title is None or stream is None:
        return _NoDisplay()
    output = _SafeStream(stream)
    if not output.isatty():
        return _LineDisplay(title, output, asyncio.get_running_loop(), waits)
    try:
        import rich  # noqa: F401, PLC0415 - only a progress bar needs it
    except ImportError:
        raise ConfigurationError(
            "progress= on a terminal needs rich, which is not installed: "
            "pip install 'vcloud-sdk[progress]'"
        ) from None
    try:
        return _BarDisplay(title, output, asyncio.get_running_loop(), waits)
    except Exception:  # noqa: BLE001 - for example, no thread can be started
        return _LineDisplay(title, output, asyncio.get_running_loop(), waits)


class _SafeStream:
    """A stream whose writes never fail. What the stream beneath does not take is dropped.

    rich must not see a broken pipe: after it has replaced standard output, it would end the process
    with status 1.

    Args:
        stream: the stream beneath, which may fail in any way.

    Attributes:
        encoding: its encoding.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._broken = False
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal that still exists."""
        return _is_terminal(self._stream)

    def fileno(self) -> int:
        """The descriptor of the stream, from which rich recognises a Windows console."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write the text. After an error, drop this text and all others."""
        if not self._broken:
            try:
                self._stream.write(self._writable(text))
            except BlockingIOError:
                pass  # a non-blocking pipe is full; the next text may fit again
            except Exception:  # noqa: BLE001 - any kind of object may be the stream
                self._broken = True
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if that is possible."""
        if not self._broken:
            try:
                self._stream.flush()
            except BlockingIOError:
                pass
            except Exception:  # noqa: BLE001 - as above
                self._broken = True

    def _writable(self, text: str) -> str:
        """The text, with escapes for characters that the stream's encoding does not have."""
        if text.isascii():
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)


def _is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal. It may be None, closed, or any object."""
    try:
        return bool(stream.isatty())
    except Exception:  # noqa: BLE001 - no such method, a closed file, ...
        return False


class _LineDisplay:
    """Writes a line every 30 seconds, for the log of a service or of a batch job.

    A run that takes less than that writes nothing.

    Args:
        title: what the run does.
        output: where to write.
        loop: whose clock and timers are used.
        waits: what the calls of the run wait for.
    """

    def __init__(
        self, title: str, output: _SafeStream, loop: asyncio.AbstractEventLoop, waits: CurrentWaits
    ) -> None:
        self._title = printable(title)
        self._output = output
        self._loop = loop
        self._waits = waits
        self._began = loop.time()
        self._totals: Totals | None = None
        self._written = False
        # A timer, because a line must be written even if no item finishes for hours.
        self._timer = loop.call_later(LINE_INTERVAL, self._update)

    def show(self, totals: Totals) -> None:
        self._totals = totals

    def close(self) -> None:
        self._timer.cancel()
        if self._written and self._totals is not None:
            stopped = self._totals.ending
            self._write(f"; stopped: {stopped}" if stopped else "; ended")

    def _update(self) -> None:
        self._timer = self._loop.call_later(LINE_INTERVAL, self._update)
        self._written = True
        self._write("".join(f"; {one}" for one in map(briefly, self._waits())))

    def _write(self, end: str) -> None:
        if self._totals is None:
            return
        elapsed = timedelta(seconds=int(self._loop.time() - self._began))
        # In one write, so that no other output gets into the line.
        self._output.write(f"{self._title}: {_counts_text(self._totals)}, after {elapsed}{end}\n")
        self._output.flush()


def _finished(totals: Totals) -> int:
    """How many items have an outcome."""
    return totals.done + totals.failed + totals.unknown


def _counts_text(totals: Totals) -> str:
    """How many items have an outcome, and how many failed or are unknown."""
    finished = _finished(totals)
    problems = [
        f"{count} {word}"
        for word, count in (("failed", totals.failed), ("unknown", totals.unknown))
        if count
    ]
    return ", ".join(
        [f"{finished}/{totals.total}" if totals.total is not None else str(finished), *problems]
    )


class _BarDisplay:
    """Draws a bar on a terminal, with rich. Arguments as for :class:`_LineDisplay`."""

    def __init__(
        self, title: str, output: _SafeStream, loop: asyncio.AbstractEventLoop, waits: CurrentWaits
    ) -> None:
        from rich.console import Console  # noqa: PLC0415 - as above
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[waits]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=cast("IO[str]", output)),
            # Printed lines appear above the bar; but a file or a pipe must get what is printed.
            redirect_stdout=_is_terminal(sys.stdout),
        )
        self._task = self._progress.add_task(printable(title), total=None, count="", waits="")
        self._loop = loop
        self._waits = waits
        self._timer = loop.call_later(WAIT_INTERVAL, self._update)
        try:
            self._progress.start()
        except BaseException:
            self.close()
            raise

    def show(self, totals: Totals) -> None:
        self._progress.update(
            self._task, completed=_finished(totals), total=totals.total, count=_counts_text(totals)
        )

    def _update(self) -> None:
        self._timer = self._loop.call_later(WAIT_INTERVAL, self._update)
        self._progress.update(self._task, waits="; ".join(map(briefly, self._waits())))

    def close(self) -> None:
        self._timer.cancel()
        with contextlib.suppress(Exception):  # rich restores the standard streams even then
            self._progress.update(self._task, waits="")
            self._progress.stop()
