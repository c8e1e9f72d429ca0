"""Closes a client: first what was opened through it, then its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from vcloud._core.cleanup import WITHIN, Cleanup, Opened, hidden_task, left_behind
from vcloud._core.websocket import GOING_AWAY
from vcloud.errors import CleanupError, ConfigurationError, TransportError

if TYPE_CHECKING:
    from vcloud._core.session import Session
    from vcloud._core.transport import Transport


#: Closing may be interrupted by a second Ctrl-C, and once more by the end of the loop.
_TRIES: Final = 3
#: Seconds for closing WebSockets and connections, which takes a few at most.
CONNECTIONS: Final = 10.0


async def close(
    transport: Transport, sessions: Iterable[Session], error: BaseException | None = None
) -> None:
    """Refuse new calls, end what is open within its time limit, and close the connections.

    A second caller waits for the same closing. A handler of an agent does not, because the closing
    waits for the agent, and the agent waits for its handlers. If a handler starts the closing, the
    closing does not wait for that agent.

    Args:
        transport: the connections.
        sessions: all that use them.
        error: what the caller's block already raises; what could not be ended is added as a note.

    Raises:
        CleanupError: something may have been left running.
        ConfigurationError: another event loop is closing it.
    """
    every = list(sessions)
    if not _may_wait(transport, error):
        # The loop was closed while the caller was running: nothing can be awaited any more.
        transport.refuse()
        return
    bound = max(session.cleanup_timeout for session in every)
    # First end what is open, each within its own time limit. Then close the connections.
    cleanup = Cleanup(bound + CONNECTIONS)
    if transport.closing is None or _is_dead(transport.closing):
        transport.closing = cleanup.start(_close(transport, every, WITHIN.get()))
    elif WITHIN.get() is not None:
        return
    failure: CleanupError | None = None
    for _ in range(_TRIES):
        try:
            await cleanup.wait(transport.closing)
        except CleanupError as left:
            failure = left
        except TransportError:
            # A signal handler or the end of the loop interrupted it. Closing may be repeated.
            transport.closing = cleanup.start(_close(transport, every, WITHIN.get()))
            continue
        except TimeoutError:
            what = f"closing the client took longer than {cleanup.timeout:g} s and was cancelled"
            failure = left_behind(every[0].log, every[0].service.provider, what)
        except Exception:
            cleanup.conclude(None, error)
            raise
        break
    cleanup.conclude(failure, error)


def _may_wait(transport: Transport, error: BaseException | None) -> bool:
    """Whether the caller can wait in a running loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    # A task of a closed loop may be garbage-collected while another loop runs.
    return not isinstance(error, GeneratorExit) or transport.runs_here()


def _is_dead(closing: asyncio.Task[None]) -> bool:
    """Whether the loop that was closing the client has itself been closed.

    Raises:
        ConfigurationError: it is another loop, which is still open.
    """
    loop = closing.get_loop()
    if closing.done() or loop is asyncio.get_running_loop():
        return False
    if not loop.is_closed():
        raise ConfigurationError("this client is being closed in another event loop")
    return True


async def _close(transport: Transport, sessions: list[Session], within: Opened | None) -> None:
    failures: list[CleanupError] = []
    async with AsyncExitStack() as stack:  # each of these runs, also if another one raises
        for session in sessions:
            stack.push_async_callback(session.aclose)
        stack.push_async_callback(transport.aclose)
        here = transport.runs_here()
        opened = [one for session in sessions for one in session.opened if here]
        transport.refuse()
        for one in opened:
            one.make_urgent()
        for session in sessions:
            session.refuse()
        try:
            waited_for = [one for one in opened if one is not within]
            ended = await asyncio.gather(*[hidden_task(_end(one)) for one in waited_for])
        except GeneratorExit:
            stack.pop_all()  # the loop was closed: nothing can be awaited any more
            raise
        failures = [failure for failure in ended if failure is not None]
        sockets = [socket for session in sessions for socket in session.sockets if here]
        # Each takes two seconds at most. Nothing retrieves these errors.
        await asyncio.gather(
            *[socket.close(GOING_AWAY) for socket in sockets], return_exceptions=True
        )
    if failures:
        raise _joined(failures)


async def _end(opened: Opened) -> CleanupError | None:
    try:
        await opened.end_with_client()
    except CleanupError as failure:
        return failure
    return None


def _joined(failures: list[CleanupError]) -> CleanupError:
    """One error for all."""
    if len(failures) == 1:
        return failures[0]
    made = CleanupError(
        "; ".join(failure.args[0] for failure in failures),
        provider=", ".join(dict.fromkeys(failure.provider for failure in failures)),
        ids=[id for failure in failures for id in failure.ids],
        outcome_unknown=any(failure.outcome_unknown for failure in failures),
    )
    made.__cause__ = ExceptionGroup("what could not be ended", failures)
    return made
