"""A progress bar for those who watch: drawn by rich on a terminal, and nowhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

from vcloud._core.text import printable
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud.bulk.outcome import Totals


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


def bar(title: str | None) -> Bar:
    """A bar on standard error; one that is silent when there is no title, or nobody watches.

    Raises:
        ConfigurationError: somebody watches, and rich is not installed.
    """
    if title is None or not sys.stderr.isatty():
        return _Silence()
    try:
        import rich  # noqa: F401, PLC0415 - only those who watch need it
    except ImportError:
        raise ConfigurationError(
            "a progress bar needs the extra: pip install 'vcloud-sdk[progress]'"
        ) from None
    return _Drawn(title)


class _Drawn:
    def __init__(self, title: str) -> None:
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
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            # What is printed meanwhile goes above the bar; but what goes into a file or a pipe must arrive there.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task = self._progress.add_task(printable(title), total=None, count="")
        self._progress.start()

    def show(self, totals: Totals) -> None:
        over = totals.done + totals.failed + totals.unknown
        troubles = [
            f"{count} {word}"
            for word, count in (("failed", totals.failed), ("unknown", totals.unknown))
            if count
        ]
        count = ", ".join(
            [f"{over}/{totals.total}" if totals.total is not None else str(over), *troubles]
        )
        self._progress.update(self._task, completed=over, total=totals.total, count=count)

    def close(self) -> None:
        self._progress.stop()
