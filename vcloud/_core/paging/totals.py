"""How the length of a list changes between answers, and whether two pages meet without a gap."""

from __future__ import annotations

import msgspec


class Stamp(msgspec.Struct, frozen=True):
    """When a page was read, relative to the changes of the total.

    Attributes:
        order: its place in the order in which the answers arrived.
        falls: how often the total had fallen by then.
        rises: how often it had risen by then.
        total: the total then; None if the service had not sent one.
    """

    order: int
    falls: int
    rises: int
    total: int | None


class Totals:
    """The totals of one iteration, in the order in which the answers arrived.

    Attributes:
        size: how many items a full page has.
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
        """Record an answer.

        Args:
            number: which page it is.
            items: how many items the page had.
            total: how many items the list has, as the service says.
        """
        self.size = max(self.size, items)
        # A total below the number of items on the page is wrong, and is ignored.
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
    """Whether there is no gap between a page and the page with the next number.

    A gap is an item that was on the list all the time, and is on neither page.

    Args:
        before: when the page was read.
        after: when the page with the next number was read.
        size: how many items a full page has.
        strict: pages that were read in reverse order meet only if the total is the same.
    """
    if before.order < after.order:
        return before.falls == after.falls
    if before.rises != after.rises or (strict and before.falls != after.falls):
        return False
    return before.total is None or after.total is None or after.total - before.total <= size
