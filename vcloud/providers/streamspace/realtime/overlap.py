"""Where a log goes on after its connection dropped, found line by line. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, Self, TypeVar

__all__ = ["Lines", "Overlap", "seen_whole", "split", "unseen"]

T = TypeVar("T")

#: Characters of a line up to which the line itself is remembered, and its digest above: 1200 lines
#: may have 4 MiB each. A digest takes about as much room as a line of so many characters.
WHOLE_LINE: Final = 64


class Lines(Iterator[str]):
    """The lines of one message, cut off one by one: a million of them take no room at once.

    Args:
        message: one or more lines, with or without an end to the last; empty, it has none.
    """

    __slots__ = ("_at", "_end", "_text")

    def __init__(self, message: bytes | str) -> None:
        text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
        self._text = text
        self._end = len(text) - text.endswith("\n")
        self._at = 0 if text else 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        at, end = self._at, self._end
        if at > end:
            raise StopIteration
        stop = self._text.find("\n", at, end)
        if stop < 0:
            stop = end
        self._at = stop + 1
        return self._text[at:stop].removesuffix("\r")

    def last_of(self, find: Callable[[str], T | None], lines: int, characters: int) -> T | None:
        """What this finds at the beginning of a line, in the last one in which it finds anything.

        Args:
            find: is given the beginning of a line; None when there is nothing.
            lines: how many of them to look at, from the end.
            characters: how many of each.
        """
        end = self._end
        for _ in range(lines):
            start = self._text.rfind("\n", 0, end) + 1
            if (found := find(self._text[start : min(end, start + characters)])) is not None:
                return found
            if not start:
                break
            end = start - 1
        return None


def split(message: bytes | str) -> list[str]:
    """The lines of one message, all at once."""
    return list(Lines(message))


def remembered(line: str) -> str | bytes:
    """What stands for a line that was given out: the line, or its digest when it is long."""
    if len(line) <= WHOLE_LINE:
        return line
    return blake2b(line.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Overlap:
    """Finds where the lines that were given out end among those that come again.

    Each line costs the same, whatever the log holds (Knuth, Morris and Pratt, 1977): one that does
    not fit is compared with the next shorter beginning that may still fit, never with all lines
    anew.

    Args:
        previous: the lines that were given out last, as :func:`remembered` gives them.
    """

    def __init__(self, previous: Sequence[str | bytes]) -> None:
        self._previous = previous
        self._fallbacks = _fallbacks(previous)
        #: How many of the first ``previous`` lines are the last lines that came.
        self.matched = 0
        #: The first lines, which may begin with the end of ``previous``.
        self._head: list[str | bytes] = []
        self._head_fallbacks = [0]
        #: The first place in ``previous`` where these lines may stand ends here, with so many of
        #: them. It is looked for as they come, and never further in front.
        self._end = self._found = 0
        #: Whether all of ``previous`` came, just now with the last line.
        self.whole = not previous

    def feed(self, lines: Iterator[str], most: int) -> int:
        """Look at so many lines at most; stop after the one with which ``previous`` is complete.

        Returns:
            how many were looked at.
        """
        previous, fallbacks, matched = self._previous, self._fallbacks, self.matched
        missing = len(previous) - len(self._head)
        count = 0
        while count < most and not self.whole:
            line = next(lines, None)
            if line is None:
                break
            count += 1
            key = line if len(line) <= WHOLE_LINE else remembered(line)
            if count <= missing:
                self._begin_with(key)
            while matched and previous[matched] != key:
                matched = fallbacks[matched]
            matched += previous[matched] == key
            self.whole = matched == len(previous)
        self.matched = matched
        return count

    @property
    def goes_on(self) -> bool:
        """Whether all that came stands within ``previous``, and more of that may follow."""
        return bool(self._head) and self._end < len(self._previous)

    @property
    def may_be_the_end(self) -> bool:
        """Whether the last lines, which begin ``previous``, are its end as well."""
        border = self._fallbacks[-1]
        while border > self.matched:
            border = self._fallbacks[border]
        return border == self.matched > 0

    def begun(self) -> int:
        """How many of the first lines are the end of ``previous``, which did not come whole."""
        found = self._found
        for at in range(self._end, len(self._previous)):
            found = self._next_found(found, self._previous[at])
        return found

    def _begin_with(self, key: str | bytes) -> None:
        """One more of the first lines: look for the place at which all of them stand."""
        head, fallbacks, previous = self._head, self._head_fallbacks, self._previous
        head.append(key)
        shorter = fallbacks[-1]
        while shorter and head[shorter] != key:
            shorter = fallbacks[shorter]
        fallbacks.append(shorter + (head[shorter] == key) if len(head) > 1 else 0)
        while self._found < len(head) and self._end < len(previous):
            self._found = self._next_found(self._found, previous[self._end])
            self._end += 1

    def _next_found(self, found: int, key: str | bytes) -> int:
        head = self._head
        while found and (found == len(head) or head[found] != key):
            found = self._head_fallbacks[found]
        return found + (bool(head) and head[found] == key)


def _fallbacks(lines: Sequence[str | bytes]) -> list[int]:
    """For each number of first lines, how many of these are their end as well, without all.

    ``[0, 0, 1, 2, 0]`` for ``a a a b``: index 3 says that ``a a a`` ends with ``a a``.
    """
    found = [0] * (len(lines) + 1)
    matched = 0
    for count in range(1, len(lines)):
        while matched and lines[matched] != lines[count]:
            matched = found[matched]
        matched += lines[matched] == lines[count]
        found[count + 1] = matched
    return found


def seen_whole(previous: Sequence[str], fresh: Sequence[str]) -> int | None:
    """Where in ``fresh`` the first occurrence of all ``previous`` lines ends; None without one."""
    overlap = Overlap([remembered(line) for line in previous])
    count = overlap.feed(iter(fresh), len(fresh))
    return count if overlap.whole else None


def unseen(previous: Sequence[str], fresh: Sequence[str]) -> list[str]:
    """The lines of ``fresh`` that come after ``previous``, both being ends of one log at two times.

    The longest overlap decides: either all ``previous`` lines stand somewhere in ``fresh``, or
    their end is its beginning. Where a log repeats itself so that several places fit, a line is
    rather given twice than lost.
    """
    overlap = Overlap([remembered(line) for line in previous])
    count = overlap.feed(iter(fresh), len(fresh))
    return list(fresh[count if overlap.whole else overlap.begun() :])
