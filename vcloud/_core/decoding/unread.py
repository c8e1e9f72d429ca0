"""What is known of an answer to a change although it cannot be read."""

from __future__ import annotations

import msgspec

from vcloud.errors import DecodeError

__all__ = ["Unread"]


class Unread(msgspec.Struct, frozen=True):
    """What is known of an answer that cannot be read.

    Attributes:
        status: its HTTP status, one of success.
        body: the beginning of its text, without secrets; None: it may be a secret as a whole.
        ids: the ids of what the request may have made.
    """

    status: int
    body: str | None
    ids: tuple[str, ...]

    def __repr__(self) -> str:
        # The text of an answer is only for the error.
        return f"Unread(status={self.status}, ids={self.ids!r})"

    def added_to(self, text: str) -> str:
        """The text of an error, and what is known."""
        named = ", ".join(repr(one) for one in self.ids[:3])
        more = f", and {len(self.ids) - 3} more" if len(self.ids) > 3 else ""
        found = f", and the answer names {named}{more}" if named else ""
        return f"{text}; the service answered {self.status}, a success{found}"

    def note(self, error: DecodeError) -> None:
        """Keep it in an error."""
        error.status, error.body, error.ids = self.status, self.body, self.ids
