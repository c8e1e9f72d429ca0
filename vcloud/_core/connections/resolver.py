"""Names of hosts, looked up in threads that nothing waits for.

``getaddrinfo`` cannot be interrupted, and with name servers that do not answer it takes half a
minute. In the event loop's own executor, which has a few threads for everything, such lookups hold
up whatever else uses it, and ``asyncio.run`` and the end of the interpreter wait for them.

It imports aiohttp for the base class of what a connector asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from vcloud._core.endpoint import is_localhost
from vcloud._core.process_limits import limit_reached

#: Lookups at once, of all clients of this process. One that is silent holds its thread until the
#: system gives up; a client has a handful of hosts.
THREADS: Final = 4

#: What is asked: the name, the port, the family (``socket.AF_UNSPEC``: any).
Question = tuple[str, int, int]
#: Called in the thread of the lookup, with the addresses or with what went wrong.
Answered = Callable[["list[ResolveResult] | BaseException"], None]

# As aiohttp asks: no address of a family that this machine has none of.
_FLAGS: Final = socket.AI_ADDRCONFIG & getattr(socket, "AI_MASK", socket.AI_ADDRCONFIG)


class Lookups:
    """Looks names up in :data:`THREADS` daemon threads at most. From any thread, for any loop.

    A question that is being asked is not asked again: whoever has it too gets the same answer. A
    thread ends when there is nothing more to look up, so that none is left over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[Question, list[Answered]] = {}
        self._line: deque[Question] = deque()
        self._threads = 0

    def ask(self, question: Question, answered: Answered) -> None:
        """Look this up, or join those who wait for it already.

        Raises:
            RuntimeError: no thread can be started, and none is running.
        """
        with self._lock:
            if (others := self._asked.get(question)) is not None:
                others.append(answered)
                return
            self._asked[question] = [answered]
            self._line.append(question)
            if self._threads >= THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="vcloud-names", daemon=True).start()
        except BaseException:
            with self._lock:
                self._threads -= 1
                if not self._threads and question in self._line:
                    self._line.remove(question)
                    self._asked.pop(question, None)
                    raise

    def leave(self, question: Question, answered: Answered) -> None:
        """Do not wait for this any more. A question that nobody waits for is not begun."""
        with self._lock:
            others = self._asked.get(question)
            if others is None or answered not in others:
                return
            others.remove(answered)
            if not others and question in self._line:
                self._line.remove(question)
                del self._asked[question]

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._threads -= 1
                    return
                question = self._line.popleft()
            answer: list[ResolveResult] | BaseException
            try:
                answer = _look_up(*question)
            except BaseException as error:  # noqa: BLE001 - handed to those who wait
                answer = error
            with self._lock:
                waiting = self._asked.pop(question, [])
            for answered in waiting:
                # A loop that was closed meanwhile has nobody who waits.
                with contextlib.suppress(RuntimeError):
                    answered(answer)
            del answer, waiting


_lookups = Lookups()


def _after_fork() -> None:
    # The threads, and whoever may have held the lock, are the parent's.
    global _lookups  # noqa: PLW0603 - there is one for each process
    _lookups = Lookups()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    try:
        # By its name at this moment, because programs and tests replace it.
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=_FLAGS)
    except socket.gaierror as error:
        # Without a file descriptor, libc reads neither /etc/hosts nor the name servers' addresses,
        # and then calls the name unknown.
        if (number := limit_reached(error)) is None:
            raise
        raise OSError(number, os.strerror(number)) from None
    return [
        _result(host, port, kind, address)
        for kind, _, _, _, address in found
        # A Python without IPv6 gives addresses of it as bytes.
        if isinstance(address[0], str)
    ]


def _result(host: str, port: int, family: int, address: tuple[object, ...]) -> ResolveResult:
    numeric = str(address[0])
    if len(address) > 3 and address[3]:
        # A link-local address says by which interface: fe80::1%eth0.
        numeric, _ = socket.getnameinfo(
            address,  # type: ignore[arg-type]
            socket.NI_NUMERICHOST | socket.NI_NUMERICSERV,
        )
    return ResolveResult(
        hostname=host,
        host=numeric,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


class Names(AbstractResolver):
    """Resolves ``localhost`` and the names below it to loopback, and the others by ``getaddrinfo``.

    Plain http is permitted to those names, so nobody may say that they are another machine: neither
    DNS nor a file (RFC 6761, 6.3).
    """

    def __init__(self) -> None:
        self._asking: dict[str, int] = {}

    def asks(self, host: str) -> bool:
        """Whether somebody waits for this name's addresses."""
        return host in self._asking

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. A cancellation ends this wait, and no other one's.

        Raises:
            OSError: there are none.
        """
        if is_localhost(host):
            return [
                _result(host, port, kind, (address,))
                for kind, address in _LOOPBACK
                if family in (kind, socket.AF_UNSPEC)
            ]
        self._asking[host] = self._asking.get(host, 0) + 1
        try:
            return await _answer((host, port, int(family)))
        finally:
            self._asking[host] -= 1
            if not self._asking[host]:
                del self._asking[host]

    async def close(self) -> None:
        """Nothing to close: a lookup that is under way is nobody's."""


#: The one that most servers listen on first. aiohttp tries the other when it is refused, or after
#: 250 ms (RFC 8305).
_LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def _answer(question: Question) -> list[ResolveResult]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[list[ResolveResult]] = loop.create_future()

    def settle(answer: list[ResolveResult] | BaseException) -> None:
        if waiting.done():
            return
        if isinstance(answer, list):
            # A copy for each: aiohttp takes addresses off it that do not answer.
            waiting.set_result(list(answer))
        else:
            waiting.set_exception(_copied(answer))

    def answered(answer: list[ResolveResult] | BaseException) -> None:
        loop.call_soon_threadsafe(settle, answer)

    lookups = _lookups
    try:
        lookups.ask(question, answered)
    except RuntimeError:
        raise OSError("no thread can be started to look the name up") from None
    try:
        return await waiting
    finally:
        lookups.leave(question, answered)


def _copied(error: BaseException) -> BaseException:
    """An error for one of those who wait for it: a traceback grows with each raise."""
    if isinstance(error, OSError):
        return type(error)(*error.args)
    return error if isinstance(error, Exception) else OSError(None, type(error).__name__)
