"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere.

Nothing here fails a run. Standard error may be missing (``pythonw``), closed, a pipe that nobody
reads from, or a terminal that goes away while the run goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, cast

from vcloud._core.waiting import Waiting, briefly
from vcloud.errors import ConfigurationError
from vcloud.errors.text import printable

if TYPE_CHECKING:
    from vcloud.bulk.outcome import Totals

#: Seconds between two lines where there is no terminal: a run of an hour makes 120 of them.
LINE_INTERVAL: Final = 30.0
#: Seconds between two looks for what is waited for, while there is a bar.
WAIT_INTERVAL: Final = 1.0

#: Says for what the calls of a run wait.
Waits = Callable[[], Sequence[Waiting]]


class Bar(Protocol):
    """Something that shows how far a run is."""

    def show(self, totals: Totals) -> None:
        """It is this far now."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class _Silence:
    def show(self, totals: Totals) -> None:
        pass

    def close(self) -> None:
        pass


def bar(title: str | None, waits: Waits) -> Bar:
    """What shows a run on standard error. Called in the event loop of the run.

    Args:
        title: what the run does; None: nothing is shown.
        waits: for what its calls wait.

    Returns:
        a bar on a terminal, which is drawn by rich; elsewhere one that writes a line each 30
        seconds; one that is silent when there is no title, or no standard error.

    Raises:
        ConfigurationError: it is a terminal, and rich is not installed.
    """
    # Of a bar that is drawn already, another one needs what that one writes to.
    stream: Any = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
    if title is None or stream is None:
        return _Silence()
    output = _Output(stream)
    if not output.isatty():
        return _Lines(title, output, asyncio.get_running_loop(), waits)
    try:
        import rich  # noqa: F401, PLC0415 - only those who watch need it
    except ImportError:
        raise ConfigurationError(
            "a progress bar needs the extra: pip install 'vcloud-sdk[progress]'"
        ) from None
    try:
        return _Drawn(title, output, asyncio.get_running_loop(), waits)
    except Exception:  # noqa: BLE001 - no thread can be started, say
        return _Lines(title, output, asyncio.get_running_loop(), waits)


class _Output:
    """A stream to which one can always write. What it does not take is dropped.

    rich must not see a broken pipe: it would end the process with status 1, after it had replaced
    standard output.

    Args:
        stream: the one that may fail, in any way.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._gone = False
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal, and still there."""
        return _is_terminal(self._stream)

    def fileno(self) -> int:
        """The stream's, by which rich knows a console of Windows."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write it, or never write anything again."""
        if not self._gone:
            try:
                self._stream.write(self._writable(text))
            except BlockingIOError:
                pass  # it does not wait for its reader, who may be there again for the next text
            except Exception:  # noqa: BLE001 - the stream may be anybody's
                self._gone = True
        return len(text)

    def flush(self) -> None:
        """Have it written now, if that can be."""
        if not self._gone:
            try:
                self._stream.flush()
            except BlockingIOError:
                pass
            except Exception:  # noqa: BLE001 - as above
                self._gone = True

    def _writable(self, text: str) -> str:
        """The text with escapes for what the stream's encoding lacks."""
        if text.isascii():
            return text
        return text.encode(self.encoding, "backslashreplace").decode(self.encoding)


def _is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal. It may be None, closed, or anything with ``write``."""
    try:
        return bool(stream.isatty())
    except Exception:  # noqa: BLE001 - no such method, a closed file, ...
        return False


class _Lines:
    """Writes a line each half minute, for the log of a service or of a batch job.

    A run that takes less than that writes nothing.

    Args:
        title: what the run does.
        output: where to write.
        loop: whose clock and timers are used.
        waits: for what its calls wait.
    """

    def __init__(
        self, title: str, output: _Output, loop: asyncio.AbstractEventLoop, waits: Waits
    ) -> None:
        self._title = printable(title)
        self._output = output
        self._loop = loop
        self._waits = waits
        self._began = loop.time()
        self._totals: Totals | None = None
        self._written = False
        # A timer, because a line must come even if no item is over for hours.
        self._timer = loop.call_later(LINE_INTERVAL, self._ring)

    def show(self, totals: Totals) -> None:
        self._totals = totals

    def close(self) -> None:
        self._timer.cancel()
        if self._written and self._totals is not None:
            stopped = self._totals.ending
            self._write(f"; stopped: {stopped}" if stopped else "; ended")

    def _ring(self) -> None:
        self._timer = self._loop.call_later(LINE_INTERVAL, self._ring)
        self._written = True
        self._write("".join(f"; {one}" for one in map(briefly, self._waits())))

    def _write(self, end: str) -> None:
        if self._totals is None:
            return
        elapsed = timedelta(seconds=int(self._loop.time() - self._began))
        # At once, so that no line of somebody else's gets into it.
        self._output.write(f"{self._title}: {_count(self._totals)}, after {elapsed}{end}\n")
        self._output.flush()


def _over(totals: Totals) -> int:
    """How many items are over."""
    return totals.done + totals.failed + totals.unknown


def _count(totals: Totals) -> str:
    """How many items are over, and what went wrong."""
    over = _over(totals)
    troubles = [
        f"{count} {word}"
        for word, count in (("failed", totals.failed), ("unknown", totals.unknown))
        if count
    ]
    return ", ".join(
        [f"{over}/{totals.total}" if totals.total is not None else str(over), *troubles]
    )


class _Drawn:
    def __init__(
        self, title: str, output: _Output, loop: asyncio.AbstractEventLoop, waits: Waits
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
            # What is printed meanwhile goes above the bar; but what goes into a file or a pipe must arrive there.
            redirect_stdout=_is_terminal(sys.stdout),
        )
        self._task = self._progress.add_task(printable(title), total=None, count="", waits="")
        self._loop = loop
        self._waits = waits
        self._timer = loop.call_later(WAIT_INTERVAL, self._ring)
        try:
            self._progress.start()
        except BaseException:
            self.close()
            raise

    def show(self, totals: Totals) -> None:
        self._progress.update(
            self._task, completed=_over(totals), total=totals.total, count=_count(totals)
        )

    def _ring(self) -> None:
        self._timer = self._loop.call_later(WAIT_INTERVAL, self._ring)
        self._progress.update(self._task, waits="; ".join(map(briefly, self._waits())))

    def close(self) -> None:
        self._timer.cancel()
        with contextlib.suppress(Exception):  # it gives the standard streams back all the same
            self._progress.update(self._task, waits="")
            self._progress.stop()
