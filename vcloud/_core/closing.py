"""Closing a client: first what it opened, then the connections."""

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


#: A second Ctrl-C may interrupt a closing, and the end of the loop once more.
_TRIES: Final = 3
#: Seconds for WebSockets and connections, which take no more than a few.
_CONNECTIONS: Final = 10.0


async def close(
    transport: Transport, sessions: Iterable[Session], error: BaseException | None = None
) -> None:
    """Refuse new calls, end what is open within its bound, and close the connections.

    Whoever calls it again waits for the same closing. A handler of an agent, and whatever it runs,
    does not: the closing waits for the agent, and so for the handler. If it begins the closing
    itself, that does not wait for the agent.

    Args:
        transport: the connections.
        sessions: all that use them.
        error: what the caller's block ends with already; it gets as a note what could not be ended.

    Raises:
        CleanupError: something may have been left.
        ConfigurationError: another event loop closes it.
    """
    every = list(sessions)
    if not _may_wait(transport, error):
        # The loop was closed over the caller, and nothing can be closed any more.
        transport.refuse()
        return
    bound = max(session.cleanup_timeout for session in every)
    # What it ends has bounds of its own, which come first; then the connections are closed.
    cleanup = Cleanup(bound + _CONNECTIONS)
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
            # A signal's handler or the end of the loop interrupted it. Closing may be repeated.
            transport.closing = cleanup.start(_close(transport, every, WITHIN.get()))
            continue
        except TimeoutError:
            what = f"closing the client took longer than {cleanup.timeout:g} s, and was given up"
            failure = left_behind(every[0].log, every[0].dialect.provider, what)
        except Exception:
            cleanup.conclude(None, error)
            raise
        break
    cleanup.conclude(failure, error)


def _may_wait(transport: Transport, error: BaseException | None) -> bool:
    """Whether there is a loop in which the caller can wait for anything."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    # A task of a loop that was closed may be collected while another loop runs.
    return not isinstance(error, GeneratorExit) or transport.runs_here()


def _is_dead(closing: asyncio.Task[None]) -> bool:
    """Whether the loop that closes the client was closed meanwhile.

    Raises:
        ConfigurationError: it is not the one that runs this, and may still go on.
    """
    loop = closing.get_loop()
    if closing.done() or loop is asyncio.get_running_loop():
        return False
    if not loop.is_closed():
        raise ConfigurationError("this client is being closed in another event loop")
    return True


async def _close(transport: Transport, sessions: list[Session], within: Opened | None) -> None:
    failures: list[CleanupError] = []
    async with AsyncExitStack() as stack:  # each of these, whatever becomes of the others
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
            stack.pop_all()  # the loop was closed, and nothing can be awaited any more
            raise
        failures = [failure for failure in ended if failure is not None]
        sockets = [socket for session in sessions for socket in session.sockets if here]
        # Each within two seconds; an error is one that nobody waits for any more.
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
