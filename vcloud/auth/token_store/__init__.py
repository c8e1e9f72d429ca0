"""Stores in which several processes share the tokens of their logins.

A process that needs a token reads the store. Finding none that lasts, it takes the lock of this
base URL and user, logs in, and writes the token; the others read it meanwhile.

| module | what is there |
|---|---|
| ``records`` | a token, and what is stored of it |
| ``password`` | shows that two processes have the same password, without storing it |
| ``refusals`` | a refused login, which the processes share too |
| ``store`` | the interface of a store |
| ``sharing`` | one login for all, and what happens while the store is away |
| ``file_store`` | the store in a file, with ``token_file``, ``private_files`` and ``login_lock`` |
| ``redis_store`` | the store in Redis |
| ``choosing`` | the store that an argument names |
"""

from vcloud.auth.token_store.file_store import FileTokenStore
from vcloud.auth.token_store.redis_store import RedisTokenStore
from vcloud.auth.token_store.store import TokenStore

__all__ = ["FileTokenStore", "RedisTokenStore", "TokenStore"]
