"""The state of a bulk run: how many items have each outcome, and which outcomes end the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field

from vcloud._core.timing.clock import wall
from vcloud._core.waiting_report import as_datetime
from vcloud.bulk.options import BulkOptions
from vcloud.bulk.outcome import OutcomeStatus, Totals


@define
class RunState:
    """Counts the outcomes of a run, and keeps what ends it.

    Attributes:
        total: how many items there are, with those that only the journal knows; None: unknown.
        statuses: how many items have each status. It begins with those of the journal.
        failures: how many items failed or became unknown in this run.
        resumed: how many outcomes were taken over from the journal.
        attempts: requests sent for the items that are finished.
        deadline_passed: whether the deadline interrupted an item.
        write_error: why an outcome could not be written to the journal.
        credentials_refused: whether an item was not sent because its client's credentials had
            been refused before.
        rate_limited: whether a rate limit lasts longer than the run waits.
        limited_until: until when it lasts; None: unknown.
    """

    total: int | None
    statuses: Counter[OutcomeStatus] = field(factory=Counter)
    failures: int = 0
    resumed: int = 0
    attempts: int = 0
    deadline_passed: bool = False
    write_error: Exception | None = None
    credentials_refused: bool = False
    rate_limited: bool = False
    limited_until: datetime | None = None

    def include(self, statuses: Mapping[OutcomeStatus, int], others: int) -> None:
        """Count what an earlier run has done.

        Args:
            statuses: how many items of the journal have each status.
            others: how many items the journal has that are not among those of this run.
        """
        self.statuses.update(statuses)
        if self.total is not None:
            self.total += others

    def add(self, status: OutcomeStatus, before: OutcomeStatus | None) -> None:
        """Count the outcome of an item.

        Args:
            status: the outcome.
            before: the item's outcome in an earlier run, which was counted; None: there is none.
        """
        if before is None:
            self.statuses[status] += 1
        elif status is not OutcomeStatus.UNDONE:  # an undone item keeps its earlier outcome
            self.statuses[before] -= 1
            self.statuses[status] += 1
        self.failures += status in {OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN}

    def add_rate_limit(self, seconds: float | None) -> None:
        """A rate limit lasts longer than the run waits.

        Args:
            seconds: how long it lasts from now; None: unknown.
        """
        self.rate_limited = True
        until = None if seconds is None else as_datetime(wall() + seconds)
        if until is not None and (self.limited_until is None or until > self.limited_until):
            self.limited_until = until

    def stop_reason(self, options: BulkOptions[Any, Any], *, all_taken: bool) -> str | None:
        """Why no further item should be started; None if one may be started.

        Args:
            options: those of the run.
            all_taken: whether there are no further items. Then neither refused credentials nor
                the number of failures stops anything.
        """
        if self.deadline_passed:
            return "deadline"
        if self.rate_limited:
            return "rate_limit"
        if all_taken:
            return None
        if self.credentials_refused and options.one_client:
            return "credentials"
        if options.max_failures is not None and self.failures >= options.max_failures:
            return "max_failures"
        return None

    def totals(self, elapsed: float, stopped: str | None) -> Totals:
        """The totals of the run.

        Args:
            elapsed: seconds that it has taken.
            stopped: why it was stopped; None: it was not.
        """
        done, failed, unknown = (
            self.statuses[status]
            for status in (OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.UNKNOWN)
        )
        return Totals(
            total=self.total,
            done=done,
            failed=failed,
            unknown=unknown,
            undone=self.statuses[OutcomeStatus.UNDONE]
            if self.total is None
            else max(0, self.total - done - failed - unknown),
            resumed=self.resumed,
            attempts=self.attempts,
            elapsed=timedelta(seconds=elapsed),
            stopped=stopped,
            until=self.limited_until if stopped == "rate_limit" else None,
        )
