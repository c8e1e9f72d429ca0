"""Bulk runs: one async function over many items, with an outcome for each.

A run that was killed can be continued from its journal. This package does not depend on a provider:
the function may do anything.
"""

from __future__ import annotations

from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled, Totals
from vcloud.bulk.run import Bulk
from vcloud.bulk.store import Entry

__all__ = ["Bulk", "Entry", "Journal", "Outcome", "OutcomeStatus", "Settled", "Totals"]
