"""The results of an agent's last commands: a command that comes again gets the same result."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Final

__all__ = ["ResultCache"]

#: How many results are kept for commands that come again.
MAX_RESULTS: Final = 1024
#: Bytes of these results and their ids in memory. A result has some 300, and 256 KiB at most.
MAX_RESULT_BYTES: Final = 4 * 1024 * 1024


class ResultCache:
    """The last results by the ids of their commands; the oldest are dropped."""

    def __init__(self) -> None:
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._size = 0

    def get(self, command_id: str) -> str | None:
        """The result of this command, as JSON; None if it is not known."""
        return self._texts.get(command_id)

    def add(self, command_id: str, text: str) -> None:
        """Keep one more result."""
        self._drop(command_id)
        self._texts[command_id] = text
        self._size += _size(command_id, text)
        while len(self._texts) > MAX_RESULTS or self._size > MAX_RESULT_BYTES:
            self._drop(next(iter(self._texts)))

    def _drop(self, command_id: str) -> None:
        text = self._texts.pop(command_id, None)
        if text is not None:
            self._size -= _size(command_id, text)


def _size(command_id: str, text: str) -> int:
    return sys.getsizeof(command_id) + sys.getsizeof(text)
