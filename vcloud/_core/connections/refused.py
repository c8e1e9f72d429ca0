"""An upgrade to a WebSocket that the service refused."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from vcloud._core.request import Response


class RefusedError(Exception):
    """The service refused an upgrade. The provider's ``Service`` says what its answer means."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the upgrade was answered with {response.status}")
        self.response = response


def refusal_headers(answer: aiohttp.ClientResponse) -> Mapping[str, str]:
    """The headers of a refused upgrade, without those that announce the rate limit of requests.

    That limit does not count upgrades, so it must not delay the next one. Those of a 429 are kept:
    the service then limits upgrades, and says until when.
    """
    if answer.status == 429:
        return answer.headers
    headers = answer.headers.copy()
    for name in [name for name in headers if name.lower().startswith("x-ratelimit-")]:
        headers.popall(name, None)
    return headers
