r"""Redacts the secrets of a request in its answer, in every spelling.

A service, a gateway or a debugging proxy may repeat what it received, and its words enter errors,
logs and journals. So before an answer becomes an error, each secret of its request is searched for
in the answer, and replaced by ``***``. It is found

- as it is, in any case of its letters, in UTF-8, Latin-1 and UTF-16;
- escaped as in JSON (``\/``, ``\u002B``, any of its characters), in Python's ``repr`` (``\x2b``),
  percent-encoded and as in HTML (``&amp;``, ``&#43;``), wholly or in part, in each mixture of
  these, one within another down to :data:`~vcloud._core.redaction.spellings.DEPTH` levels;
- in Base64 and its form for URLs, by itself or with anything before and after it, a whole request
  for one;
- cut off at the end of a text.

How it works: a text is searched as it is, and again after each sequence of decodings (see
:mod:`vcloud._core.redaction.spellings`). A match is traced back to its place in the original.

A secret is not found if it was split, encrypted or hashed, or if only its beginning is repeated in
the middle of a text.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from vcloud._core.decoding.plain_json import loads
from vcloud._core.redaction.spellings import DEPTH, OF_FORMS, USUAL, Text, all_decoded, readings
from vcloud._core.scalars import OpenEnum

if TYPE_CHECKING:
    from vcloud._core.request import Request, Response
    from vcloud.errors import VCloudError

__all__ = ["SEARCHED", "Redactor", "redactor_for", "sent_secrets", "without_sent_secrets"]

#: Characters. A shorter credential may be an ordinary word. To redact it everywhere would make the
#: service's messages unreadable, and the gaps would reveal it. So it is redacted only where it is a
#: whole word.
SHORTEST: Final = 8
#: Bytes of an answer that are searched as a whole, and characters of its headers. Of a larger
#: answer only the parts that enter the error are searched. Text in which each character is encoded
#: several times takes a second for some 100 KiB, which blocks the event loop.
SEARCHED: Final = 16 * 1024

#: A text of which all surrogates stand for bytes.
_RAW_BYTES: Final = re.compile("[^\ud800-\udfff]*[\udc80-\udcff][^\ud800-\udc7f\udd00-\udfff]*")
#: An escape that a text was cut in.
_CUT_ESCAPE: Final = re.compile(
    rb"(?:\\(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?)?|%[0-9a-fA-F]?|&[#\w]{0,8})\Z"
)
_HIDDEN: Final = b"***"
#: Headers that are not credentials.
_PUBLIC_HEADERS: Final = frozenset({"content-type"})
#: Headers of an answer whose values errors show.
_QUOTED_HEADERS: Final = frozenset({"location", "x-request-id"})
#: Characters of a part of a credential that is a secret by itself: a signature, not a timestamp.
SHORTEST_PART: Final = 32

# -- secrets ---------------------------------------------------------------------------------------


class Redactor:
    """Redacts secrets in texts.

    Args:
        secrets: those of :data:`SHORTEST` characters or more are redacted everywhere.
        words: secrets that a person chose, such as a password: shorter ones are redacted too, where
            no letter or digit is next to them.
    """

    __slots__ = ("_decodings", "_needles", "_words")

    def __init__(self, secrets: Iterable[str], words: Iterable[str] = ()) -> None:
        words = set(words)
        long = {one for one in (*secrets, *words) if len(one) >= SHORTEST}
        short = {one for one in words - long if one.strip()}
        forms = {form for one in long for form in _forms(one)}
        forms |= {form for one in short for form in _in_base64(one) if len(form) >= SHORTEST}
        self._needles = tuple(sorted(forms, key=len, reverse=True))
        self._words = tuple(_whole_word(one) for one in short)
        spaced = any(" " in one for one in long | short)
        self._decodings = OF_FORMS if spaced else USUAL

    def __repr__(self) -> str:
        return f"Redactor({len(self._needles)} forms)"

    __sentry_repr__ = __repr__

    def text(self, text: str, *, cut: bool = False) -> str:
        """A text without the secrets.

        Args:
            text: any text.
            cut: it consists of parts that may have been cut off, so the beginning of a secret is
                redacted everywhere.
        """
        # Half of a surrogate pair, or a byte of a header that is not UTF-8 (PEP 383).
        halves = "surrogateescape" if _RAW_BYTES.fullmatch(text) else "surrogatepass"
        data = text.encode("utf-8", halves)
        clean = self.data(data, cut=cut)
        if clean is data:
            return text
        try:
            return clean.decode("utf-8", halves)
        except UnicodeDecodeError:
            # A form in another character set began within a character.
            return clean.decode("utf-8", "replace")

    def data(self, data: bytes, *, cut: bool = False) -> bytes:
        """The same for bytes. Bytes without a secret are returned as they are."""
        spans = sorted(self._spans(data, cut=cut))
        if not spans:
            return data
        parts, done = list[bytes](), 0
        for start, end in spans:
            if start >= done:
                parts += (data[done:start], _HIDDEN)
            done = max(done, end)
        parts.append(data[done:])
        return b"".join(parts)

    def value(self, value: Any, *, cut: bool = False) -> Any:
        """Redact JSON: strings, names, and numbers that are secrets (they become strings)."""
        if isinstance(value, str):
            return self.text(value, cut=cut)
        if isinstance(value, dict):
            return {
                self.text(name, cut=cut) if isinstance(name, str) else name: self.value(
                    inner, cut=cut
                )
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner, cut=cut) for inner in value]
        if type(value) in (int, float) and (clean := self.text(said := repr(value))) != said:
            return clean
        return value

    def response(self, response: Response) -> Response:
        """An answer as an error may quote it. JSON stays JSON; without a secret, it is the same.

        A body of more than :data:`SEARCHED` bytes is left as it is: see :meth:`error`.
        """
        headers = self._headers(response.headers)
        body = response.body
        if len(body) <= SEARCHED:
            body = self._body(body)
        if body is response.body and headers is response.headers:
            return response
        return type(response)(response.status, headers, body, response.cut)

    def _headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        values = "\n".join(headers.values())
        if len(values) <= SEARCHED and self.text(values) is values:
            return headers
        # Imported here because it is rarely needed.
        from multidict import CIMultiDict  # noqa: PLC0415

        # If the headers are very long, only those that errors quote are redacted.
        quoted = {name.lower() for name in headers} if len(values) <= SEARCHED else _QUOTED_HEADERS
        return CIMultiDict(
            (name, self.text(value) if name.lower() in quoted else value)
            for name, value in headers.items()
        )

    def _body(self, body: bytes) -> bytes:
        if self.data(body) is body:
            return body
        try:
            # Text by text, because a cut through the bytes might leave half an escape.
            made = msgspec.json.encode(self.value(loads(body)))
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            made = self.data(body)
        # A secret may extend over the separator of two texts.
        return made if self.data(made) is made else _HIDDEN

    def error(self, error: VCloudError, *, cut: bool) -> None:
        """Redact the secrets in an error.

        Args:
            error: the error that an answer became.
            cut: the answer was too large for :meth:`response`, so the error may quote a part of a
                secret.
        """
        error.args = tuple(self.value(one, cut=cut) for one in error.args)
        held = error.__dict__
        for name in _WORDS.intersection(held):
            was = held[name]
            clean = self.value(was, cut=cut)
            held[name] = type(was)(clean) if isinstance(was, OpenEnum) else clean

    def _spans(self, data: bytes, *, cut: bool) -> Iterator[tuple[int, int]]:
        if not self._needles and not self._words:
            return
        for text in readings(data, self._decodings):
            lower = text.data.lower()
            for needle in self._needles:
                beginning = needle[:SHORTEST] if cut else needle
                at = lower.find(beginning)
                while at >= 0:
                    end = at + (_common(lower, at, needle) if cut else len(needle))
                    yield text.span(at, end)
                    at = lower.find(beginning, end)
            for word in self._words:
                for found in word.finditer(text.data):
                    yield text.span(*found.span())
            yield from self._cut_off(text, _CUT_ESCAPE.sub(b"", lower))

    def _cut_off(self, text: Text, lower: bytes) -> Iterator[tuple[int, int]]:
        """The beginning of a secret at the end of a text."""
        for needle in self._needles:
            at = lower.find(needle[:SHORTEST], max(0, len(lower) - len(needle)))
            while at >= 0:
                if needle.startswith(lower[at:]):
                    yield text.span(at, len(text.data))
                    break
                at = lower.find(needle[:SHORTEST], at + 1)


#: Attributes that an error takes from an answer.
_WORDS: Final = frozenset({"message", "code", "request_id", "details", "from_state", "to_state"})


def _common(text: bytes, at: int, needle: bytes) -> int:
    """How many bytes of a text, from a position on, equal the beginning of a needle."""
    length = 0
    for here, there in zip(text[at : at + len(needle)], needle, strict=False):
        if here != there:
            break
        length += 1
    return length


def _forms(secret: str) -> Iterator[bytes]:
    """What is searched for one secret, in lower case.

    A secret may itself look encoded (``100%25``). A text in which only its other characters are
    encoded is decoded to what the secret decodes to.
    """
    exact = secret.encode("utf-8", "surrogatepass")
    yield exact.lower()
    # Without the last byte, so that it is found in either order of bytes.
    yield secret.encode("utf-16-le", "surrogatepass").lower()[:-1]
    if not secret.isascii():
        yield secret.encode("latin-1", "ignore").lower()
    for text in all_decoded(Text(exact, None), USUAL, DEPTH):
        if len(text.data) >= SHORTEST:
            yield text.data.lower()
    # Lower case of bytes is that of ASCII alone.
    yield from (
        one.encode("utf-8", "surrogatepass").lower() for one in (secret.upper(), secret.lower())
    )
    yield from _in_base64(secret)


def _in_base64(secret: str) -> Iterator[bytes]:
    """The part of a secret's Base64 that does not depend on its surroundings, for each offset."""
    exact = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        # The first and the last character may have bits of the characters next to the secret.
        start, end = -(-before * 8 // 6), (before + len(exact)) * 8 // 6
        encoded = b64encode(b"\0" * before + exact)[start:end]
        yield encoded.lower()
        yield encoded.replace(b"+", b"-").replace(b"/", b"_").lower()


def _whole_word(word: str) -> re.Pattern[bytes]:
    exact = re.escape(word.encode("utf-8", "surrogatepass"))
    return re.compile(rb"(?<![0-9A-Za-z])" + exact + rb"(?![0-9A-Za-z])", re.IGNORECASE)


# -- of a request ----------------------------------------------------------------------------------


def redactor_for(request: Request, sent: Iterable[tuple[str, str]]) -> Redactor:
    """The redactor of the answer to a request.

    Args:
        request: the request. Its body may be a login; its query and its path may hold a token.
        sent: the headers that it was sent with, also those for a proxy.
    """
    found: list[str] = []
    for name, value in sent:
        if name.lower() in _PUBLIC_HEADERS:
            continue
        scheme, _, credential = value.rpartition(" ")
        found += (value, credential)
        # Of a signed request: the key, which comes first, and the signature.
        key, *parts = credential.split(":")
        found += [key, *[part for part in parts if len(part) >= SHORTEST_PART]]
        if scheme.lower() == "basic":
            found += _of_basic(credential)
    if request.sensitive:
        found += [value for _, value in parse_qsl(request.query)]
    if request.label:
        found += [unquote(step) for step in _steps(request.path) - _steps(request.label)]
    return Redactor(found, sent_secrets(request))


def _of_basic(credential: str) -> list[str]:
    """The secrets in a Basic credential (RFC 7617): user and password, and the password."""
    try:
        both = b64decode(credential).decode("utf-8", "surrogateescape")
    except ValueError:
        return []
    return [both, both.partition(":")[2]]


def without_sent_secrets(value: Any, request: Request) -> Any:
    """JSON of an answer without the password or token of its request's body."""
    secrets = sent_secrets(request)
    return Redactor((), secrets).value(value) if secrets else value


def _steps(path: str) -> set[str]:
    return set(path.split("/"))


def sent_secrets(request: Request) -> tuple[str, ...]:
    """The password or token in a request's body, alone and after the user's name, as in Basic."""
    if not request.sensitive or request.body is None:
        return ()
    sent = msgspec.json.decode(request.body)
    if not isinstance(sent, dict):
        return ()
    found = [
        text for name in ("password", "token") if isinstance(text := sent.get(name), str) and text
    ]
    user = sent.get("username")
    return (*found, *[f"{user}:{one}" for one in found if isinstance(user, str)])
