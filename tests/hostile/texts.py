"""Texts that act on a terminal, and a service that sends them in every place."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import traceback
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping

from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth, RetryPolicy, VCloud

#: Clears the screen, sets the title, begins a line of a log, turns the text around, and is markup
#: to rich.
HOSTILE = "busy\x1b[2J\x1b]0;title\x07\r\nINFO forged\x9b31m\u202e\u2028\x00[bold]x[/] end"
#: The same with what no UTF-8 can hold.
HALF = f"{HOSTILE}\ud83d"
#: What of it fits into a header: no line end, nothing that is no UTF-8, no NUL.
HEADER = "busy\x1b[2J\x1b]0;title\x07\x9b31m\u202e\u2028 end"

ONCE = RetryPolicy(attempts=1)
SIGNED = HMACAuth("a key of mine", "a secret of mine")


def harmful(text: str) -> bool:
    """Whether it has an unprintable character: Unicode's controls, formats, separators."""
    return any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for one in text)


def assert_printable_lines(text: str) -> None:
    """Assert that a text of several lines of ours holds nothing else, and none that was forged."""
    text.encode()
    for line in text.split("\n"):
        assert not harmful(line), ascii(line)
        assert not line.lstrip("| ").startswith("INFO forged")


def assert_harmless(error: BaseException) -> None:
    """Assert that an error, however it is printed, has no effect on a terminal."""
    for shown in (str(error), repr(error), f"{error}", *getattr(error, "__notes__", ())):
        assert not harmful(shown), ascii(shown)
        shown.encode()
    assert_printable_lines("".join(traceback.format_exception(error)))


def said(status: str = "200 OK", body: object = b"", head: str = "") -> bytes:
    """An answer. What is no bytes becomes JSON; ``head`` is more lines of the head."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n{head}\r\n"
    )
    return lines.encode("utf-8", "surrogateescape") + content


@contextlib.asynccontextmanager
async def answering(answers: Mapping[str, bytes]) -> AsyncIterator[str]:
    """A server that answers every request with these bytes; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode().partition("?")[0]
            writer.write(answers.get(path, said("404 Not Found", {"message": "nothing here"})))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def cloud_at(url: str) -> VCloud:
    """All four providers at this address, each request sent once."""
    return VCloud(
        computers=Endpoint(url, auth=SIGNED, retry=ONCE),
        streams=Endpoint(url, auth=SIGNED, retry=ONCE),
        streamspace=Endpoint(url, auth=BearerAuth("a-token-of-mine"), retry=ONCE),
        streamspace_dialect="documented",
        desktops=Endpoint(url, auth=APIKeyAuth("an api key of mine"), retry=ONCE),
    )


class Lines(logging.Handler):
    """Formats each record as a log file gets it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def listening(name: str = "") -> Iterator[list[str]]:
    """Every record of this logger and those below, at DEBUG, as a log file gets it."""
    handler, log = Lines(), logging.getLogger(name)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
