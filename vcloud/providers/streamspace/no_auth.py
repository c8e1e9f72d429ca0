"""The credentials of a client that serves an agent only: none."""

from __future__ import annotations

from collections.abc import Mapping

from vcloud._core.auth import Auth, Send
from vcloud._core.request import Request
from vcloud.errors import ConfigurationError

__all__ = ["NoAuth"]


class NoAuth(Auth):
    """Refuses each request that needs credentials, before it is sent. An agent has its own key."""

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:  # noqa: ARG002 - protocol
        """None."""
        return {}

    def ready(self, now: float) -> bool:  # noqa: ARG002 - protocol
        """Never."""
        return False

    async def acquire(self, send: Send, *, now: float) -> None:  # noqa: ARG002 - protocol
        """Refuse the request.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            "this client was made without auth, so it can only serve an agent, with "
            "serve_agent(api_key=...): for this call, make a client with "
            "auth=BearerAuth.login(username, password)"
        )

    def for_base_url(self, base_url: str) -> Auth:  # noqa: ARG002 - protocol
        """This object, which has no state."""
        return self
