"""aiohttp's answers with two changes: no secrets in reprs, and upgrades as in RFC 6455."""

from __future__ import annotations

import aiohttp
from multidict import CIMultiDictProxy


class RedactedResponse(aiohttp.ClientResponse):
    """An answer whose repr shows neither address nor headers, both of which may hold a token.

    aiohttp prints it when it was never closed, and asyncio's debug mode as the argument of a slow
    callback.
    """

    def __repr__(self) -> str:
        return f"<ClientResponse({self.url.host}) [{self.status}]>"


class UpgradeResponse(RedactedResponse):
    """The answer to an upgrade, with a ``Connection`` header that aiohttp understands.

    The header is a list that contains "upgrade" (RFC 6455, 4.1). aiohttp accepts no other item.
    """

    @property
    def headers(  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
    ) -> CIMultiDictProxy[str]:
        """The headers as they came, except ``Connection: keep-alive, Upgrade``."""
        headers = super().headers
        values = headers.getall("Connection", ())
        tokens = {token.strip().lower() for value in values for token in value.split(",")}
        if self.status != 101 or "upgrade" not in tokens:
            return headers
        understood = headers.copy()
        understood["Connection"] = "upgrade"
        return CIMultiDictProxy(understood)
