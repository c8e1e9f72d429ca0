"""Finds where the known lines of a log end among lines that are sent again. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, Self, TypeVar

__all__ = ["DIGEST_ABOVE", "Lines", "Overlap", "line_key"]

T = TypeVar("T")

#: A line of more characters is remembered by its digest: each of the 1200 remembered lines may have
#: 4 MiB. A digest takes about as much memory as a line of this length.
DIGEST_ABOVE: Final = 64


class Lines(Iterator[str]):
    """The lines of one message, split off one by one, so that a million lines take no extra memory.

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

    def last_match(self, find: Callable[[str], T | None], lines: int, characters: int) -> T | None:
        """Apply ``find`` to the beginnings of the last lines, and return the last result.

        Args:
            find: gets the beginning of a line; returns None when it finds nothing.
            lines: how many lines to look at, from the end.
            characters: how many characters of each.
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


def line_key(line: str) -> str | bytes:
    """What is remembered of a line: the line itself, or its digest when it is long."""
    if len(line) <= DIGEST_ABOVE:
        return line
    return blake2b(line.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Overlap:
    """Finds the end of the known lines among those that are sent again, one line at a time.

    Each line costs the same, whatever the log holds (Knuth, Morris and Pratt, 1977): after a
    mismatch, the search continues with the next shorter prefix that may still match, and compares
    no line again.

    Two things are looked for at once: all known lines in a row, anywhere among those that come
    (:attr:`complete`), and an end of the known lines at the beginning of those that come
    (:meth:`known_at_start`).

    Args:
        known: the lines that were returned last, as :func:`line_key` gives them.
    """

    def __init__(self, known: Sequence[str | bytes]) -> None:
        self._known = known
        self._fallbacks = _fallbacks(known)
        #: How many of the first known lines are the last lines that came.
        self.matched: int = 0
        #: The first lines that came, at most as many as are known.
        self._head: list[str | bytes] = []
        self._head_fallbacks = [0]
        #: The first place among the known lines at which the first lines may stand ends before
        #: ``_end``, and ``_found`` of them match there. The place only moves forward.
        self._end = self._found = 0
        #: Whether all known lines came in a row; then the last one was the last line that came.
        self.complete: bool = not known

    def feed(self, lines: Iterator[str], limit: int) -> int:
        """Look at so many lines at most; stop after the one that makes the overlap complete.

        Returns:
            how many were looked at.
        """
        known, fallbacks, matched = self._known, self._fallbacks, self.matched
        missing = len(known) - len(self._head)
        count = 0
        while count < limit and not self.complete:
            line = next(lines, None)
            if line is None:
                break
            count += 1
            key = line if len(line) <= DIGEST_ABOVE else line_key(line)
            if count <= missing:
                self._add_to_head(key)
            while matched and known[matched] != key:
                matched = fallbacks[matched]
            matched += known[matched] == key
            self.complete = matched == len(known)
        self.matched = matched
        return count

    @property
    def is_inside(self) -> bool:
        """Whether all lines that came stand within the known ones, and more of those may follow."""
        return bool(self._head) and self._end < len(self._known)

    @property
    def may_be_the_end(self) -> bool:
        """Whether the last lines that came, which begin the known ones, also end them."""
        border = self._fallbacks[-1]
        while border > self.matched:
            border = self._fallbacks[border]
        return border == self.matched > 0

    def known_at_start(self) -> int:
        """How many of the first lines that came are an end of the known lines."""
        found = self._found
        for at in range(self._end, len(self._known)):
            found = self._next_found(found, self._known[at])
        return found

    def _add_to_head(self, key: str | bytes) -> None:
        """Note one more of the first lines, and look for the place at which all of them stand."""
        head, fallbacks, known = self._head, self._head_fallbacks, self._known
        head.append(key)
        shorter = fallbacks[-1]
        while shorter and head[shorter] != key:
            shorter = fallbacks[shorter]
        fallbacks.append(shorter + (head[shorter] == key) if len(head) > 1 else 0)
        while self._found < len(head) and self._end < len(known):
            self._found = self._next_found(self._found, known[self._end])
            self._end += 1

    def _next_found(self, found: int, key: str | bytes) -> int:
        head = self._head
        while found and (found == len(head) or head[found] != key):
            found = self._head_fallbacks[found]
        return found + (bool(head) and head[found] == key)


def _fallbacks(lines: Sequence[str | bytes]) -> list[int]:
    """The failure function of Knuth, Morris and Pratt.

    For each number of first lines: the length of the longest shorter prefix that also ends them.
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
