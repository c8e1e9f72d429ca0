"""Limits of this process and this machine: file descriptors and local ports.

A call that reaches such a limit waits until something is closed, because an immediate retry would
reach it again.
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

from vcloud._core.addresses import is_localhost
from vcloud._core.limits.fair_queueing import CURRENT_FLOW, Flow
from vcloud._core.log import Throttle
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import ConnectError

if TYPE_CHECKING:
    from logging import Logger

#: Seconds that a call waits for a descriptor or a port. A closed connection keeps its port for 60 s
#: (TIME_WAIT), so a longer wait is of little use.
MAX_WAIT: Final = 60.0
#: Seconds between two checks whether one is free.
RETRY_INTERVAL: Final = 0.25
#: The most calls that try at one such check.
MAX_RETRIES_AT_ONCE: Final = 64
#: Seconds between two lines in the log.
LOG_INTERVAL: Final = 60.0

_MEMORY: Final = (
    "this machine has no memory left for sockets",
    "close connections, or raise the limit (sysctl net.ipv4.tcp_mem)",
)
#: Each limit that a connection may reach: its name, and what to do about it.
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
    """Something that may hold file descriptors that it does not use."""

    def close_idle_descriptors(self) -> None:
        """Close those that belong to the running loop."""


#: All holders in this process.
DESCRIPTOR_HOLDERS: Final[WeakSet[DescriptorHolder]] = WeakSet()


def close_idle_descriptors() -> None:
    """Make all holders close the descriptors that the running loop does not use."""
    for holder in list(DESCRIPTOR_HOLDERS):
        holder.close_idle_descriptors()


def limit_reached(error: BaseException) -> int | None:
    """The number of the limit that caused an error; None: the cause is another one.

    Args:
        error: an error of the operating system or of ``getaddrinfo``. If libc has no descriptor to
            resolve a name, it reports an unknown name or silent servers. Therefore this checks
            whether there is a descriptor.
    """
    if isinstance(error, socket.gaierror):
        return descriptor_limit_reached()
    if isinstance(error, OSError) and error.errno in LIMITS:
        return error.errno
    return None


def is_port_shortage(host: str) -> bool:
    """Whether "no address available" (EADDRNOTAVAIL) means that the local ports are used up.

    It may also mean that this machine has no address of that family, such as IPv6 in a container.
    This makes a UDP connection, which needs an address but none of the TCP ports, and sends
    nothing.

    Args:
        host: the host of the connection. Names other than ``localhost`` resolve only to families
            that this machine has (``AI_ADDRCONFIG``).
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
    """The limit that prevents this process from opening so many files; None: it can."""
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
    """The description of a limit, its name, and its value where that is known."""
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
    """A connection could not be made because of a limit of this process. Nothing was sent.

    Args:
        message: what happened.
        number: the number of the limit in :data:`LIMITS`.
    """

    def __init__(
        self, message: str, *, number: int = errno.EMFILE, outcome_unknown: bool = False
    ) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.number: int = number

    @classmethod
    def of(cls, number: int) -> Self:
        """The error for a limit that was reached."""
        return cls(f"cannot reach it: {describe_limit(number)}; nothing was sent", number=number)


class Place(msgspec.Struct, eq=False):
    """A call's place in the queue, which it keeps while it tries and waits again."""

    #: The lowest number is first. Equal numbers are served in the order in which they came.
    number: int
    #: When the call came, by the loop's clock.
    since: float


class Shortage:
    """The queue of calls that wait until this process can open a connection again.

    The next call tries when another request of the client ends, because that may free a connection
    or a descriptor. It also tries every :data:`RETRY_INTERVAL` seconds, because other parts of the
    program do not report when they close something. Flows take turns, as for a slot: a flow has one
    place in each round, and a new flow begins with the round after the current one. Within a flow
    the order is first come, first served.
    """

    def __init__(self) -> None:
        #: How many wait. A new call joins them without trying.
        self.waiting: int = 0
        #: The limit that was reached last.
        self.number: int = errno.EMFILE
        # A heap: the place, a sequence number, and the future that wakes the call.
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []
        self._joined = 0
        self._pushed = 0
        # The current round, and the last round in which each flow has a place.
        self._round = 0
        self._last: dict[Flow | None, int] = {}
        self._at_once = 1
        self._timer: asyncio.TimerHandle | None = None
        self._throttle = Throttle(LOG_INTERVAL)

    def join(self, error: OwnLimitError, log: Logger, *, first: bool) -> Place:
        """Give a call a place in the queue, and log that it waits.

        Args:
            error: the limit that the call reached.
            log: the provider's log.
            first: before all other calls: it ends something that costs money.
        """
        now = asyncio.get_running_loop().time()
        self._joined += 1
        number, flow = -self._joined, CURRENT_FLOW.get()
        if not first:
            number = self._last[flow] = max(self._round, self._last.get(flow, 0)) + 1
        if (left_out := self._throttle.admit(now)) is not None:
            log.warning(
                "%s; %s for it, each up to %g s: %s%s",
                describe_limit(error.number),
                f"{self.waiting + 1} calls wait" if self.waiting else "1 call waits",
                MAX_WAIT,
                LIMITS[error.number][1],
                f" ({left_out} more began to wait since the last such line)" if left_out else "",
            )
        return Place(number, now)

    async def wait(self, place: Place, within: float) -> bool:
        """Wait until the call may try; False: that took too long.

        Args:
            place: the call's place.
            within: seconds to wait at most.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pushed += 1
        # A call that tried without success comes back with the lowest number.
        heapq.heappush(self._queue, (place.number, self._pushed, future))
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
                self._clear()
        return True

    def refuse(self) -> NoReturn:
        """Send a call to the queue, because others wait there already.

        Raises:
            OwnLimitError: always.
        """
        raise OwnLimitError.of(self.number)

    def failed(self, number: int) -> None:
        """Note that a call tried and reached the limit again."""
        self.number, self._at_once = number, 1

    def wake(self, most: int = 1) -> None:
        """Let the first calls in the queue try, so many at most."""
        while most and self._queue:
            number, _, future = heapq.heappop(self._queue)
            if not future.done():
                self._round = max(self._round, number)
                future.set_result(None)
                most -= 1

    def wake_all(self) -> None:
        """Let all calls try. They fail with the error of a closed client."""
        self.wake(len(self._queue))

    def _clear(self) -> None:
        self._queue.clear()
        self._last.clear()
        self._at_once = 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(RETRY_INTERVAL, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._set_timer()
        self.wake(self._at_once)
        # Twice as many each time, until one reaches the limit: a thousand calls then take seconds,
        # not minutes.
        self._at_once = min(2 * self._at_once, MAX_RETRIES_AT_ONCE)
