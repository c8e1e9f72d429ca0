"""Waiting while the caller may be cancelled, or the client may close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from vcloud._core.call.call import Call
from vcloud._core.call.context import Exchange
from vcloud._core.cleanup import CALLER, CLEANUP, Cleanup
from vcloud._core.connections.unsent import unsent
from vcloud._core.request import Response
from vcloud.errors import ConnectTimeout, RequestTimeout, TransportError, VCloudError

R = TypeVar("R")


def finished_anyway(exchange: Exchange, cleanup: Cleanup) -> Exchange:
    """An exchange that is finished even if its caller is cancelled, once its request is sent.

    Args:
        exchange: the exchange.
        cleanup: what it is a part of.
    """

    async def sent(*given: Any) -> Response:
        # Only the task that runs this reads them.
        CALLER.set(cleanup)
        exchanging = exchange(*given)
        # They hold the credentials, and reporters of errors print the variables of a frame.
        del given
        return await exchanging

    async def finished(*given: Any) -> Response:
        try:
            return await cleanup.finish(sent(*given))
        except VCloudError:
            raise
        except TimeoutError as late:
            bound = f"within the {cleanup.timeout:g} s of cleanup_timeout"
            failure: VCloudError = RequestTimeout(f"there was no answer {bound}")
            if (awaited := unsent(late)) is not None:
                failure = ConnectTimeout(f"cannot reach it: {awaited} {bound}; nothing was sent")
        except Exception as error:  # noqa: BLE001 - of a signal's handler, raised while this ran
            cleanup.interrupt(error)
            failure = TransportError(f"it was interrupted by {type(error).__name__}")
        finally:
            del given
        raise failure

    return finished


async def until_urgent(
    waiting: Coroutine[Any, Any, R],
    cleanup: Cleanup | None,
    drop: Callable[[R], object] | None = None,
) -> R | None:
    """Wait for this; None if the client closes meanwhile and something must be finished.

    Args:
        waiting: what to wait for.
        cleanup: what must be finished; None: nothing.
        drop: undoes the result if the caller was cancelled in the same moment.
    """
    if cleanup is None:
        return await waiting
    return await cleanup.unless_urgent(waiting, drop=drop)


async def pause_before_retry(call: Call, seconds: float) -> bool:
    """Wait before the request is sent again; whether there is time for that.

    There is none if the client closes meanwhile, or if a stop has less time left than the pause.
    """
    if call.cleanup is not None:
        return await call.cleanup.unless_urgent(_slept(seconds)) is not None
    if (stopping := CLEANUP.get()) is None:
        await asyncio.sleep(seconds)
        return True
    ends = call.context.clock() + seconds
    if await stopping.unless_urgent(_slept(seconds)):
        return True
    # A pause that the service asked for is not undercut, even if it is urgent.
    left = ends - call.context.clock()
    if left >= stopping.left:
        return False
    await asyncio.sleep(left)
    return True


async def _slept(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True
