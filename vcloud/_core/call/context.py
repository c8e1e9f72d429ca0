"""What all calls of one session share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from vcloud._core.call.signing import Signer
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.limits.admission import Admission
from vcloud._core.observed_call import Observers
from vcloud._core.redaction.sent_secrets import Redactor, redactor_for
from vcloud._core.request import Request, Response
from vcloud._core.retry import RetryPolicy
from vcloud._core.service import Service
from vcloud._core.transport import Transport
from vcloud._core.waiting import Waits

#: How one attempt is sent: :meth:`Transport.exchange`, or an upgrade to a WebSocket.
Exchange = Callable[
    [str, str, Mapping[str, str], bytes | None, TransportOptions], Awaitable[Response]
]


class CallContext(msgspec.Struct, frozen=True, eq=False):
    """What all calls of one session share: the provider, its limits, and the user's options.

    Attributes:
        service: how the provider refuses.
        codec: decodes answers.
        transport: sends and receives.
        signer: the credentials.
        admission: slots and rate limits.
        observers: the user's, and the log.
        waits: the calls that wait, and for what.
        clock: monotonic seconds.
        entropy: a number in 0..1, for jitter.
        base_url: the address of the API.
        root_url: the address of the installation, without the API's own path.
        retry: when a request is sent again.
        timeout: seconds for one attempt.
        timeout_chosen: whether the user chose it.
        deadline: seconds for one call; None: no limit.
        cleanup_timeout: seconds for what must be finished after a cancellation.
        options: how the provider is reached.
    """

    service: Service
    codec: Codec
    transport: Transport
    signer: Signer
    admission: Admission
    observers: Observers
    waits: Waits
    clock: Callable[[], float]
    entropy: Callable[[], float]
    base_url: str
    root_url: str
    retry: RetryPolicy
    timeout: float
    timeout_chosen: bool
    deadline: float | None
    cleanup_timeout: float
    options: TransportOptions

    def __repr__(self) -> str:
        return f"CallContext({self.service.provider})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # rich would show each field.
        return [("provider", self.service.provider)]

    def where(self, request: Request, *, root: bool = False) -> str:
        """The address of a request for messages: without its query, its label for its path."""
        return (self.root_url if root else self.base_url) + request.shown_path

    def label(self, request: Request, *, root: bool = False) -> str:
        """Provider, verb and address, with which the message of an error begins."""
        return f"{self.service.provider}: {request.method} {self.where(request, root=root)}"

    def redactor(self, request: Request, headers: Mapping[str, str]) -> Redactor:
        """What removes the secrets of a request from its answer, those for a proxy too."""
        return redactor_for(request, [*headers.items(), *self.options.proxy_headers.items()])
