"""The length of a list as the answers tell it, and whether two pages meet without a gap."""

from __future__ import annotations

import msgspec


class Stamp(msgspec.Struct, frozen=True):
    """When a page was read, relative to the changes of the total.

    Attributes:
        order: its place among the answers, by their arrival.
        falls: how often the total had fallen by then.
        rises: how often it had risen.
        total: what it was; None while the service has not told it.
    """

    order: int
    falls: int
    rises: int
    total: int | None


class Totals:
    """What the answers of one iteration said of the list's length, in the order of their arrival.

    Attributes:
        size: items on a full page, as the service sends them.
        first: the first total.
        now: the latest total.
        falls: how often it fell.
        rises: how often it rose.
    """

    __slots__ = ("_order", "falls", "first", "now", "rises", "size")

    def __init__(self) -> None:
        self.size = 1
        self.falls = self.rises = self._order = 0
        self.first: int | None = None
        self.now: int | None = None

    def note(self, number: int, items: int, total: int | None) -> Stamp:
        """Take down an answer.

        Args:
            number: the page.
            items: how many items it had.
            total: how many items the service says there are in all.
        """
        self.size = max(self.size, items)
        # A total that the page itself exceeds does not count the list, and how it changes means
        # nothing.
        if total is not None and (not items or (number - 1) * self.size + items <= total):
            if self.now is None:
                self.first = total
            elif total < self.now:
                self.falls += 1
            elif total > self.now:
                self.rises += 1
            self.now = total
        self._order += 1
        return Stamp(self._order, self.falls, self.rises, self.now)


def meet(before: Stamp, after: Stamp, size: int, *, strict: bool = False) -> bool:
    """Whether no item that stays can stand between a page and the one with the next number.

    Args:
        before: when the page was read.
        after: when the next one was read.
        size: items on a full page.
        strict: two pages read in the other order meet only if the total is the same.
    """
    if before.order < after.order:
        return before.falls == after.falls
    if before.rises != after.rises or (strict and before.falls != after.falls):
        return False
    return before.total is None or after.total is None or after.total - before.total <= size
