"""Obtaining a credential before a request is sent, and trying a refused one again."""

from __future__ import annotations

import asyncio
from typing import Final

from vcloud._core.bulk_run import RUN
from vcloud._core.call.call import Call
from vcloud._core.call.errors import too_late
from vcloud._core.call.interruption import until_urgent
from vcloud._core.observe import WaitReason
from vcloud._core.refused_credentials import HOLD, is_held_back
from vcloud._core.timing.timeouts import timeout
from vcloud.errors import AuthenticationError, VCloudError

#: Seconds after which a bulk run looks again whether a refusal is still remembered.
RECHECK: Final = 0.5


def fail_if_refused(call: Call) -> None:
    """Fail at once while refused credentials are remembered, instead of waiting in the queue.

    Raises:
        AuthenticationError: the refusal that is remembered.
    """
    if not is_held_back(call.request):
        return
    try:
        call.context.signer.refused.check()
    except AuthenticationError as error:
        error.outcome_unknown = call.outcome_unknown
        raise


async def authorize(call: Call) -> None:
    """Set the headers of a request that cannot be signed at once.

    If the client closes meanwhile and the call must be finished, they stay as they are: then the
    attempt does not begin.
    """
    signer, cleanup = call.context.signer, call.cleanup
    if signer.refused.error is not None:
        waiting = _wait_to_try(call)
        call.tries = await until_urgent(waiting, cleanup, signer.end_trial) or False
    if signer.auth.ready(now := signer.now()):
        call.headers = signer.sign(call.request, now, call.root)
    else:
        await until_urgent(obtain_credential(call), cleanup)


async def _wait_to_try(call: Call) -> bool:
    """Whether this call tries refused credentials again. The others wait for it."""
    if not is_held_back(call.request):
        return False
    try:
        with call.context.waits.for_reason(WaitReason.LOGIN, call.watch):
            async with timeout(call.left()):
                return await call.context.signer.refused.turn()
    except AuthenticationError as error:
        error.outcome_unknown = call.outcome_unknown
        raise
    except TimeoutError:
        raise too_late(call) from None


async def _acquire(call: Call) -> None:
    """Obtain a credential. A bulk run waits for one that is refused for the moment only."""
    signer, clock = call.context.signer, call.context.clock
    until = clock() + HOLD
    while True:
        try:
            return await signer.auth.acquire(call.session.send, now=signer.now())
        except AuthenticationError as failure:
            passing = failure.remembered and failure.may_be_temporary and RUN.get() is not None
            if not passing or clock() >= until:
                raise
        await asyncio.sleep(RECHECK)


async def obtain_credential(call: Call) -> None:
    """Obtain a credential first, unless it is this request that obtains it; and sign.

    Raises:
        RequestTimeout: the deadline passed.
        VCloudError: what the strategy raised; or the login shows that the client is made for
            another kind of installation.
    """
    context, signer = call.context, call.context.signer
    if call.request.authenticated:
        limit = timeout(call.left())
        try:
            with context.waits.for_reason(WaitReason.LOGIN, call.watch):
                async with limit:
                    await _acquire(call)
            if (installation := call.session.installation) is not None:
                installation.logged_in(signer.auth)
        except VCloudError as failure:
            # Nothing of this request was sent since, however the login ended.
            failure.outcome_unknown = call.outcome_unknown
            raise
        except TimeoutError:
            if not limit.expired():
                raise  # the strategy's own timeout, not the deadline
            raise too_late(call) from None
    call.headers = signer.sign(call.request, signer.now(), call.root)
