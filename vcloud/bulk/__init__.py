"""Bulk runs: one async function over many items, with an outcome for each, that can be killed and goes on.

It leans on no provider: the function may do anything.
"""

from __future__ import annotations

from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled, Totals
from vcloud.bulk.run import Bulk
from vcloud.bulk.store import Entry

__all__ = ["Bulk", "Entry", "Journal", "Outcome", "OutcomeStatus", "Settled", "Totals"]
