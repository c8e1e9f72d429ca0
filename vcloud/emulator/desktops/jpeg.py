"""A minimal grayscale baseline JPEG encoder (ITU T.81), for the emulated screen.

It takes blocks of 8 by 8 pixels. Most blocks of a screen are equal, and each is transformed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from attrs import frozen

SIDE: Final = 8

# Annex K: the quantisation table for luminance (about quality 50), and its two Huffman tables.
_QUANTISATION: Final = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_DC_COUNTS: Final = bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0))
_DC_VALUES: Final = bytes(range(12))
_AC_COUNTS: Final = bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D))
_AC_VALUES: Final = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a16"
    "1718191a25262728292a3435363738393a434445464748494a535455565758595a63646566676869"
    "6a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6"
    "b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8"
    "f9fa"
)
_END_OF_BLOCK: Final = 0x00
_SIXTEEN_ZEROS: Final = 0xF0


def _codes(counts: bytes, values: bytes) -> dict[int, str]:
    """The code of each value as a string of bits: canonical, shortest first (Annex C)."""
    codes: dict[int, str] = {}
    following, code = iter(values), 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[next(following)] = format(code, f"0{length}b")
            code += 1
        code <<= 1
    return codes


_DC: Final = _codes(_DC_COUNTS, _DC_VALUES)
_AC: Final = _codes(_AC_COUNTS, _AC_VALUES)
_ZIGZAG: Final = tuple(
    row * SIDE + column
    for row, column in sorted(
        ((row, column) for row in range(SIDE) for column in range(SIDE)),
        # Diagonals alternate in direction.
        key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
    )
)
_COSINES: Final = tuple(
    tuple(
        math.cos((2 * x + 1) * u * math.pi / 16) * (math.sqrt(0.5) if u == 0 else 1.0) / 2
        for x in range(SIDE)
    )
    for u in range(SIDE)
)  # fmt: skip


@frozen
class Encoded:
    """An encoded block: its quantised mean, and the bits of the other coefficients."""

    mean: int
    rest: str


@lru_cache(maxsize=4096)
def block(pixels: bytes) -> Encoded:
    """Transform 64 gray values, row by row."""
    levels = [value - 128 for value in pixels]
    rows = [_transform(levels[start : start + SIDE]) for start in range(0, SIDE * SIDE, SIDE)]
    columns = [_transform([row[u] for row in rows]) for u in range(SIDE)]
    flat = [columns[index % SIDE][index // SIDE] for index in range(SIDE * SIDE)]
    quantised = [round(value / divisor) for value, divisor in zip(flat, _QUANTISATION, strict=True)]
    return Encoded(quantised[0], _rest([quantised[index] for index in _ZIGZAG[1:]]))


def _transform(samples: Sequence[float]) -> list[float]:
    return [
        sum(sample * cosine for sample, cosine in zip(samples, row, strict=True))
        for row in _COSINES
    ]


def _rest(coefficients: Sequence[int]) -> str:
    bits: list[str] = []
    zeros = 0
    for value in coefficients:
        if not value:
            zeros += 1
            continue
        bits.extend(_AC[_SIXTEEN_ZEROS] for _ in range(zeros // 16))
        size = abs(value).bit_length()
        bits += _AC[zeros % 16 << 4 | size], _bits(value, size)
        zeros = 0
    if zeros:
        bits.append(_AC[_END_OF_BLOCK])
    return "".join(bits)


def _bits(value: int, size: int) -> str:
    # Negative numbers are encoded as their distance from the lowest of their size.
    return format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


def image(width: int, height: int, blocks: Iterable[Encoded]) -> bytes:
    """A JFIF file of this size (multiples of 8), from its blocks, row by row."""
    bits: list[str] = []
    before = 0
    for each in blocks:
        difference = each.mean - before
        before = each.mean
        size = abs(difference).bit_length()
        bits += _DC[size], _bits(difference, size), each.rest
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    quantisation = bytes(_QUANTISATION[index] for index in _ZIGZAG)
    size_of_frame = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"".join((
        b"\xff\xd8",
        _part(0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"),
        _part(0xDB, b"\x00" + quantisation),
        _part(0xC0, b"\x08" + size_of_frame + b"\x01\x01\x11\x00"),
        _part(0xC4, b"\x00" + _DC_COUNTS + _DC_VALUES),
        _part(0xC4, b"\x10" + _AC_COUNTS + _AC_VALUES),
        _part(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
        data,
        b"\xff\xd9",
    ))  # fmt: skip


def _part(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content
