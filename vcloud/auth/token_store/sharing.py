"""One login for all processes that share a store, and logins without it while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from logging import INFO, WARNING
from typing import Final, TypeVar

import msgspec

from vcloud._core.log import printable_logger
from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud._core.refused_credentials import HOLD
from vcloud._core.request import Request
from vcloud._core.system_errors import describe_cause, error_and_causes
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.timeouts import timeout
from vcloud.auth.token_store.password import PasswordCheck
from vcloud.auth.token_store.records import ObtainedToken, Record, store_key
from vcloud.auth.token_store.refusals import error_of, left, record_of
from vcloud.auth.token_store.store import LOCK_SIGN, StoreAccess, StoreAwayError, TokenStore
from vcloud.errors import AuthenticationError

R = TypeVar("R")

LOG: Final = printable_logger("vcloud.auth")

#: Seconds that a store has for each answer.
STORE_TIMEOUT: Final = 2.0
#: Seconds between two looks for the token that another process obtains.
POLL: Final = 0.1
_AWAY: Final = "the token store %s fails (%s): until it works, this process logs in by itself"


class SharedLogin(Secretive):
    """The token of one user at one base URL, which the processes share.

    Args:
        store: where it is.
        base_url: the address of the API.
        request: the login, with user name and password.
    """

    __slots__ = ("_base_url", "_check", "_key", "_refusal_key", "_store", "hold", "request")

    def __init__(self, store: TokenStore, base_url: str, request: Request) -> None:
        self.request: Request = request
        given: dict[str, str] = msgspec.json.decode(request.body or b"{}")
        #: For how many seconds the last refusal counts.
        self.hold: float = HOLD
        self._store = store
        self._base_url = base_url
        self._key = store_key(base_url, given["username"], request.path)
        self._refusal_key = store_key(base_url, given["username"], request.path, "refusal")
        self._check = PasswordCheck(given["password"])

    @concealing
    async def obtain(
        self, log_in: Callable[[], Awaitable[ObtainedToken]], *, refused: str | None
    ) -> ObtainedToken:
        """The token of another process, or one of a login that the others then use.

        While the store is away, this process logs in by itself.

        Args:
            log_in: logs in.
            refused: a token that the service refused. It is removed from the store.

        Raises:
            AuthenticationError: the login was refused, to this process or to another one.
            VCloudError: the login failed.
            ConfigurationError: other users could read or replace the tokens.
        """
        self.hold = HOLD
        try:
            async with (
                self._store.opened(self._refusal_key) as refusals,
                self._store.opened(self._key) as access,
            ):
                if refused is not None:
                    await _ask(access, access.drop(refused))
                found = await self._wait(access, refusals, refused)
                if found is None:
                    return await self._log_in_for_all(access, refusals, log_in)
                self._works()
                return found
        except StoreAwayError as error:
            self._fails(error)
        return await log_in()

    @concealing
    async def share(self, token: ObtainedToken | None, *, refused: str | None) -> None:
        """Replace the token of all processes by one that this process obtained otherwise.

        Args:
            token: the new one; None: there is none.
            refused: a token that ended. It is removed from the store.

        Raises:
            ConfigurationError: other users could read or replace the tokens.
        """
        try:
            async with self._store.opened(self._key) as access:
                if refused is not None:
                    await _ask(access, access.drop(refused))
                if token is not None:
                    await self._write(access, token)
        except StoreAwayError as error:
            self._fails(error)

    async def _wait(
        self, access: StoreAccess, refusals: StoreAccess, refused: str | None
    ) -> ObtainedToken | None:
        """The token of another process; None: this process has the lock, and is to log in."""
        unfit = {refused}
        has_lock = False
        while True:
            if (found := await self._usable(access, unfit)) is not None:
                return found
            await self._check_refusal(refusals)
            # Another process may have written one before it gave the lock up.
            if has_lock:
                return None
            if has_lock := await _ask(access, access.try_lock()):
                continue
            # Not in step with the others.
            await asyncio.sleep(POLL * random.uniform(0.5, 1.5))  # noqa: S311 - no secret

    async def _usable(self, access: StoreAccess, unfit: set[str | None]) -> ObtainedToken | None:
        """The stored token, if it lasts, and is of a login with the same password.

        Args:
            access: to the store.
            unfit: the tokens that are not. Another one that is found is added.
        """
        found = await _ask(access, access.read())
        if found is None or found.record.token in unfit:
            return None
        token = found.record.obtained(found.age)
        if token is None or token.renew_in <= 0 or not await self._is_ours(found.record):
            unfit.add(found.record.token)
            return None
        return token

    async def _is_ours(self, record: Record) -> bool:
        return await self._check.matches(record.salt, record.check)

    async def _check_refusal(self, refusals: StoreAccess) -> None:
        """Raise, if the service refused this password to another process a moment ago.

        Raises:
            AuthenticationError: that answer.
        """
        found = await _ask(refusals, refusals.read())
        rest = left(found)
        if found is None or found.record.refusal is None or rest <= 0:
            return
        if await self._is_ours(found.record):
            self.hold = rest
            raise error_of(found.record.refusal, self._base_url, self.request)

    async def _note_refusal(self, refusals: StoreAccess, error: AuthenticationError) -> None:
        """Tell the other processes, unless the refusal is not certain."""
        if not error.outcome_unknown:
            with contextlib.suppress(StoreAwayError):
                salt, check = await self._check.current()
                await _ask(refusals, refusals.write(record_of(error, salt, check)))

    async def _log_in_for_all(
        self,
        access: StoreAccess,
        refusals: StoreAccess,
        log_in: Callable[[], Awaitable[ObtainedToken]],
    ) -> ObtainedToken:
        """Log in, with the lock, and write the token or the refusal."""
        # In an empty context, because it does not belong to the caller.
        signs = asyncio.create_task(_show_life(access), context=Context())
        try:
            token = await log_in()
            with contextlib.suppress(StoreAwayError):
                await self._write(access, token)
        except AuthenticationError as error:
            await self._note_refusal(refusals, error)
            raise
        finally:
            await cancel_and_wait([signs])
        return token

    async def _write(self, access: StoreAccess, token: ObtainedToken) -> None:
        try:
            salt, check = await self._check.current()
            await _ask(access, access.write(Record.of(token, salt, check)))
        except StoreAwayError as error:
            self._fails(error)
        else:
            self._works()

    def _fails(self, error: StoreAwayError) -> None:
        """Say once that this process continues without the store."""
        warned, self._store.warned = self._store.warned, True
        if not warned:
            LOG.log(WARNING, _AWAY, self._store.place, error)

    def _works(self) -> None:
        warned, self._store.warned = self._store.warned, False
        if warned:
            LOG.log(INFO, "the token store %s works again", self._store.place)


async def _show_life(access: StoreAccess) -> None:
    """Keep the lock as long as the login lasts."""
    while True:
        await asyncio.sleep(LOCK_SIGN)
        # If this fails, another process takes the lock over, and there is one login more.
        with contextlib.suppress(StoreAwayError):
            await _ask(access, access.keep_lock())


async def _ask(access: StoreAccess, question: Awaitable[R]) -> R:
    """Ask a store, which has a limited time for its answer.

    Raises:
        StoreAwayError: it cannot be used.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    try:
        async with timeout(STORE_TIMEOUT):
            answer = await question
    except TimeoutError:
        raise StoreAwayError(f"no answer in {STORE_TIMEOUT:g} s") from None
    except access.failures as error:
        # Without the error's text: clients of stores quote what they cannot parse, and a peer that
        # is not a store may repeat the password that it received.
        kinds = dict.fromkeys(type(one).__name__ for one in error_and_causes(error))
        raise StoreAwayError(f"{', '.join(kinds)}: {describe_cause(error)}") from None
    if task.cancelling() > cancelled_before:
        # Before Python 3.12, asyncio.wait_for loses a cancellation that arrives with the result.
        # redis-py uses it for a timeout of a client of the user's own.
        raise asyncio.CancelledError
    return answer
