"""Limits of this process and this machine: file descriptors and local ports.

Whoever runs into one must wait until something is closed: trying again at once meets it again.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, Self
from weakref import WeakSet

import msgspec

from vcloud._core.endpoint import is_localhost
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow
from vcloud._core.log import Throttle
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConnectError

if TYPE_CHECKING:
    from logging import Logger

#: Seconds that a call waits for a descriptor or a port. A closed connection holds its port for 60 s
#: (TIME_WAIT), and whoever has waited for so long should know.
MAX_WAIT: Final = 60.0
#: Seconds between two looks whether one came free.
RETRY_INTERVAL: Final = 0.25
#: How many of those who wait try at one such look, at most.
MAX_RETRIES_AT_ONCE: Final = 64
#: Seconds between two lines of the log.
LOG_INTERVAL: Final = 60.0

_MEMORY: Final = (
    "this machine has no memory left for sockets",
    "close connections, or raise the limit (sysctl net.ipv4.tcp_mem)",
)
#: Each limit that a connection may run into: its name, and what to do about it.
LIMITS: Final = {
    errno.EMFILE: (
        "this process has no file descriptor left",
        "close what it holds open, raise its limit (`ulimit -n`), or lower Endpoint(concurrency=)",
    ),
    errno.ENFILE: (
        "this machine has no file descriptor left",
        "close what its programs hold open, or raise the limit (sysctl fs.file-max)",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine has no local port left for that address",
        "lower Endpoint(concurrency=), or raise sysctl net.ipv4.ip_local_port_range",
    ),
    errno.ENOBUFS: _MEMORY,
    errno.ENOMEM: _MEMORY,
}


class DescriptorHolder(Protocol):
    """Who holds descriptors that it can do without."""

    def close_idle_descriptors(self) -> None:
        """Close them, if they are of the loop that runs."""


#: Those of this process.
DESCRIPTOR_HOLDERS: Final[WeakSet[DescriptorHolder]] = WeakSet()


def close_idle_descriptors() -> None:
    """Close what is not in use: something of this loop lacks file descriptors."""
    for holder in list(DESCRIPTOR_HOLDERS):
        holder.close_idle_descriptors()


def limit_reached(error: BaseException) -> int | None:
    """The number of the limit that an error is about; None: it is about something else.

    Args:
        error: the operating system's, or one of ``getaddrinfo``'s. libc calls a name unknown, or
            its servers silent, when it lacks a descriptor to look: then one is asked for here.
    """
    if isinstance(error, socket.gaierror):
        return descriptor_limit_reached()
    if isinstance(error, OSError) and error.errno in LIMITS:
        return error.errno
    return None


def is_port_shortage(host: str) -> bool:
    """Whether "no address available" means that the local ports are used up.

    It says as well that this machine has no address of that family: IPv6 in a container, say. A
    connection of UDP needs an address too, and a port of its own; it sends nothing.

    Args:
        host: what was to be reached. Names but for ``localhost`` are resolved to families that
            this machine has (``AI_ADDRCONFIG``).
    """
    if is_localhost(host):
        return _has_address(socket.AF_INET, "127.0.0.1")
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return True
    return _has_address(family, host)


def _has_address(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True


def descriptor_limit_reached(wanted: int = 1) -> int | None:
    """Which limit keeps this process from opening so many files; None: none does."""
    opened: list[int] = []
    try:
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(wanted))
    except OSError as error:
        return error.errno if error.errno in (errno.EMFILE, errno.ENFILE) else None
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def describe_limit(number: int) -> str:
    """Which limit it is: its words, its name, and what it is set to where that is known."""
    what, _ = LIMITS[number]
    name = errno.errorcode.get(number, str(number))
    allowed = _allowed_descriptors() if number == errno.EMFILE else None
    return f"{what} ({name}{'' if allowed is None else f', ulimit -n is {allowed}'})"


def _allowed_descriptors() -> int | None:
    try:
        import resource  # noqa: PLC0415 - POSIX alone has it
    except ImportError:
        return None
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class OwnLimitError(ConnectError):
    """A connection could not be made for a limit of this process. Nothing was sent.

    Args:
        message: what happened, in words.
        number: the limit's, of :data:`LIMITS`.
    """

    def __init__(
        self, message: str, *, number: int = errno.EMFILE, outcome_unknown: bool = False
    ) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.number = number

    @classmethod
    def of(cls, number: int) -> Self:
        """The error for a limit that was met."""
        return cls(f"cannot reach it: {describe_limit(number)}; nothing was sent", number=number)


class Place(msgspec.Struct, eq=False):
    """A call's place in the line, which it keeps while it tries and waits again."""

    #: Lower ones come first. Of equal ones, who came first.
    number: int
    #: When it joined, by the loop's clock.
    since: float


class Shortage:
    """The line of calls that wait until this process may open a connection again.

    The next one tries when another request of the client is over, whose connection or descriptor it
    then may get, and every :data:`RETRY_INTERVAL` seconds, because what other parts of the program close is
    told to nobody. The lanes take turns, as for a slot: of each round a lane has one place, and one
    that comes is in the round after the present one. Within a lane, whoever came first tries first.
    """

    def __init__(self) -> None:
        #: How many wait. A call that comes meanwhile joins them without trying.
        self.waiting = 0
        #: The limit that was met last.
        self.number = errno.EMFILE
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        self._joined = 0
        self._pushed = 0
        # The round whose turn it is, and the last one in which a lane has a place.
        self._round = 0
        self._last: dict[Flow | None, int] = {}
        self._at_once = 1
        self._timer: asyncio.TimerHandle | None = None
        self._throttle = Throttle(LOG_INTERVAL)

    def join(self, error: OwnLimitError, log: Logger, *, first: bool) -> Place:
        """A place in the line, which the log is told of.

        Args:
            error: what the call met.
            log: where to.
            first: before all others: what ends something that costs money.
        """
        now = asyncio.get_running_loop().time()
        self._joined += 1
        number, lane = -self._joined, CURRENT_FLOW.get()
        if not first:
            number = self._last[lane] = max(self._round, self._last.get(lane, 0)) + 1
        if (kept_out := self._throttle.admit(now)) is not None:
            log.warning(
                "%s; %s for it, each up to %g s: %s%s",
                describe_limit(error.number),
                f"{self.waiting + 1} calls wait" if self.waiting else "1 call waits",
                MAX_WAIT,
                LIMITS[error.number][1],
                f" ({kept_out} more came to wait since the last such line)" if kept_out else "",
            )
        return Place(number, now)

    async def wait(self, place: Place, within: float) -> bool:
        """Wait for the turn to try; False: it did not come in time.

        Args:
            place: the call's.
            within: seconds.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pushed += 1
        # Whoever tried in vain comes back with the lowest number.
        heapq.heappush(self._line, (place.number, self._pushed, future))
        self.waiting += 1
        self._set_timer()
        try:
            async with timeout(within):
                await future
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.wake()
            raise
        finally:
            self.waiting -= 1
            if not self.waiting:
                self._end()
        return True

    def refuse(self) -> NoReturn:
        """Send a call to the end of the line, because others wait there already.

        Raises:
            OwnLimitError: always.
        """
        raise OwnLimitError.of(self.number)

    def failed(self, number: int) -> None:
        """One that tried met the limit again."""
        self.number, self._at_once = number, 1

    def wake(self, most: int = 1) -> None:
        """Let those who are first in line try."""
        while most and self._line:
            number, _, future = heapq.heappop(self._line)
            if not future.done():
                self._round = max(self._round, number)
                future.set_result(None)
                most -= 1

    def wake_all(self) -> None:
        """Let all of them try, and be told that the client closes."""
        self.wake(len(self._line))

    def _end(self) -> None:
        self._line.clear()
        self._last.clear()
        self._at_once = 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY_INTERVAL, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._set_timer()
        self.wake(self._at_once)
        # As long as none meets the limit, twice as many: a thousand are not to wait for minutes.
        self._at_once = min(2 * self._at_once, MAX_RETRIES_AT_ONCE)
