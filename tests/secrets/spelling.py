"""Spellings of a secret, and decoders of them: independent of the search of vcloud."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

from hypothesis import strategies as st

#: How one character may be written.
CHARACTERS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": lambda one: one,
    "JSON": lambda one: json.dumps(one)[1:-1].replace("/", "\\/"),
    "JSON, escaped": lambda one: "".join(f"\\u{unit:04x}" for unit in units(one)),
    "JSON, escaped in capitals": lambda one: "".join(f"\\u{unit:04X}" for unit in units(one)),
    "percent": lambda one: "".join(f"%{byte:02x}" for byte in one.encode()),
    "percent in capitals": lambda one: "".join(f"%{byte:02X}" for byte in one.encode()),
    "HTML": lambda one: f"&#{ord(one)};",
}


def units(character: str) -> Iterator[int]:
    encoded = character.encode("utf-16-be")
    return (int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2))


def _base64(before: str, after: str, encode: Callable[[bytes], bytes], secret: str) -> str:
    return encode(f"{before}{secret}{after}".encode()).decode()


def _each(spell: Callable[[str], str], secret: str) -> str:
    return "".join(map(spell, secret))


#: How the whole of it may be written.
WHOLE: Final[dict[str, Callable[[str], str]]] = {
    **{name: partial(_each, one) for name, one in CHARACTERS.items()},
    "percent where it must be": lambda secret: quote(secret, safe=""),
    "percent twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "percent twice, all of it": lambda secret: "".join(
        f"%25{byte:02X}" for byte in secret.encode()
    ),
    "JSON in JSON": lambda secret: json.dumps(json.dumps({"key": secret})),
    "JSON in JSON in JSON": lambda secret: json.dumps(json.dumps(json.dumps(secret))),
    "JSON in a URL": lambda secret: quote(json.dumps({"key": secret})),
    "a URL in JSON in JSON": lambda secret: json.dumps(json.dumps(quote(secret, safe=""))),
    "HTML where it must be": html.escape,
    "Python": lambda secret: repr(secret.encode()),
    "capitals": str.upper,
    **{
        f"Base64 {name}{kind}": partial(_base64, before, after, encode)
        for kind, encode in (("", base64.b64encode), (" for URLs", base64.urlsafe_b64encode))
        for name, before, after in (
            ("alone", "", ""),
            ("after one", "u", ""),
            ("after two", "u:", ""),
            ("of Basic", "admin:", ""),
            ("amid", '{"a":"', '","b":1}'),
        )
    },
}


@st.composite
def spelled(draw: st.DrawFn, secret: str) -> str:
    """A secret in a spelling: one for the whole, or one for each of its characters."""
    if draw(st.booleans()):
        return WHOLE[draw(st.sampled_from(list(WHOLE)))](secret)
    ways = st.sampled_from(list(CHARACTERS))
    return "".join(CHARACTERS[draw(ways)](one) for one in secret)


# -- the reader ------------------------------------------------------------------------------------

_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{8,}")
#: The most decodings that a reader applies one after another.
MAX_DECODINGS: Final = 4


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        escape = found[1]
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        return _LETTERS.get(escape, escape)

    plain = _ESCAPE.sub(one, text)
    return plain.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def _of_bytes(text: str) -> str:
    """A ``repr`` of bytes, read as UTF-8."""
    return _unescaped(text).encode("latin-1", "replace").decode("utf-8", "replace")


def _unbased(text: str) -> str:
    found: list[str] = []
    for run in _RUN.findall(text.replace("-", "+").replace("_", "/")):
        for start in range(4):
            part = run[start:]
            part = part[: len(part) - (len(part) % 4 == 1)]
            try:
                decoded = base64.b64decode(part + "=" * (-len(part) % 4))
            except ValueError:
                continue
            found.append(decoded.decode("utf-8", "replace"))
    return "\n".join(found)


def readings(text: str) -> Iterator[str]:
    """What a text says, and what it says to one who decodes it."""
    level, seen = {text}, {text}
    for _ in range(MAX_DECODINGS):
        level = {
            read(one)
            for one in level
            for read in (unquote, html.unescape, _unescaped, _of_bytes, _unbased)
        } - seen
        level.discard("")
        seen |= level
    yield from seen


def shows(text: str, secret: str) -> bool:
    """Whether a reader finds the secret in a text."""
    return any(secret.lower() in one.lower() for one in readings(text))


def texts_of(error: BaseException) -> Iterator[str]:
    """All that an error says, and all that hangs on it."""
    yield str(error)
    yield repr(error)
    yield from map(_text, error.args)
    for name, value in vars(error).items():
        yield name
        yield from map(_text, _leaves(value))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
