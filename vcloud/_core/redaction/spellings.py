"""Decodes a text in every way that may hide a secret: JSON, percent, HTML and Base64, also nested.

Each decoded text knows the place of its bytes in the original. Every pass is linear in the text.
There are at most :data:`TEXTS` of them, and as many for the contents of Base64.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from html.entities import html5
from typing import Final

import msgspec

__all__ = ["DEPTH", "OF_FORMS", "TEXTS", "USUAL", "Text", "all_decoded", "readings"]

#: Levels of nested encodings: JSON in a JSON string, quoted in a URL, and one more for a service
#: that logs that again.
DEPTH: Final = 4
#: Decoded texts of one original. In practice there are up to five.
TEXTS: Final = 24

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/bfnrt])"
)
_PERCENT: Final = re.compile(rb"%[0-9a-fA-F]{2}")
_FORM: Final = re.compile(rb"%[0-9a-fA-F]{2}|\+")
_ENTITY: Final = re.compile(
    rb"&(?:#[xX][0-9a-fA-F]{1,6}|#[0-9]{1,7}|amp|lt|gt|quot|apos|sol|plus|equals);"
)
_NAMED: Final = {
    **{ord(name): byte for name, byte in zip("bfnrt", b"\b\f\n\r\t", strict=True)},
    **{byte: byte for byte in b"\"'\\/"},
}
#: Text that may be Base64, in either alphabet, with a secret in it. Shorter runs are compared as
#: they are.
_RUN: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    kind = escape[1:2]
    if kind == b"x":
        return bytes.fromhex(escape[2:].decode())
    if kind != b"u":
        return bytes((_NAMED[escape[1]],))
    point = int(escape[2:6], 16)
    if len(escape) > 6:
        point = 0x10000 + ((point - 0xD800) << 10) + int(escape[8:], 16) - 0xDC00
    return _utf8(point)


def _unquoted(found: re.Match[bytes]) -> bytes:
    return b" " if found[0] == b"+" else bytes((int(found[0][1:], 16),))


def _named(found: re.Match[bytes]) -> bytes:
    name = found[0][1:]
    if name[:1] != b"#":
        return html5[name.decode()].encode()
    point = int(name[2:-1], 16) if name[1:2] in b"xX" else int(name[1:-1])
    return _utf8(point) if point < 0x110000 else found[0]


def _utf8(point: int) -> bytes:
    return chr(point).encode("utf-8", "surrogatepass")


_Decoding = tuple[bytes, re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]
USUAL: Final[tuple[_Decoding, ...]] = (
    (b"\\", _ESCAPE, _unescaped),
    (b"%", _PERCENT, _unquoted),
    (b"&", _ENTITY, _named),
)
#: The same for a secret with a space, which forms write as a plus.
OF_FORMS: Final[tuple[_Decoding, ...]] = (*USUAL, (b"+", _FORM, _unquoted))


class Text(msgspec.Struct, frozen=True):
    """A text, as it is or decoded.

    Attributes:
        data: the bytes that are searched.
        places: for each byte, its position in the original, and at the end the original's length;
            None for the original itself.
    """

    data: bytes
    places: list[int] | None

    def decoded(
        self, pattern: re.Pattern[bytes], decode: Callable[[re.Match[bytes]], bytes]
    ) -> Text:
        parts, places, done = list[bytes](), list[int](), 0
        here = self.places or range(len(self.data) + 1)
        for found in pattern.finditer(self.data):
            part, start = decode(found), found.start()
            parts += (self.data[done:start], part)
            places += here[done:start]
            places += [here[start]] * len(part)
            done = found.end()
        parts.append(self.data[done:])
        places += here[done:]
        return Text(b"".join(parts), places)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The position in the original of a part of this text."""
        if self.places is None:
            return start, end
        # An escape may stand for several bytes; it is taken whole.
        while end < len(self.data) and self.places[end] == self.places[end - 1]:
            end += 1
        return self.places[start], self.places[end]


def readings(data: bytes, decodings: tuple[_Decoding, ...]) -> Iterator[Text]:
    """A text, every text that it can be decoded to, and the contents of Base64 in these."""
    seen: set[bytes] = set()
    for text in all_decoded(Text(data, None), decodings, DEPTH):
        yield text
        inner = _of_base64(text)
        if inner is not None and inner.data not in seen:
            seen.add(inner.data)
            # It may be a whole request, or its JSON.
            yield from all_decoded(inner, decodings, 1)


def _of_base64(text: Text) -> Text | None:
    """The contents of all runs of Base64, each decoded at four offsets: its start is unknown."""
    parts, places = list[bytes](), list[int]()
    here = text.places or range(len(text.data) + 1)
    for run in _RUN.finditer(text.data):
        start, end = run.span()
        characters = run[0].translate(_STANDARD)
        for skipped in range(4):
            # A single last character is not a whole byte.
            count = len(characters) - skipped
            whole = characters[skipped : len(characters) - (count % 4 == 1)]
            decoded = a2b_base64(whole + b"=" * (-len(whole) % 4))
            parts += (decoded, b"\n")
            places += [here[start]] * len(decoded)
            places.append(here[end])
    if not parts:
        return None
    places.append(places[-1])
    return Text(b"".join(parts), places)


def all_decoded(text: Text, decodings: tuple[_Decoding, ...], depth: int) -> Iterator[Text]:
    """A text, and the results of repeated decoding in every order."""
    level, seen = [text], {text.data}
    yield text
    for _ in range(depth):
        following = []
        for one in level:
            for mark, pattern, decode in decodings:
                if mark not in one.data or pattern.search(one.data) is None:
                    continue
                decoded = one.decoded(pattern, decode)
                if decoded.data in seen:
                    continue
                seen.add(decoded.data)
                following.append(decoded)
                yield decoded
                if len(seen) >= TEXTS:
                    return
        level = following
