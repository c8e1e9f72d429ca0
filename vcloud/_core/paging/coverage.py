"""Which parts of a list have been read, although items leave and join it between two requests.

A page is the items at certain positions at one moment. What leaves moves everything behind it to
the front, so that the page with the next number begins too late; what joins moves everything back,
so that items come again.

**What is known.** Let the list have an order that does not change. A page then is an interval of
that order: whatever stays on the list and belongs into the interval is on the page. Two intervals
that meet are one, with nothing missing between them. Intervals meet

- if they share an item;
- if the page with the next number was read later, and the total has not fallen since: nothing left,
  and what joined only makes the second page begin earlier;
- if the page with the next number was read earlier, and the total has not risen since, nor fallen
  by more than a page: nothing joined, and what left only makes the first page reach farther.

So what has been read is a set of *runs*, each an interval. ``START`` is the run that reaches back
to the beginning: page 1 always belongs to it. The list is read when a page that ends it belongs to
``START`` too. A total that does not change, right or wrong, makes each page meet the one before it:
that is the quiet list, which never comes here.

**What cannot be known.** If as many items join as leave between two reads, or more, the total does
not fall, and the pages look exactly as if nothing had left. No client can tell these two apart, and
one that pays nothing for joining items must believe that nothing left. The third rule errs if
between its two reads some leave and fewer join. Therefore whatever was read by it, or before the
total changed for the last time, is looked at once more at the end, and then without the third rule
unless the total is the same.

**What to read next.** While the last page belongs to ``START``: the page after it. If not, there is
a gap before it:

- If less left than was yielded since the page before, others are at work. ``frontier`` is where
  ``START`` ends: where it ended, less what left since. Step back to the page that holds the item
  before it, for that item shows whether the guess is right. If the page shows no item of ``START``,
  step back by one page more, and so on to page 1.
- If as much left as was yielded, the caller acts on what it gets, and all that is left is unread:
  read page 1 again. If that shows little that is new, the guess was wrong, and is not made again.
- If more than half of it left, the caller acts on most of it. Stepping back at once would read
  those that stayed again and again. Read on to the end instead, past one gap after the other, and
  then page by page back to ``START``: what the caller acts on meanwhile stands behind the pages
  that are still to be read, and does not move them. The first way takes a share of the pages, and
  the way back as many as are left then; both together are no more than the pages that there were at
  first, and one reading of what is left at the end.

A list that is begun at a later page has items before that page which nobody asked for, and others
that move there from behind it. An item that was yielded and is still listed tells the ones from the
others. If none is, the totals must: if just as much left as was yielded, nothing has moved; what
left beyond that is taken to have left before the page. So what others take off while the caller
takes off all it gets may be missed there, which a list begun at page 1 excludes.

**What it costs.** Nothing unless something left. A page read again counts by the part of it that
was known. All of this may cost no more than two readings of what was on the list when the first
item was seen to have left, and the look at the end no more than two readings of what is left then.
After that the list is read on as if it were quiet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil
from typing import Any, Final

import msgspec

from vcloud._core.paging.totals import Stamp, Totals, meet

#: The run that reaches back to the beginning of the list.
START: Final = 0
#: A gap of at most this part of a page is left for later.
SMALL_GAP: Final = 0.5
#: How often what is left may be read again.
READINGS: Final = 2


class _Read(msgspec.Struct):
    """A page that was read; ``end`` is the position of its end, ``ends``: none follows."""

    number: int
    run: int
    stamp: Stamp
    end: int
    ends: bool


class Coverage:
    """What has been read of a list from which something left, and which page to read next.

    Args:
        totals: what the answers said so far; it goes on being written to.
        known: the ids of what was yielded so far, all of it without a gap.
        first: the page that the iteration began with.
        before: the last page without a gap before it.
        end: the position of its end.
        stamp: when it was read.

    Attributes:
        known: the ids of all that was yielded.
        looking: the list is read, and looked at once more.
        stopped: no more is spent; it is read on as if it were quiet.
        calm: it may be read ahead. Not when it changes while it is looked at once more.
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
        self.looking = self.stopped = False
        self.calm = True
        self._totals = totals
        self._first = self._low = first
        #: The run of each item; and of each run the one that it became part of.
        self._run_of: dict[Hashable, int] = dict.fromkeys(self.known, START)
        self._parents = [START]
        #: The last page of each run, as far as its position is still known.
        self._tails: list[_Read | None] = [_Read(before, START, stamp, end, ends=False)]
        self._pages: dict[int, _Read] = {before: self._tails[START]}  # type: ignore[dict-item]
        self._ended: set[int] = set()
        self._furthest = before
        self._spent = 0.0
        self._changes, self._looked = (0, 0), False
        left = before + 1 if totals.now is None else ceil(totals.now / totals.size)
        self._allowance: float = READINGS * left + 1
        self._given, self._total = 0, stamp.total
        self._all_leave = self._most_leave = False
        #: Page 1 was read because all left that was yielded; and whether that is believed.
        self._guessed, self._believed = False, True
        self._outward = self._homeward = False

    @property
    def frontier(self) -> int:
        """The position up to which everything was read, if what left since stood before it."""
        tail = self._tails[START]
        if tail is None:
            return (self._first - 1) * self._totals.size
        then, now = tail.stamp.total, self._totals.now
        return max(0, tail.end - max(0, (then or 0) - (now or 0)))

    @property
    def _left(self) -> int:
        """By how many items the list is shorter than at first."""
        return (self._totals.first or 0) - (self._totals.now or 0)

    def _reaches_before(self, number: int) -> bool:
        """Whether something unread may have moved before this page.

        Unless just as much left as was yielded: then it was that, and nothing has moved.
        """
        begins = (number - 1) * self._totals.size
        return self.frontier < begins and self._left != len(self.known)

    def resume(self, following: int) -> int:
        """The page from which nothing is missed, if this iteration reads ``following`` next."""
        if self.looking or self.stopped:
            return following
        return min(following, self.frontier // self._totals.size + 1)

    def unseen(
        self, number: int, items: tuple[Any, ...], key: Callable[[Any], Hashable]
    ) -> tuple[Any, ...]:
        """The new items of a page, without those that stand before where the iteration began."""
        skipped = 0
        if number < self._first:
            places = (place for place, item in enumerate(items) if key(item) in self.known)
            # What left beyond what was yielded left before that page.
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
        """Take down a page.

        Args:
            number: the page.
            keys: the ids of its items.
            sent: how many items the service sent.
            new: how many of them were yielded.
            stamp: when it was read.
            alone: it was asked for after all pages before it were handed out, and not ahead.
            ends: none follows it.
        """
        size = self._totals.size
        if self.looking:
            # Of the first page of all it cannot be told yet.
            self.calm = self._looked and (stamp.falls, stamp.rises) == self._changes
            self._looked = True
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
            # What cannot be told apart would be yielded again.
            self.stopped = True

    def next(self, number: int, *, ahead: bool) -> int | None:
        """The page to read after this one; None when all is read.

        Args:
            number: the page that was read last.
            ahead: those after it are about to be asked for, before anything is done to its items.
        """
        spent = self._spent >= self._allowance
        if any(self._root(run) == START for run in self._ended):
            if self.looking or spent or self.stopped or not self._look_again():
                return None
            return self._catch_up(self._low, ahead=False)
        if self.looking and (spent or self.stopped):
            return None
        if spent or self.stopped:
            self.stopped = True
            return None if self._pages[self._furthest].ends else self._furthest + 1
        return self._catch_up(number, ahead=ahead)

    def _compare(self, stamp: Stamp, new: int) -> None:
        """Hold what left against what was yielded."""
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
        """The run that the page belongs to: those that it meets become one, or it is a new one."""
        met = {self._root(self._run_of[key]) for key in keys if key in self._run_of}
        size = self._totals.size
        # Before the page that was begun with nothing is missed, unless what stood after it has
        # moved there.
        if page.number <= self._low and (page.number == 1 or not self._reaches_before(page.number)):
            met.add(START)
        before, after = self._pages.get(page.number - 1), self._pages.get(page.number + 1)
        if before is not None and meet(before.stamp, page.stamp, size, strict=self.looking):
            run = self._root(before.run)
            grown = (page.stamp.total or 0) - (before.stamp.total or 0)
            # The page may lie wholly before the other one, which matters to all runs but the one
            # from the beginning.
            if run == START or grown <= size:
                met.add(run)
        if after is not None and meet(page.stamp, after.stamp, size, strict=self.looking):
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
            self._outward = self._homeward = False
            return self._low
        if self._outward and not page.ends:
            return number + 1
        back = max(self._low, (frontier - 1) // size + 1)
        if self._root(page.run) == START:
            self._homeward = False
            gap = tail.number * size - frontier
            if tail.stamp.falls == self._totals.falls or gap <= SMALL_GAP * size:
                return tail.number + 1
        elif self._most_leave and not (self._homeward or self.looking or page.ends):
            self._outward = True
            return number + 1
        elif self._outward or self._homeward or (self._most_leave and not self.looking):
            self._outward, self._homeward = False, True
            back = min(number - 1, ceil((self._totals.now or number * size) / size))
        else:
            back = min(back, number - 1)
        self._low = min(self._low, max(1, back))
        return max(1, back)

    def _look_again(self) -> bool:
        """Keep the pages read since the total changed last; whether others must be read again."""
        totals = self._totals
        self._changes = now = (totals.falls, totals.rises)
        fresh = {
            number: page
            for number, page in self._pages.items()
            if totals.now is not None and (page.stamp.falls, page.stamp.rises) == now
        }
        self.looking = True
        self._pages, self._run_of, self._ended = {}, {}, set()
        self._parents = [START]
        self._tails = [None]
        self._outward = self._homeward = self._all_leave = False
        for number in sorted(fresh):
            page = fresh[number]
            page.run = self._joined(page, ())
            self._pages[number] = page
            if page.ends:
                self._ended.add(page.run)
        left = self._furthest if totals.now is None else ceil(totals.now / totals.size)
        self._allowance = min(self._allowance, self._spent + READINGS * left + 1)
        return not any(self._root(run) == START for run in self._ended)
