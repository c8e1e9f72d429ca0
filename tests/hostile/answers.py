"""Raw answers of a hostile peer: documented answers with replaced parts or mutated bytes.

A peer may repeat the request in any spelling, so an answer is made when the request is there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import quote

from attrs import define, field, frozen
from hypothesis import strategies as st

from tests.unit.hostile import DATES, NUMBERS, RUBBISH, STATUSES, TEXTS, Case, spoiled

#: Where an answer repeats something of the request: ``@@echo N HOW@@``.
_ECHO: Final = "@@echo"

#: What would act on a terminal, forge a line, or turn a text around.
ACTING: Final = st.sampled_from(
    [
        "\x1b[2J\x1b]0;title\x07",
        "a\r\n2026-01-01 ERROR all is lost",
        "\x9b31m",
        "\u202etxt.exe",
        "\u2028next",
        "\u200b\ufeff",
        "\ud83d",
        "[link=https://evil.example]here[/link]",
        "=cmd|' /C calc'!A0",
    ]
)


def _escaped(secret: str) -> str:
    return "".join(f"\\u{ord(one):04X}" for one in secret)


def _nested(secret: str) -> str:
    return json.dumps(json.dumps(secret))[1:-1]


def _in_base64(secret: str, before: str) -> str:
    return base64.b64encode(f"{before}{secret}".encode()).decode()


#: How something of the request is repeated.
SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    str,
    lambda text: json.dumps(text)[1:-1],
    _escaped,
    _nested,
    lambda text: text.replace("/", "\\/").replace("+", "\\u002b"),
    partial(quote, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    partial(_in_base64, before=""),
    partial(_in_base64, before="a:"),
    partial(_in_base64, before="ab"),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
)


@frozen
class Echo:
    """What an answer repeats of the request: one of its headers, or its body, in a spelling."""

    which: int
    spelling: int

    def __str__(self) -> str:
        return f"{_ECHO} {self.which} {self.spelling}@@"


@frozen
class Answer:
    """An answer as bytes, in which some of the request may be repeated.

    Attributes:
        raw: the bytes, with marks for what is repeated.
        echoes: the marks that are in it.
        fits: whether ``Content-Length`` is made to fit the body once that was filled in.
    """

    raw: bytes
    echoes: tuple[Echo, ...] = ()
    fits: bool = True

    def to(self, request: bytes) -> bytes:
        """The answer to this request."""
        raw = self.raw
        for echo in self.echoes:
            raw = raw.replace(str(echo).encode(), _repeated(request, echo))
        head, gap, body = raw.partition(b"\r\n\r\n")
        if self.fits and gap:
            head += b"\r\nContent-Length: %d" % len(body)
        return head + gap + body


def _repeated(request: bytes, echo: Echo) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    values = [line.partition(b": ")[2] for line in head.split(b"\r\n")[1:]]
    values += [value.rpartition(b" ")[2] for value in values] + [head, body]
    values += [text.encode() for text in _texts(body)]
    text = values[echo.which % len(values)].decode(errors="replace")
    return SPELLINGS[echo.spelling](text).encode()


def _texts(body: bytes) -> list[str]:
    try:
        sent = json.loads(body)
    except ValueError:
        return []
    return [one for one in sent.values() if isinstance(one, str)] if isinstance(sent, dict) else []


ECHOES: Final = st.builds(Echo, st.integers(0, 30), st.integers(0, len(SPELLINGS) - 1))
NAMES: Final = st.sampled_from(
    [
        "Retry-After", "Retry-After-Ms", "Date", "X-RateLimit-Limit", "X-RateLimit-Remaining",
        "X-RateLimit-Reset", "X-Request-Id", "Content-Type", "Content-Encoding", "Location",
        "Set-Cookie", "Connection", "Transfer-Encoding", "Content-Length", "Upgrade", "Server",
        "Via",
    ]
)  # fmt: skip
_VALUES: Final = (
    NUMBERS
    | DATES
    | TEXTS
    | ACTING
    | st.sampled_from(
        ["chunked", "gzip", "close", "identity", "application/json", "text/html", "websocket"]
    )
)


@st.composite
def documents(draw: st.DrawFn, case: Case) -> tuple[bytes, tuple[Echo, ...]]:
    """A documented answer of this call with values replaced, some by hostile texts."""
    text = draw(st.sampled_from(case.answers).flatmap(spoiled) | RUBBISH)
    echoes = tuple(draw(st.lists(ECHOES, max_size=2)))
    for filling in (*map(str, echoes), *draw(st.lists(ACTING, max_size=2))):
        strings = [at for at in range(len(text)) if text[at : at + 1] == b'"']
        at = draw(st.sampled_from(strings)) + 1 if strings else 0
        escaped = json.dumps(filling)[1:-1].encode()
        text = text[:at] + escaped + text[at:]
    return text, echoes


REFUSING: Final = st.sampled_from(
    [
        '{{"message":"{0}","error":"{0}","code":"{0}","request_id":"{0}"}}',
        '{{"client_code":4201,"message":"{0}"}}',
        '{{"error":{{"issues":[{{"path":["{0}"],"message":"{0}"}}],"name":"ZodError"}}}}',
        '{{"error":{{"code":"{0}","message":"{0}","details":{{"{0}":"{0}"}}}}}}',
        "<html><title>{0}</title></html>",
    ]
)


@st.composite
def refusals(draw: st.DrawFn) -> tuple[bytes, tuple[Echo, ...]]:
    """A refusal in one of the services' forms, whose words act or repeat."""
    echo = draw(ECHOES)
    acting = json.dumps(draw(ACTING))[1:-1]
    return draw(REFUSING).format(f"a {echo} {acting}").encode(), (echo,)


@st.composite
def answers(draw: st.DrawFn, case: Case) -> Answer:
    """Any answer to a call."""
    body, echoes = draw(documents(case) | refusals())
    status = draw(st.just(200) | STATUSES)
    reason = draw(st.sampled_from(["OK", "", "Not \x9b31m Found", "\xff"]))
    lines = [f"HTTP/1.1 {status} {reason}".encode("latin-1")]
    for name, value in draw(st.lists(st.tuples(NAMES, _VALUES | ECHOES.map(str)), max_size=3)):
        lines.append(f"{name}: {value}".encode("utf-8", "surrogatepass"))
    for echo in draw(st.lists(ECHOES, max_size=1)):
        echoes = (*echoes, echo)
        lines.append(f"X-Request-Id: {echo}".encode())
    raw = b"\r\n".join(lines) + b"\r\n\r\n" + body
    fits = draw(st.sampled_from([True, True, True, False]))
    return Answer(draw(st.just(raw) | mutated(raw)), echoes, fits)


@st.composite
def heads(draw: st.DrawFn, case: Case) -> Answer:
    """A documented answer with any head: known headers with any value, and its bytes mutated."""
    lines = [b"HTTP/1.1 %d OK" % draw(st.just(200) | STATUSES)]
    echoes = tuple(draw(st.lists(ECHOES, max_size=2)))
    values = draw(st.lists(_VALUES, max_size=6)) + list(map(str, echoes))
    for value in values:
        lines.append(f"{draw(NAMES)}: {value}".encode("utf-8", "surrogatepass"))
    head = b"\r\n".join(lines)
    head = draw(st.just(head) | mutated(head))
    body = json.dumps(draw(st.sampled_from(case.answers))).encode()
    return Answer(head + b"\r\n\r\n" + body, echoes)


@st.composite
def mutated(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes some of which are gone, doubled, exchanged or new."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        to = min(len(raw), at + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(["cut", "drop", "double", "new", "case"]))
        if how == "cut":
            raw = raw[:at]
        elif how == "case":
            raw = raw[:at] + raw[at:to].swapcase() + raw[to:]
        else:
            part = {"drop": b"", "double": raw[at:to] * 2, "new": draw(st.binary(max_size=6))}[how]
            raw = raw[:at] + part + raw[to:]
    return raw


@define
class Peer:
    """A server that answers every request with one answer, and then hangs up.

    Attributes:
        answer: what it says.
        heads: the first lines and headers that it was sent.
        url: its address, once it was started.
    """

    answer: Answer = field(factory=lambda: Answer(b""))
    heads: list[str] = field(factory=list)
    url: str = ""
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def aclose(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            writer.write(self.answer.to(head + await reader.readexactly(int(length or 0))))
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
