"""WebSocket frames of clients: whether they are masked, which aiohttp does not check."""

from __future__ import annotations

from typing import Final, Protocol

#: A frame with a reserved bit, which ends the reader with close code 1002 (RFC 6455, 5.2).
_INVALID: Final = b"\xf2\x80\x00\x00\x00\x00"
_MASKED: Final = 0x80
#: Bytes of a mask.
_MASK: Final = 4
#: Bytes that follow the first two and hold a length, by the length that these two say.
_LONGER: Final = {126: 2, 127: 8}

UNMASKED: Final = "a client's frames must be masked (RFC 6455, 5.1)"


class Reader(Protocol):
    """A reader for the bytes of a connection that became a WebSocket."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes; whether the connection is over, and the bytes that were not taken."""
        ...

    def feed_eof(self) -> None:
        """Handle the end of the bytes."""
        ...


class MaskedFrames:
    """Passes the frames of a client to a reader, up to the first unmasked one."""

    def __init__(self, reader: Reader) -> None:
        """Check what `reader` receives."""
        self.broken: bool = False
        """Whether a frame was not masked."""
        self._reader = reader
        self._held = b""
        self._payload = 0

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Check the bytes and pass them on; what follows an unmasked frame is dropped."""
        if self.broken:
            return False, b""
        data = self._held + bytes(data)
        end, masked = self._checked(data)
        if not masked:
            self.broken = True
            return self._reader.feed_data(data[:end] + _INVALID)
        self._held = data[end:]
        return self._reader.feed_data(data[:end])

    def feed_eof(self) -> None:
        """Pass the end on."""
        self._reader.feed_eof()

    def _checked(self, data: bytes) -> tuple[int, bool]:
        """Where the part ends that may be passed on, and whether all of it is masked.

        It ends before a header that is unfinished or says that its frame is not masked.
        """
        at = 0
        while True:
            skipped = min(self._payload, len(data) - at)
            self._payload -= skipped
            at += skipped
            if len(data) - at < 2:
                return at, True
            masked, length = bool(data[at + 1] & _MASKED), data[at + 1] & ~_MASKED
            if not masked:
                return at, False
            body = at + 2 + _LONGER.get(length, 0)
            if len(data) < body + _MASK:
                return at, True
            self._payload = (
                int.from_bytes(data[at + 2 : body], "big") if length in _LONGER else length
            )
            at = body + _MASK
