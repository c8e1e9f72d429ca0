"""Lookups of host names, in daemon threads.

``getaddrinfo`` cannot be interrupted, and takes half a minute with name servers that do not answer.
The event loop's default executor has a few threads for everything: such lookups would delay
whatever else uses it, and ``asyncio.run`` and the end of the interpreter would wait for them.

This module imports aiohttp for the base class of resolvers.
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

from vcloud._core.addresses import is_localhost
from vcloud._core.process_limits import limit_reached

#: Concurrent lookups of all clients of this process. A lookup without an answer keeps its thread
#: until the system gives up. A client has only a few hosts.
THREADS: Final = 4

#: A name, a port, and an address family (``socket.AF_UNSPEC``: any).
Question = tuple[str, int, int]
#: Is called in the thread of the lookup, with the addresses or the error.
Answered = Callable[["list[ResolveResult] | BaseException"], None]

# As in aiohttp: leave out addresses of families that this machine does not have.
_FLAGS: Final = socket.AI_ADDRCONFIG & getattr(socket, "AI_MASK", socket.AI_ADDRCONFIG)


class Lookups:
    """Looks names up in at most :data:`THREADS` daemon threads, for all event loops.

    Callers that ask for a name that is being looked up get the result of the same lookup. A
    thread ends when there is nothing left to look up. All methods are thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[Question, list[Answered]] = {}
        self._queue: deque[Question] = deque()
        self._threads = 0

    def ask(self, question: Question, answered: Answered) -> None:
        """Look this up, or join the lookup if it was asked for already.

        Raises:
            RuntimeError: no thread can be started, and none is running.
        """
        with self._lock:
            if (others := self._asked.get(question)) is not None:
                others.append(answered)
                return
            self._asked[question] = [answered]
            self._queue.append(question)
            if self._threads >= THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="vcloud-names", daemon=True).start()
        except BaseException:
            with self._lock:
                self._threads -= 1
                if not self._threads and question in self._queue:
                    self._queue.remove(question)
                    self._asked.pop(question, None)
                    raise

    def leave(self, question: Question, answered: Answered) -> None:
        """Stop waiting. A lookup without a waiting caller is not started."""
        with self._lock:
            others = self._asked.get(question)
            if others is None or answered not in others:
                return
            others.remove(answered)
            if not others and question in self._queue:
                self._queue.remove(question)
                del self._asked[question]

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._threads -= 1
                    return
                question = self._queue.popleft()
            answer: list[ResolveResult] | BaseException
            try:
                answer = _look_up(*question)
            except BaseException as error:  # noqa: BLE001 - given to those that wait
                answer = error
            with self._lock:
                waiting = self._asked.pop(question, [])
            for answered in waiting:
                # The loop of a waiter may have been closed meanwhile.
                with contextlib.suppress(RuntimeError):
                    answered(answer)
            del answer, waiting


_lookups = Lookups()


def _after_fork() -> None:
    # The threads, one of which may have held the lock, exist in the parent only.
    global _lookups  # noqa: PLW0603 - there is one for each process
    _lookups = Lookups()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _look_up(host: str, port: int, family: int) -> list[ResolveResult]:
    try:
        # Looked up in its module at each call, because programs and tests replace it.
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=_FLAGS)
    except socket.gaierror as error:
        # Without a file descriptor, libc can read neither /etc/hosts nor the addresses of the name
        # servers, and reports an unknown name.
        if (number := limit_reached(error)) is None:
            raise
        raise OSError(number, os.strerror(number)) from None
    return [
        _result(host, port, kind, address)
        for kind, _, _, _, address in found
        # A Python without IPv6 returns IPv6 addresses as bytes.
        if isinstance(address[0], str)
    ]


def _result(host: str, port: int, family: int, address: tuple[object, ...]) -> ResolveResult:
    numeric = str(address[0])
    if len(address) > 3 and address[3]:
        # A link-local address includes its interface: fe80::1%eth0.
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
    """Resolves ``localhost`` and names below it to loopback addresses, others by ``getaddrinfo``.

    Plain http to those names is permitted, so neither DNS nor a file may resolve them to another
    machine (RFC 6761, 6.3).
    """

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}

    def is_looking_up(self, host: str) -> bool:
        """Whether a caller waits for this name's addresses."""
        return host in self._waiting

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. A cancellation ends this wait only, not that of other callers.

        Raises:
            OSError: there are none.
        """
        if is_localhost(host):
            return [
                _result(host, port, kind, (address,))
                for kind, address in _LOOPBACK
                if family in (kind, socket.AF_UNSPEC)
            ]
        self._waiting[host] = self._waiting.get(host, 0) + 1
        try:
            return await _answer((host, port, int(family)))
        finally:
            self._waiting[host] -= 1
            if not self._waiting[host]:
                del self._waiting[host]

    async def close(self) -> None:
        """Do nothing: lookups in their threads do not belong to a resolver."""


#: IPv4 first, because most servers listen on it. aiohttp tries the other one if the first refuses,
#: or after 250 ms (RFC 8305).
_LOOPBACK: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def _answer(question: Question) -> list[ResolveResult]:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[list[ResolveResult]] = loop.create_future()

    def settle(answer: list[ResolveResult] | BaseException) -> None:
        if waiting.done():
            return
        if isinstance(answer, list):
            # A copy for each waiter: aiohttp removes addresses from it that do not answer.
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
    """A copy of an error for one waiter, because each raise extends the traceback."""
    if isinstance(error, OSError):
        return type(error)(*error.args)
    return error if isinstance(error, Exception) else OSError(None, type(error).__name__)
