"""Mutations: each breaks one thing in the client. The tests of faults must find every one.

The caller undoes a mutation with its ``MonkeyPatch``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from vcloud import Request, Response, TransportError
from vcloud._core.call import answers, attempts, errors, retrying
from vcloud._core.call.call import Call
from vcloud._core.call.sources import Sources
from vcloud._core.codec import Codec
from vcloud._core.limits.admission import Admission
from vcloud._core.limits.allowance import Allowance
from vcloud._core.outcome import Proof
from vcloud._core.retry import RetryAfter, RetryPolicy, decide
from vcloud._core.session import Session
from vcloud._core.transport import Transport
from vcloud.errors import ServerError
from vcloud.providers import vagon
from vcloud.providers.vagon import Envelope, VagonService

Patch = pytest.MonkeyPatch
Mutation = Callable[[Patch], None]


def _deciding(patch: Patch, change: Callable[..., dict[str, Any]]) -> None:
    real = decide

    def decided(policy: RetryPolicy, error: Any, **given: Any) -> Any:
        return real(policy, error, **{**given, **change(error)})

    patch.setattr(retrying, "decide", decided)


def retry_a_post_on_reset(patch: Patch) -> None:
    """A request without an answer is sent again, whatever the method."""
    _deciding(
        patch, lambda error: {"repeatable": True} if isinstance(error, TransportError) else {}
    )


def retry_a_post_on_gateway_error(patch: Patch) -> None:
    """Any 5xx counts as a proof that nothing was done."""
    _deciding(patch, lambda error: {"repeatable": True} if isinstance(error, ServerError) else {})


def believe_a_gateways_503(patch: Patch) -> None:
    """Any 503 counts as the service's own refusal."""
    real = VagonService.proof

    def proof(self: VagonService, request: Request, response: Response, error: Any) -> Proof:
        return Proof.NOT_DONE if response.status == 503 else real(self, request, response, error)

    patch.setattr(VagonService, "proof", proof)


def take_a_used_nonce_for_wrong_credentials(patch: Patch) -> None:
    """A used nonce counts as wrong credentials."""
    patch.setattr(vagon, "is_replay", lambda code, words: False)


def drop_the_nonce_renewal(patch: Patch) -> None:
    """The client signs everything with one nonce."""
    real = Session.__init__

    def init(self: Session, *given: Any, **more: Any) -> None:
        real(self, *given, **{**more, "sources": Sources(nonce=lambda: "once-and-for-all")})

    patch.setattr(Session, "__init__", init)


def keep_a_slot_on_cancel(patch: Patch) -> None:
    """A cancelled call keeps its slot."""
    real = Admission.leave

    def leave(self: Admission, *given: Any, **more: Any) -> None:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            real(self, *given, **more)

    patch.setattr(Admission, "leave", leave)


def keep_a_slot_on_error(patch: Patch) -> None:
    """A request that never reached the service keeps its slot."""
    real = Admission.leave

    def leave(self: Admission, *given: Any, counted: bool = True, **more: Any) -> None:
        if counted:
            real(self, *given, counted=counted, **more)

    patch.setattr(Admission, "leave", leave)


def follow_redirects(patch: Patch) -> None:
    """The client follows redirects to any host, with its credentials."""

    real = vars(aiohttp.ClientSession)["_request"]

    async def request(self: aiohttp.ClientSession, *given: Any, **more: Any) -> Any:
        return await real(self, *given, **{**more, "allow_redirects": True})

    patch.setattr(aiohttp.ClientSession, "_request", request)


def ignore_retry_after(patch: Patch) -> None:
    """Retries do not wait for ``Retry-After``."""
    real = decide

    def decided(policy: RetryPolicy, error: Any, **given: Any) -> Any:
        decision = real(policy, error, **given)
        return RetryAfter(0.0) if isinstance(decision, RetryAfter) else decision

    patch.setattr(retrying, "decide", decided)
    patch.setattr(Allowance, "pause", lambda self, *given: None)


def accept_refusals_under_http_200(patch: Patch) -> None:
    """The HTTP status alone decides whether an answer is a success."""
    real = VagonService.error

    def error(
        self: VagonService, request: Request, response: Response, url: str, *, now: float
    ) -> Any:
        return None if 200 <= response.status < 300 else real(self, request, response, url, now=now)

    patch.setattr(VagonService, "error", error)
    patch.setattr(VagonService, "succeeded", lambda self, answer: True)


def let_aiohttp_send_twice(patch: Patch) -> None:
    """aiohttp repeats an idempotent request with the same signature if its connection breaks."""

    real = Transport.start_session

    def start_session(self: Transport) -> aiohttp.ClientSession:
        session = real(self)
        patch.setattr(session, "_retry_connection", True)
        self._middlewares = ()
        return session

    patch.setattr(Transport, "start_session", start_session)


def take_silence_for_success(patch: Patch) -> None:
    """A call without an answer succeeds."""
    real = Transport.exchange

    async def exchange(self: Transport, *given: Any) -> Response:
        try:
            return await real(self, *given)
        except TransportError:
            return Response(200, {}, b'{"client_code":200,"message":"OK"}')

    patch.setattr(Transport, "exchange", exchange)


def forget_that_an_answer_was_lost(patch: Patch) -> None:
    """No error says that the outcome is unknown."""

    real = errors.final

    def final(call: Call, why: str = "") -> Any:
        call.lost = call.lost_before = False
        return real(call, why)

    patch.setattr(retrying, "final", final)


def forget_that_an_answer_could_not_be_read(patch: Patch) -> None:
    """An unreadable answer counts as a refusal."""
    for module in (answers, attempts):
        patch.setattr(module, "about_answer", lambda context, request, error, **more: error)


def take_anybodys_json_for_success(patch: Patch) -> None:
    """Any JSON object counts as a success, without the required fields."""
    real = Codec.decode

    def decode(self: Codec, body: bytes, wire: Any, **more: Any) -> Any:
        if wire is Envelope and body == b"{}":
            body = b'{"client_code":200}'
        return real(self, body, wire, **more)

    patch.setattr(Codec, "decode", decode)
