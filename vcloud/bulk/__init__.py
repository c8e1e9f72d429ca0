"""Bulk runs: one async function over many items, with an outcome for each.

A run that was killed can be continued from its journal. This package does not depend on a provider:
the function may do anything.
"""

from __future__ import annotations

from vcloud.bulk.entry import Entry
from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import Outcome, OutcomeStatus, Settled, Totals
from vcloud.bulk.plan import Plan
from vcloud.bulk.run import Bulk

__all__ = ["Bulk", "Entry", "Journal", "Outcome", "OutcomeStatus", "Plan", "Settled", "Totals"]
