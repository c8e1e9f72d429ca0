"""The token store in a file, for the processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from vcloud.auth.token_store.login_lock import LoginLock, require_flock, try_flock, unlock
from vcloud.auth.token_store.private_files import check_folder, open_if_exists
from vcloud.auth.token_store.records import Record
from vcloud.auth.token_store.store import Found, StoreAccess, StoreAwayError, TokenStore
from vcloud.auth.token_store.token_file import TokenFile, age, stamped
from vcloud.errors import ConfigurationError

#: Seconds for which a process waits for the lock for writing, which is held for a moment only.
WRITE_WAIT: Final = 1.0
#: Seconds between two attempts to take it.
_PAUSE: Final = 0.01
#: How much of a token's name the file of its lock has in its own.
_NAME: Final = 16


class FileTokenStore(TokenStore):
    """Tokens of logins in a file, for the processes of one machine that run as the same user.

    ::

        BearerAuth.login("admin", password, store=FileTokenStore("/run/portal/tokens.json"))

    However many processes need a token, one logs in, and the others wait for it. When it ends
    without an answer, another one logs in: at once if it was killed, after 10 seconds if it was
    stopped (SIGSTOP). A token that the service refuses is removed for all. Passwords are not
    stored. Beside each token is a slow hash of its password with a random salt (scrypt): whoever
    has another password gets no token, and logs in.

    The file has the mode 0600, and is replaced as a whole. Beside it are ``NAME.lock``, and
    ``NAME.<hex>.lock`` while a process logs in. Put it on a local disk, or a memory file system
    such as ``/run``. Its folder must exist. A file or a folder that other users could write, a file
    that they could read, and a symbolic link are a ConfigurationError.

    A file that was damaged, or that another version of this SDK wrote, is replaced. While the file
    cannot be used otherwise (a full disk, say, or the file of another program), this process logs
    in by itself; the logger ``vcloud.auth`` gets one WARNING, and one INFO when it works again.

    Args:
        path: the file. ``~`` is the user's home.

    Raises:
        ConfigurationError: others could read or replace the tokens, the folder does not exist, or
            the system has no ``flock`` (Windows).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        require_flock()
        self._path = _absolute(path)
        check_folder(self._path.parent)
        try:
            descriptor = open_if_exists(self._path)
        except OSError as error:
            raise ConfigurationError(
                f"the token store {self._path} cannot be opened: {error.strerror}"
            ) from None
        if descriptor is not None:
            os.close(descriptor)

    def __repr__(self) -> str:
        return f"FileTokenStore({str(self._path)!r})"

    @property
    def path(self) -> Path:
        """The file, without symbolic links."""
        return self._path

    @property
    def place(self) -> str:
        return str(self._path)

    @contextlib.asynccontextmanager
    async def opened(self, key: str) -> AsyncIterator[StoreAccess]:
        access = _FileAccess(self._path, key)
        try:
            yield access
        finally:
            # Without an await: the loop may be closed.
            access.lock.release()


class _FileAccess(StoreAccess):
    """Access to one token of a file.

    The files are small and local, so they are read and written without a thread.

    Args:
        path: the file.
        key: the name of the token.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._file = TokenFile(path)
        self._key = key
        self._guard = path.with_name(f"{path.name}.lock")
        self.lock: LoginLock = LoginLock(
            path.with_name(f"{path.name}.{key[:_NAME]}.lock"), self._guard
        )

    async def read(self) -> Found | None:
        record = self._file.load().get(self._key)
        return None if record is None else Found(record, age(record))

    async def write(self, record: Record) -> None:
        def put(tokens: dict[str, Record]) -> bool:
            tokens.pop(self._key, None)  # so that it is the newest
            tokens[self._key] = stamped(record)
            return True

        await self._change(put)

    async def drop(self, token: str) -> None:
        def remove(tokens: dict[str, Record]) -> bool:
            is_this = self._key in tokens and tokens[self._key].token == token
            if is_this:
                del tokens[self._key]
            return is_this

        if remove(self._file.load()):
            await self._change(remove)

    async def try_lock(self) -> bool:
        return self.lock.try_take()

    async def keep_lock(self) -> None:
        self.lock.show_life()

    async def _change(self, change: Callable[[dict[str, Record]], bool]) -> None:
        """Read the tokens, change them, and write them if the function says that it did."""
        for _ in range(round(WRITE_WAIT / _PAUSE)):
            with self._short_lock() as locked:
                if locked:
                    tokens = self._file.load()
                    if change(tokens):
                        self._file.replace(tokens)
                    return
            await asyncio.sleep(_PAUSE)
        raise StoreAwayError("another process that writes it does not go on")

    @contextlib.contextmanager
    def _short_lock(self) -> Iterator[bool]:
        descriptor = try_flock(self._guard)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                unlock(descriptor)


def _absolute(path: str | os.PathLike[str]) -> Path:
    """The path of the file, which must not depend on the working directory.

    Its folder is without symbolic links: all processes must use the same locks.
    """
    found = None
    # No home, a null character, or the wrong type.
    with contextlib.suppress(RuntimeError, ValueError, TypeError):
        given = Path(path).expanduser()
        if given.name and "\0" not in str(given):
            found = Path(os.path.realpath(given.parent), given.name)
    if found is None:
        raise ConfigurationError(
            f"the path of a FileTokenStore must be that of a file, not {path!r:.80}"
        )
    return found
