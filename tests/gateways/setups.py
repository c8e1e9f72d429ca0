"""How the gateways of the tests are set up: each listens on one port for each of these.

Every port ends TLS, serves HTTP/1.1 and WebSockets, passes everything on to the emulator, and
strips the prefix :data:`PREFIX` where a path begins with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from attrs import frozen

#: What a gateway strips.
PREFIX: Final = "/edge"
#: Requests in a second that a gateway with a limit lets pass.
RATE: Final = 5
#: Seconds of a timeout that a test waits for.
IDLE: Final = 2


class Setup(StrEnum):
    """One way to set a gateway up."""

    #: With the timeouts and repeats that it has when nobody says otherwise, before two servers.
    PLAIN = "plain"
    #: Every timeout is :data:`IDLE`.
    HASTY = "hasty"
    #: It repeats by itself what failed in any way, a POST too.
    EAGER = "eager"
    #: It repeats by itself what had no answer, a POST too.
    STUBBORN = "stubborn"
    #: As STUBBORN, but it repeats no POST: what the README advises.
    ADVISED = "advised"
    #: It lets :data:`RATE` requests a second pass, and answers the others with 429.
    LIMITED = "limited"
    #: It has one connection to the service, and answers with 503 while that is in use.
    FULL = "full"
    #: It passes bodies on as they come, where it would else collect them first.
    UNBUFFERED = "unbuffered"


@frozen
class Plan:
    """What a configuration is written from.

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
