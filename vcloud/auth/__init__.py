"""How a request proves who sends it: the strategies that an Endpoint takes."""

from vcloud._core.auth import Auth
from vcloud.auth.api_key import APIKeyAuth
from vcloud.auth.bearer import BearerAuth
from vcloud.auth.hmac import HMACAuth
from vcloud.auth.token_store import FileTokenStore, RedisTokenStore, TokenStore

__all__ = [
    "APIKeyAuth",
    "Auth",
    "BearerAuth",
    "FileTokenStore",
    "HMACAuth",
    "RedisTokenStore",
    "TokenStore",
]
