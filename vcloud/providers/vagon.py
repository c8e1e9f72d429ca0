"""Common to Vagon's two APIs, Streams and Computers: the envelope, and how they refuse.

The ``client_code`` in the body decides, not the HTTP status. Most codes are not HTTP statuses, and
an HTTP 200 may carry a refusal. Resources and lists: :mod:`vcloud.providers.vagon_resources`.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any, Final, Self

import msgspec
from attrs import frozen

from vcloud._core.codec import Codec
from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.shape import Shape
from vcloud._core.error_for_status import error_for_status
from vcloud._core.limits.headers import retry_after
from vcloud._core.limits.windows import RateLimit
from vcloud._core.outcome import Form, Proof, proof_of_answer
from vcloud._core.redaction.sent_secrets import without_sent_secrets
from vcloud._core.request import Request, Response
from vcloud._core.scalars import Instant, Integer, instant_or_none
from vcloud.errors import (
    APIError,
    CapacityError,
    ConflictError,
    DecodeError,
    InsufficientFundsError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from vcloud.errors.text import shortened


class VagonCode(IntEnum):
    """A ``client_code``, with its meaning and its error class.

    From the API documents, except 403, 440, 450, 469 and 4110: those are from Vagon's published
    example client.
    """

    meaning: str
    error: type[APIError]

    def __new__(cls, value: int, error: type[APIError], meaning: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.error = error
        member.meaning = meaning
        return member

    BAD_REQUEST = 400, InvalidRequestError, "bad request"
    OTHER_MEMBER = 403, PermissionDeniedError, "another member's machine"
    NOT_FOUND = 404, error_for_status(404), "not found"
    CAPACITY_UNAVAILABLE = (
        440,
        CapacityError,
        "no cloud capacity is available in this region right now",
    )
    ROOT_FOLDER = 450, ConflictError, "the root folder cannot be deleted"
    DISK_RESIZING = 469, ConflictError, "the disk is being resized"
    INSUFFICIENT_BALANCE = 480, InsufficientFundsError, "insufficient balance"
    SUBSCRIPTION_PENDING = (
        4110,
        InsufficientFundsError,
        "the subscription's payment is pending",
    )
    MACHINE_NOT_READY = 4201, ConflictError, "machine is not ready"
    REGION_REQUIRED = (
        4202,
        InvalidRequestError,
        "region is required, because the account has no default region",
    )
    MACHINE_NOT_RUNNING = 4204, ConflictError, "machine is not running"
    MACHINE_TYPE_UNAVAILABLE = 4205, ConflictError, "machine type is not available for this plan"
    MACHINE_RUNNING = (
        4206,
        ConflictError,
        "machine is running: this can only be done while it is off",
    )
    INVALID_TASK_UID = (
        4216,
        InvalidRequestError,
        "invalid task uid: empty, over 255 characters, or with reserved characters",
    )
    TASK_UID_DELETED = (
        4217,
        ConflictError,
        "the task uid was deleted and cannot be reused before a reset",
    )
    BACKUP_DISABLED = 4218, ConflictError, "backup is not enabled for this machine"
    DEFAULT_TASK = 4219, ConflictError, 'the default task "Outputs" cannot be deleted'
    NOT_COST_OPTIMIZED_OLD = (
        4601,
        ConflictError,
        "only machines of cost optimized streams can be started by hand",
    )
    NOT_COST_OPTIMIZED = (
        4610,
        ConflictError,
        "only machines of cost optimized streams can be started by hand",
    )
    PERMISSION_REQUIRED = 4710, PermissionDeniedError, "permission required"


@frozen(kw_only=True, eq=False, repr=False)
class Envelope:
    """The keys of every answer. An answer without ``client_code`` is not a success."""

    client_code: Integer
    message: str | None = None
    timestamp: Instant | None = None


#: Codes with which a used nonce may be refused: bad request, bad credentials, conflict.
_REPLAY_CODES: Final = frozenset({400, 401, 403, 409})
#: A nonce together with what is wrong with it. The word alone is not enough: the refusal of a
#: signature names the nonce as a part of the signed text.
_REPLAY_WORDS: Final = re.compile(
    r"\bnonce\b.{0,60}\b(used|reused|repeated|duplicated?|replay(ed)?|seen|exists?|unique|invalid)\b"
    r"|\b(used|reused|repeated|duplicated?|replayed|invalid)\s+nonce\b"
    r"|\breplay(ed)?\s+(attack|request|detected)|\brequest\b.{0,20}\breplay(ed)?\b",
    re.IGNORECASE | re.DOTALL,
)
_REPLAYED: Final = (
    "a proxy between repeated the request by itself, and the answer to the first copy was lost"
)


def is_replay(code: int, words: str) -> bool:
    """Whether a refusal says that the nonce of the request was used before.

    The client signs every attempt with a new nonce. If one was used before, a proxy repeated the
    request, and the first copy reached the service. Vagon's documentation says that a nonce works
    once. It does not say with which code or in which words a second use is refused.

    Args:
        code: the ``client_code``, or the HTTP status.
        words: the message of the refusal.
    """
    return code in _REPLAY_CODES and _REPLAY_WORDS.search(words) is not None


@frozen(kw_only=True, eq=False, repr=False)
class _Refusal:
    """The fields of an envelope that say whether and how it refuses."""

    client_code: Integer
    message: Any = None
    timestamp: Any = None


#: How many characters of a message are searched for a used nonce. An error shows 1000.
MAX_WORDS: Final = 2000


def _words(refusal: _Refusal) -> str:
    return shortened(refusal.message, MAX_WORDS) if isinstance(refusal.message, str) else ""


class VagonService(msgspec.Struct, frozen=True):
    """How Vagon refuses: by the ``client_code`` in the body, whatever the HTTP status."""

    provider: str
    #: The documents name no rate limit.
    rate_limits: tuple[RateLimit, ...] = ()
    fixed_paths: frozenset[str] = frozenset(
        {"/machines/permission-fields", "/streams/stop-machine"}
    )
    id_fields: tuple[str, ...] = ("id", "uid")

    def succeeded(self, answer: Envelope) -> bool:
        """Whether the envelope says that the call succeeded."""
        return answer.client_code == 200

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The refusal in the body, or else the one in the status; None for a success.

        Raises:
            DecodeError: HTTP success with a body that is not an envelope.
        """
        ok = 200 <= response.status < 300
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal, sensitive=request.sensitive)
        except DecodeError:
            if ok:
                raise
            # A proxy's HTML, or an empty body: only the status says something.
            refusal = _Refusal(
                client_code=response.status,
                message=excerpt(response.body, sensitive=request.sensitive),
            )
        code = refusal.client_code
        if ok and code == 200:
            return None
        if code == 200:
            code = response.status
        known = _CODES.get(code)
        kind = known.error if known is not None else error_for_status(code)
        meaning = known.meaning if known is not None else ""
        words = _words(refusal)
        if is_replay(code, words):
            # No AuthenticationError: the service accepted the first copy's signature.
            kind, meaning = ServerError, _REPLAYED
        made = kind(
            without_sent_secrets(words, request) or meaning or "no reason given",
            status=response.status,
            code=known if known is not None else code,
            meaning=meaning,
            provider=self.provider,
            method=request.method,
            url=url,
            request_id=response.headers.get("X-Request-Id"),
            timestamp=instant_or_none(refusal.timestamp),
        )
        if isinstance(made, RateLimitError):
            made.retry_after = retry_after(response.headers, now=now)
        return made

    def proof(self, request: Request, response: Response, error: APIError) -> Proof:  # noqa: ARG002 - protocol
        """What a refusal proves. The service's own form is the envelope.

        A refusal of a used nonce proves nothing, whatever its code: see :func:`is_replay`. A code
        that could be an HTTP status counts in place of the status. A four-digit code that begins
        with 4 refuses the request, as do all such codes in the documents.
        """
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            return proof_of_answer(response.status, Form.FOREIGN)
        code = refusal.client_code
        if code == 200:
            # An HTTP error around a success does not come from the service itself.
            return proof_of_answer(response.status, Form.FOREIGN)
        if is_replay(code, _words(refusal)):
            return proof_of_answer(code, Form.REPLAY)
        if code in _CODES:
            return proof_of_answer(response.status, Form.CODE)
        if 4000 <= code < 5000:
            return proof_of_answer(400, Form.OWN)
        return proof_of_answer(code if 400 <= code < 600 else response.status, Form.OWN)


_CODEC = Codec()
_CODES = {int(code): code for code in VagonCode}

DONE: Shape[Envelope, None] = Shape(Envelope, lambda wire, session, body: None)
"""The shape of an answer that has nothing but the envelope."""
