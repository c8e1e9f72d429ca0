"""Whether the service answers: it has no cheaper request than one for a desktop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vcloud._core.connections.options import TransportOptions
from vcloud._core.outcome import Proof
from vcloud._core.request import Request, Response
from vcloud.errors import NotFoundError
from vcloud.providers.desktops.desktops import DESKTOP
from vcloud.providers.desktops.errors import SERVICE

if TYPE_CHECKING:
    from vcloud._core.session import Session

__all__ = ["ping"]

#: A well-formed id that no desktop has: its random bits are all zero.
_NOBODY: Final = "00000000-0000-4000-8000-000000000000"


async def ping(session: Session) -> None:
    """Ask for a desktop that does not exist: that the service says so is a yes.

    Raises:
        VCloudError: no answer, or a refusal; also a 404 that is not the service's own.
    """
    request = Request("GET", f"/desktop/{_NOBODY}", sensitive=True, slot=False)
    exchange = _Exchange(session, request)
    try:
        answer = await session.send(request, exchange=exchange)
    except NotFoundError:
        if not exchange.is_own:
            raise
    else:
        session.read(request, answer, DESKTOP)


class _Exchange:
    """Sends the request, and notes whether the answer is the service's own refusal.

    It does not keep the answer, which may repeat the credentials: frames of the error hold this.
    """

    def __init__(self, session: Session, request: Request) -> None:
        self.is_own = False
        self._session = session
        self._request = request

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        options: TransportOptions,
    ) -> Response:
        answer = await self._session.transport.exchange(method, url, headers, body, options)
        error = SERVICE.error(self._request, answer, "", now=0)
        self.is_own = (
            error is not None and SERVICE.proof(self._request, answer, error) is Proof.NOT_DONE
        )
        return answer
