"""Which parts of a list have been read, although items leave and join it between two requests.

A page is the items at certain positions at one moment. When an item leaves, every item behind it
moves to the front by one position, and the page with the next number begins too late. When an item
joins, every item behind it moves back, and items come again.

**What is known.** Assume that the order of the list does not change. Then a page is an interval of
that order: every item that stays on the list and belongs into the interval is on the page. Two
intervals that meet are one interval with no gap in it. Two intervals meet

- if they share an item;
- if the page with the next number was read later, and the total has not fallen since: nothing left,
  and items that joined only make the second page begin earlier;
- if the page with the next number was read earlier, and the total has not risen since, nor fallen
  by more than a page: nothing joined, and items that left only make the first page reach farther.

What has been read is therefore a set of *runs*. Each run is an interval. ``START`` is the run that
reaches back to the beginning: page 1 always belongs to it. The list is read when a page that ends
it belongs to ``START``. While the total does not change, whether it is right or wrong, each page
meets the one before it. The iterator handles that case alone, and does not use this module.

**What cannot be known.** If as many items join as leave between two requests, or more, the total
does not fall, and the pages look as if nothing had left. No client can tell these two cases apart.
A client that sends no extra requests for items that join must assume that nothing left. The third
rule is wrong if, between its two requests, some items leave and fewer join. Therefore all pages
that met by the third rule, and all that were read before the last change of the total, are checked
at the end. The check uses the third rule only if the total is the same.

**What to read next.** While the last page belongs to ``START``: the page after it. Otherwise there
is a gap before the last page:

- If fewer items left than were yielded since the page before, other callers change the list.
  ``frontier`` is the end of ``START``, less the number of items that left since. Step back to the
  page that holds the item before it: that item shows whether the guess is right. If the page shows
  no item of ``START``, step back by one page more, and so on to page 1.
- If as many items left as were yielded, the caller removes what it gets, and all that is left is
  unread: read page 1 again. If that page has few new items, the guess was wrong, and is not made
  again.
- If more than half of the yielded items left, the caller removes most of them. Stepping back at
  once would read the others again and again. Read on to the end instead, past every gap, and then
  back page by page to ``START``. Items that the caller removes meanwhile are behind the pages that
  are still to be read, so those pages do not move. The way to the end reads a share of the pages,
  and the way back reads as many as are left then. Both together are at most as many as there were
  at first, and one reading of what is left at the end.

An iteration that begins at a later page must not yield the items before that page, but must yield
items that move there from behind it. An item that was yielded and is still listed separates the
two. If there is none, the totals decide: if exactly as many items left as were yielded, nothing
moved; items that left beyond that are assumed to have left before the first page. So an item may be
missed there if others remove items while the caller removes all that it gets. An iteration that
begins at page 1 has no such case.

**What it costs.** Nothing while nothing leaves. A page that is read again counts by the share of
its items that were known. All such pages together may cost at most two readings of the list as it
was when the first item was seen to have left. The check at the end may cost at most two readings of
what is left then. After that, the list is read on as if it did not change.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil
from typing import Any, Final

import msgspec

from vcloud._core.paging.totals import Stamp, Totals, meet

#: The run that reaches back to the beginning of the list.
START: Final = 0
#: A gap of at most this share of a page is read later.
SMALL_GAP: Final = 0.5
#: How often the rest of the list may be read again.
READINGS: Final = 2


class _Read(msgspec.Struct):
    """A page that was read.

    Attributes:
        number: which page it is.
        run: the run that it belongs to.
        stamp: when it was read.
        end: the position of its end.
        ends: whether no page follows.
    """

    number: int
    run: int
    stamp: Stamp
    end: int
    ends: bool


class Coverage:
    """What has been read of a list that items left, and which page to read next.

    Args:
        totals: the totals so far; the iterator keeps adding to them.
        known: the identities of all items that were yielded so far, without a gap.
        first: the page that the iteration began with.
        before: the last page that has no gap before it.
        end: the position of its end.
        stamp: when it was read.

    Attributes:
        known: the identities of all items that were yielded.
        checking: the list was read to its end, and is being checked.
        stopped: no more requests are spent on it: it is read on as if it did not change.
        stable: it may be read ahead. Not if it changes during the check at the end.
    """

    def __init__(
        self,
        totals: Totals,
        known: Iterable[Hashable],
        *,
        first: int,
        before: int,
        end: int,
        stamp: Stamp,
    ) -> None:
        self.known = set(known)
        self.checking = self.stopped = False
        self.stable = True
        self._totals = totals
        self._first = self._low = first
        #: The run of each item, and for each run the one that it became part of.
        self._run_of: dict[Hashable, int] = dict.fromkeys(self.known, START)
        self._parents = [START]
        #: The last page of each run, while its position is known.
        self._tails: list[_Read | None] = [_Read(before, START, stamp, end, ends=False)]
        self._pages: dict[int, _Read] = {before: self._tails[START]}  # type: ignore[dict-item]
        self._ended: set[int] = set()
        self._furthest = before
        self._spent = 0.0
        self._changes, self._check_began = (0, 0), False
        left = before + 1 if totals.now is None else ceil(totals.now / totals.size)
        self._allowance: float = READINGS * left + 1
        self._given, self._total = 0, stamp.total
        self._all_leave = self._most_leave = False
        #: Page 1 was read because every yielded item had left; whether that guess is still made.
        self._guessed, self._believed = False, True
        self._reading_on = self._going_back = False

    @property
    def frontier(self) -> int:
        """The position up to which all was read, if the items that left since were before it."""
        tail = self._tails[START]
        if tail is None:
            return (self._first - 1) * self._totals.size
        then, now = tail.stamp.total, self._totals.now
        return max(0, tail.end - max(0, (then or 0) - (now or 0)))

    @property
    def _left(self) -> int:
        """How many items shorter the list is than at first."""
        return (self._totals.first or 0) - (self._totals.now or 0)

    def _reaches_before(self, number: int) -> bool:
        """Whether an unread item may have moved before this page.

        Not if exactly as many items left as were yielded: then those left, and nothing moved.
        """
        begins = (number - 1) * self._totals.size
        return self.frontier < begins and self._left != len(self.known)

    def resume(self, following: int) -> int:
        """The page to resume with without a gap, if this iteration reads ``following`` next."""
        if self.checking or self.stopped:
            return following
        return min(following, self.frontier // self._totals.size + 1)

    def unseen(
        self, number: int, items: tuple[Any, ...], key: Callable[[Any], Hashable]
    ) -> tuple[Any, ...]:
        """The new items of a page, without those from before the beginning of the iteration."""
        skipped = 0
        if number < self._first:
            places = (place for place, item in enumerate(items) if key(item) in self.known)
            # Items that left beyond those that were yielded left before that page.
            begins = (self._first - 1) * self._totals.size - max(0, self._left - len(self.known))
            skipped = next(places, max(0, begins - (number - 1) * self._totals.size))
        return tuple([item for item in items[skipped:] if key(item) not in self.known])

    def add(
        self,
        number: int,
        keys: Sequence[Hashable],
        *,
        sent: int,
        new: int,
        stamp: Stamp,
        alone: bool,
        ends: bool,
    ) -> None:
        """Record a page.

        Args:
            number: which page it is.
            keys: the identities of its items.
            sent: how many items the service sent.
            new: how many of them were yielded.
            stamp: when it was read.
            alone: it was not read ahead: the caller had all pages before it.
            ends: whether no page follows.
        """
        size = self._totals.size
        if self.checking:
            # The first page does not show it yet.
            self.stable = self._check_began and (stamp.falls, stamp.rises) == self._changes
            self._check_began = True
        if alone:
            self._compare(stamp, new)
        if number <= self._furthest or not (new or ends):
            self._spent += 1 - min(1.0, new / size)
        self._furthest = max(self._furthest, number)
        page = _Read(number, START, stamp, (number - 1) * size + sent, ends)
        page.run = self._joined(page, keys)
        self._pages[number] = page
        if ends:
            self._ended.add(page.run)
        named = [key for key in keys if key is not None]
        self._run_of.update(dict.fromkeys(named, page.run))
        self.known.update(named)
        if len(named) < len(keys):
            # An item without identity would be yielded again.
            self.stopped = True

    def next(self, number: int, *, ahead: bool) -> int | None:
        """The page to read after this one; None when the list is read.

        Args:
            number: the page that was read last.
            ahead: the pages after it are requested now, before the caller gets its items.
        """
        spent = self._spent >= self._allowance
        if any(self._root(run) == START for run in self._ended):
            if self.checking or spent or self.stopped or not self._begin_check():
                return None
            return self._catch_up(self._low, ahead=False)
        if self.checking and (spent or self.stopped):
            return None
        if spent or self.stopped:
            self.stopped = True
            return None if self._pages[self._furthest].ends else self._furthest + 1
        return self._catch_up(number, ahead=ahead)

    def _compare(self, stamp: Stamp, new: int) -> None:
        """Compare how many items left with how many were yielded."""
        first, given = self._totals.first, len(self.known) - self._given
        if stamp.total is None or first is None or self._total is None:
            return
        if self._guessed and 2 * new < self._totals.size:
            self._believed = False
        left = first - stamp.total
        self._all_leave = self._believed and new > 0 and left >= len(self.known)
        self._most_leave = 2 * (self._total - stamp.total) >= given > 0
        self._given, self._total = len(self.known), stamp.total

    def _root(self, run: int) -> int:
        while self._parents[run] != run:
            run = self._parents[run]
        return run

    def _joined(self, page: _Read, keys: Iterable[Hashable]) -> int:
        """The run that the page belongs to: the runs that it meets, joined, or a new one."""
        met = {self._root(self._run_of[key]) for key in keys if key in self._run_of}
        size = self._totals.size
        # Nothing is missing before the first page of the iteration, unless an item moved there from
        # behind it.
        if page.number <= self._low and (page.number == 1 or not self._reaches_before(page.number)):
            met.add(START)
        before, after = self._pages.get(page.number - 1), self._pages.get(page.number + 1)
        if before is not None and meet(before.stamp, page.stamp, size, strict=self.checking):
            run = self._root(before.run)
            grown = (page.stamp.total or 0) - (before.stamp.total or 0)
            # The whole page may be before the other one. For START this does not matter.
            if run == START or grown <= size:
                met.add(run)
        if after is not None and meet(page.stamp, after.stamp, size, strict=self.checking):
            met.add(self._root(after.run))
        joined = min(met, default=len(self._parents))
        if not met:
            self._parents.append(joined)
            self._tails.append(page)
        tails = [self._tails[run] for run in met if run != START]
        start = self._tails[START]
        if joined == START and start is not None and start.stamp.falls == self._totals.falls:
            tails.append(start)
        self._tails[joined] = max(filter(None, [page, *tails]), key=lambda tail: tail.number)
        for run in met:
            self._parents[run] = joined
        return joined

    def _catch_up(self, number: int, *, ahead: bool) -> int:
        size, page, tail = self._totals.size, self._pages.get(number), self._tails[START]
        frontier = self.frontier
        if self._reaches_before(self._first):
            self._low = min(self._low, frontier // size + 1)
        self._guessed = self._all_leave and not ahead
        if tail is None or page is None or self._guessed:
            self._reading_on = self._going_back = False
            return self._low
        if self._reading_on and not page.ends:
            return number + 1
        back = max(self._low, (frontier - 1) // size + 1)
        if self._root(page.run) == START:
            self._going_back = False
            gap = tail.number * size - frontier
            if tail.stamp.falls == self._totals.falls or gap <= SMALL_GAP * size:
                return tail.number + 1
        elif self._most_leave and not (self._going_back or self.checking or page.ends):
            self._reading_on = True
            return number + 1
        elif self._reading_on or self._going_back or (self._most_leave and not self.checking):
            self._reading_on, self._going_back = False, True
            back = min(number - 1, ceil((self._totals.now or number * size) / size))
        else:
            back = min(back, number - 1)
        self._low = min(self._low, max(1, back))
        return max(1, back)

    def _begin_check(self) -> bool:
        """Keep the pages since the last change of the total; whether others must be read again."""
        totals = self._totals
        self._changes = now = (totals.falls, totals.rises)
        fresh = {
            number: page
            for number, page in self._pages.items()
            if totals.now is not None and (page.stamp.falls, page.stamp.rises) == now
        }
        self.checking = True
        self._pages, self._run_of, self._ended = {}, {}, set()
        self._parents = [START]
        self._tails = [None]
        self._reading_on = self._going_back = self._all_leave = False
        for number in sorted(fresh):
            page = fresh[number]
            page.run = self._joined(page, ())
            self._pages[number] = page
            if page.ends:
                self._ended.add(page.run)
        left = self._furthest if totals.now is None else ceil(totals.now / totals.size)
        self._allowance = min(self._allowance, self._spent + READINGS * left + 1)
        return not any(self._root(run) == START for run in self._ended)
