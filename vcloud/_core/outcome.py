"""Whether a service may have carried out a request. Only this module decides it.

Each attempt ends with an answer in some form, or without one. :data:`EVIDENCE` says what that
proves. A provider's ``SERVICE`` says in which :class:`Form` an answer is written
(:meth:`~vcloud._core.service.Service.proof`). Only the service's own words prove what the service
did: a gateway may answer 502, 503 or 504 after it has passed a request on.

Two decisions follow: whether the request may be sent again (:func:`may_repeat`), and
whether its error has ``outcome_unknown`` (:func:`is_unknown`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec

from vcloud.errors import ConnectError, TransportError, VCloudError

if TYPE_CHECKING:
    from vcloud._core.request import Request


class Form(Enum):
    """Who wrote an answer, and how."""

    #: It is not known to come from the service: a gateway's page, plain text, other JSON, an empty
    #: body.
    FOREIGN = "any other"
    #: The service's envelope or error object.
    OWN = "the service's"
    #: The same, with a code that the provider's documents list.
    CODE = "a documented code"
    #: The same, and it states how the work itself failed.
    FAILURE = "a stated failure"
    #: The same, and it refuses the request because its nonce was used before.
    REPLAY = "a nonce that was used before"
    #: It refuses credentials that work once, and may do so because a proxy sent them twice.
    COPY = "a refusal that may be of a second copy"


class Proof(Enum):
    """What the end of one attempt proves."""

    #: The service did nothing: a repeat would be the first time.
    NOT_DONE = "nothing was done"
    #: The service says how it failed. The outcome is known, and a repeat would do it again.
    FAILED = "it failed"
    #: The service may have carried it out.
    NONE = "nothing"


class Evidence(msgspec.Struct, frozen=True):
    """One row of the table.

    Attributes:
        answers: the HTTP statuses, as text.
        statuses: the same, as numbers. An envelope's code that is an HTTP status counts as one.
        forms: in whose words the answer is written.
        proof: what it proves.
        source: where that is from.
    """

    answers: str
    statuses: Collection[int]
    forms: frozenset[Form]
    proof: Proof
    source: str


_ANY: Final = frozenset(Form)
_STATUSES: Final = range(1000)

#: What an answer that is not a success proves. The first row that fits counts.
EVIDENCE: Final = (
    Evidence("429", (429,), _ANY, Proof.NOT_DONE, "RFC 6585, 4: a refusal for the rate"),
    Evidence(
        "408, 421, 425",
        (408, 421, 425),
        _ANY,
        Proof.NONE,
        "RFC 9110, 15.5.9 and 15.5.20, RFC 8470: only about the connection",
    ),
    # Each attempt has its own nonce. If it was used before, a proxy repeated the request, and the
    # answer to the first copy, which counted, was lost.
    Evidence(
        "any",
        _STATUSES,
        frozenset({Form.REPLAY}),
        Proof.NONE,
        "Vagon's documentation of signatures: no nonce works twice",
    ),
    # The same in unknown words, where the refusal's Date looks as if our clock were wrong.
    Evidence(
        "any",
        _STATUSES,
        frozenset({Form.COPY}),
        Proof.NONE,
        "the same: the first copy may have been carried out",
    ),
    Evidence("any", _STATUSES, frozenset({Form.FAILURE}), Proof.FAILED, "the service's own words"),
    Evidence("any", _STATUSES, frozenset({Form.CODE}), Proof.NOT_DONE, "the provider's documents"),
    Evidence(
        "other 4xx",
        range(400, 500),
        frozenset({Form.OWN}),
        Proof.NOT_DONE,
        "RFC 9110, 15.5: the service refuses the request",
    ),
    Evidence(
        "503",
        (503,),
        frozenset({Form.OWN}),
        Proof.NOT_DONE,
        "RFC 9110, 15.6.4: the service cannot handle the request",
    ),
    Evidence(
        "anything else",
        _STATUSES,
        _ANY,
        Proof.NONE,
        "RFC 9110, 15.4 and 15.6: the work may be done already, or a gateway answers",
    ),
)


def proof_of_answer(status: int, form: Form) -> Proof:
    """What an answer that is not a success proves, by :data:`EVIDENCE`.

    Args:
        status: the HTTP status, or the envelope's own code where that is one.
        form: in whose words it is written.
    """
    for row in EVIDENCE:
        if status in row.statuses and form in row.forms:
            return row.proof
    return Proof.NONE


def proof_of_silence(error: TransportError) -> Proof:
    """What an attempt without an answer proves: nothing, unless no connection was made."""
    return Proof.NOT_DONE if isinstance(error, ConnectError) else Proof.NONE


def may_repeat(request: Request, proof: Proof) -> bool:
    """Whether the request may be sent again: the service did nothing, or a repeat is harmless."""
    return proof is Proof.NOT_DONE or (proof is Proof.NONE and request.idempotent)


def is_unknown(request: Request, *, lost: bool) -> bool:
    """Whether the error of a call has ``outcome_unknown``.

    Args:
        request: what was sent.
        lost: whether any of its attempts ended with :attr:`Proof.NONE`.
    """
    return lost and not request.safe


class AttemptCount(msgspec.Struct):
    """Counts the attempts that a task and its children send.

    Attributes:
        attempts: requests sent, each repeat counted; logins are not.
        guard: called before the first attempt, and before each attempt that may start something. If
            it raises, that attempt is not sent. All others are sent, because what was started must
            be found and stopped.
        harmless: how many of the attempts provably did nothing: they were refused, or never sent.
        changes: how many of the others are not mere reads.
        gave_up: the error of a call that gave up because of a rate limit, and the seconds for which
            the limit is used up, if that is known.
    """

    attempts: int = 0
    guard: Callable[[], None] | None = None
    harmless: int = 0
    changes: int = 0
    gave_up: tuple[VCloudError, float | None] | None = None

    @property
    def acted(self) -> bool:
        """Whether any of them may have done something."""
        return self.attempts > self.harmless

    def include(self, other: AttemptCount) -> None:
        """Add what another count has counted."""
        self.attempts += other.attempts
        self.harmless += other.harmless
        self.changes += other.changes

    def add(self, *, starts: bool = False, safe: bool = False) -> None:
        """Count an attempt that is about to be sent.

        Args:
            starts: it may start something that has to be stopped.
            safe: it changes nothing at the service.
        """
        if self.guard is not None and (starts or not self.attempts):
            self.guard()
        self.attempts += 1
        self.changes += not safe

    def take_back(self, *, safe: bool) -> None:
        """Note that an attempt that was counted provably did nothing.

        Args:
            safe: as it was counted.
        """
        self.harmless += 1
        self.changes -= not safe

    def forget(self, *, safe: bool) -> None:
        """Uncount an attempt that was not made, for example for lack of a descriptor.

        Args:
            safe: as it was counted.
        """
        self.attempts -= 1
        self.changes -= not safe


#: The count of the attempts that are sent in this context.
ATTEMPT_COUNT: Final[ContextVar[AttemptCount | None]] = ContextVar(
    "vcloud_attempt_count", default=None
)


def leaves_unknown(error: BaseException, *, acted: bool) -> bool:
    """Whether a service may have acted although the user's function raised this.

    Args:
        error: what it raised. The errors that led to it count too.
        acted: whether the function is known to have sent something. If not, another task may have
            sent something for it: then only errors of this SDK count.
    """
    return any(
        link.outcome_unknown
        if isinstance(link, VCloudError)
        else not (judged or not acted) and _interrupts(link)
        for link, judged in _history(error)
    )


def _interrupts(error: BaseException) -> bool:
    """Whether it may interrupt a request: a timeout, a cancellation, a lost connection."""
    kinds = (TimeoutError, asyncio.CancelledError, BaseExceptionGroup, ConnectionError)
    return isinstance(error, kinds) and not isinstance(error, ConnectionRefusedError)


def _history(error: BaseException) -> Iterator[tuple[BaseException, bool]]:
    """An error and the errors that led to it, as a traceback shows them.

    Each comes with a flag: whether it is the cause of an error of this SDK, which itself says
    whether the outcome is unknown. That error does not speak for its context, the error that was
    being handled: a check after a lost answer may fail too.
    """
    left: list[tuple[BaseException | None, bool]] = [(error, False)]
    seen: set[tuple[int, bool]] = set()
    while left:
        link, judged = left.pop()
        # An error may be reached in two ways. The one without an error of this SDK counts.
        if link is None or (id(link), judged) in seen:
            continue
        seen.add((id(link), judged))
        yield link, judged
        ours = isinstance(link, VCloudError)
        left.append((link.__cause__, judged or ours))
        if link.__context__ is not link.__cause__ and (ours or not link.__suppress_context__):
            left.append(
                (link.__context__, judged or (link.__suppress_context__ and link.__cause__ is None))
            )
