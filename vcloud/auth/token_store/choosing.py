"""The store that an argument names."""

from __future__ import annotations

import os

from vcloud.auth.token_store.file_store import FileTokenStore
from vcloud.auth.token_store.redis_store import RedisTokenStore
from vcloud.auth.token_store.store import TokenStore
from vcloud.errors import ConfigurationError


def token_store(store: TokenStore | str | os.PathLike[str] | None) -> TokenStore | None:
    """The store for the argument ``store`` of ``BearerAuth.login``.

    Args:
        store: a store, the address of a Redis, or the path of a file.

    Raises:
        ConfigurationError: it is none of these, or cannot be used.
    """
    if store is None or isinstance(store, TokenStore):
        return store
    if isinstance(store, str) and "://" in store:
        return RedisTokenStore(store)
    if isinstance(store, str | os.PathLike):
        return FileTokenStore(store)
    raise ConfigurationError(
        "store must be FileTokenStore(path), RedisTokenStore(address) or None, "
        f"not {type(store).__name__}"
    )
