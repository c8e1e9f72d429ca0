"""The setups of the gateways of the tests: each gateway listens on one port for each of them.

Every port terminates TLS, serves HTTP/1.1 and WebSockets, passes everything on to the emulator, and
strips :data:`PREFIX` from paths that begin with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from attrs import frozen

#: The path prefix that a gateway strips.
PREFIX: Final = "/edge"
#: Requests per second that a gateway with a rate limit passes on.
RATE: Final = 5
#: Seconds of a timeout that a test waits for.
IDLE: Final = 2


class Setup(StrEnum):
    """One setup of a gateway."""

    #: Its default timeouts and retries, before two servers.
    PLAIN = "plain"
    #: Every timeout is :data:`IDLE`.
    SHORT_TIMEOUTS = "short-timeouts"
    #: It retries every request that failed, also a POST.
    RETRIES_ALL = "retries-all"
    #: It retries every request without an answer, also a POST.
    RETRIES_UNANSWERED = "retries-unanswered"
    #: As RETRIES_UNANSWERED, but it retries no POST, as the README advises.
    ADVISED = "advised"
    #: It passes on :data:`RATE` requests per second, and answers the others with 429.
    LIMITED = "limited"
    #: It has one connection to the service, and answers with 503 while that is in use.
    FULL = "full"
    #: It passes bodies on as they arrive, instead of buffering them.
    UNBUFFERED = "unbuffered"


@frozen
class Plan:
    """The values for a configuration.

    Attributes:
        directory: for everything that the gateway writes; it belongs to this gateway alone.
        certificate: a PEM file with the key and the chain.
        upstream: the port of the service on 127.0.0.1.
        ports: where to listen on 127.0.0.1.
    """

    directory: Path
    certificate: Path
    upstream: int
    ports: Mapping[Setup, int]
