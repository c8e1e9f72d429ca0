"""What Vagon's two APIs, Streams and Computers, have in common: the envelope, the codes, the resource shape, the pages.

``client_code`` in the body decides, not the HTTP status: most codes cannot be one, and an HTTP 200 may carry a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

import msgspec
from attrs import frozen

from vcloud._core.arguments import positive_integer
from vcloud._core.decoding.codec import Codec
from vcloud._core.decoding.mismatch import excerpt
from vcloud._core.decoding.models import none_when_absent
from vcloud._core.decoding.shape import BrokenItems, Shape, required
from vcloud._core.error_for_status import error_for_status
from vcloud._core.limits.headers import retry_after
from vcloud._core.limits.windows import RateLimit
from vcloud._core.outcome import Form, Proof, proof_of_answer
from vcloud._core.paging.pager import Page, Pager
from vcloud._core.paging.strategies import ABSENT, last_by_count, next_by_count
from vcloud._core.redaction.sent_secrets import without_sent_secrets
from vcloud._core.request import QueryValue, Request, Response, query
from vcloud._core.resource import Handle, Origin, set_origin, set_session
from vcloud._core.scalars import Instant, Integer, instant_or_none
from vcloud._core.session import Session
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

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
W = TypeVar("W")
H = TypeVar("H", bound=Handle)

#: Records on a page when ``per_page`` is not given, by the documents.
PER_PAGE: Final = 20


class VagonCode(IntEnum):
    """A ``client_code``, with what it means and which error it becomes.

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
    """The keys beside every answer. One without ``client_code`` is nobody's success."""

    client_code: Integer
    message: str | None = None
    timestamp: Instant | None = None


class Enclosing:
    """A resource as the wire has it: its id stands beside its attributes."""

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        # A resource of which nothing is told but its id.
        return value if value.get("attributes") is not None else {**value, "attributes": {}}


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Item(Enclosing, Generic[T]):
    """A resource in a list; the handle's own id stands beside its attributes."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class NestedItem(Enclosing, Generic[T]):
    """A resource in another one, which is worth something without it, and so without its id."""

    id: str | None
    type: str | None = None
    attributes: T


if TYPE_CHECKING:
    Nested = Annotated[T, NestedItem]
else:
    # A resource inside another one. On the wire it is an item; :func:`adopt` puts in its place what the item holds, which
    # is all that a type checker sees. The model around it names such fields in ``nested``.
    Nested = NestedItem


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Single(Enclosing, Envelope, Generic[T]):
    """A resource that is the whole answer: the envelope's keys stand beside ``id``."""

    id: str
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Value(Enclosing, Envelope, Generic[T]):
    """A value that is the whole answer: something that nothing can be done to, so that its id is not needed."""

    id: str | None
    type: str | None = None
    attributes: T


@frozen(kw_only=True, eq=False, repr=False)
class Listing(Envelope):
    """A page. Each kind of list adds the field that holds its items, and names it in ``key``."""

    key: ClassVar[str]
    item_fields: ClassVar[tuple[str, ...]]

    count: Integer | None = None
    page: Integer | None = None
    # ABSENT, because a list without the key is counted, while null is the end.
    next_page: Integer | None = ABSENT

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.item_fields = (cls.key,)

    def found(self, body: bytes) -> Sequence[Item[Any]]:
        """The resources on the page, as the wire has them.

        Raises:
            DecodeError: the answer is no list.
        """
        items: Sequence[Item[Any]] | None = getattr(self, self.key)
        return items if items is not None else required(None, body, self.key)


def adopt(
    item: Item[H] | NestedItem[H] | Single[H],
    session: Session,
    origin: Origin,
    owner: Mapping[str, str] | None = None,
) -> H:
    """Turn a decoded resource into a handle: its id moves in from beside its attributes, its owner's id too."""
    handle = with_id(item)
    set_session(handle, session)
    set_origin(handle, origin)
    if owner:
        for name, value in owner.items():
            _set(handle, name, value)
    for name in handle.nested:
        _set(handle, name, _unwrap(getattr(handle, name), session, (*origin, "attributes", name)))
    return handle


def _unwrap(inner: object, session: Session, origin: Origin) -> object:
    if isinstance(inner, NestedItem):
        return (
            adopt(inner, session, origin)
            if isinstance(inner.attributes, Handle)
            else with_id(inner)
        )
    if isinstance(inner, tuple):
        return tuple([_unwrap(one, session, (*origin, index)) for index, one in enumerate(inner)])
    return inner


_id, _attributes = attrgetter("id"), attrgetter("attributes")

# Past the freezing: what is decoded is not yet in anybody's hands.
_set = object.__setattr__


def resource(model: type[H], **owner: str) -> Shape[Single[H], H]:
    """The shape of an answer that is one resource; ``owner`` names and gives the ids that its endpoints need."""
    return Shape(Single[model], lambda wire, session, body: adopt(wire, session, (body,), owner))  # type: ignore[valid-type]


def value(model: type[T]) -> Shape[Value[T], T]:
    """The shape of an answer that is one value: something that nothing can be done to."""
    return Shape(Value[model], lambda wire, session, body: with_id(wire))  # type: ignore[valid-type]


def with_id(item: Item[T] | NestedItem[T] | Single[T] | Value[T]) -> T:
    """What a decoded item holds, with the id that stands beside its attributes."""
    # A nested resource may come without its id, and then is a bare value.
    _set(item.attributes, "id", item.id if item.id is not None else "")
    return item.attributes


class Decoded(Protocol[T_co]):
    """What came of a list: the items that were decoded, and what is known of the others."""

    @property
    def items(self) -> tuple[T_co, ...]: ...

    @property
    def broken(self) -> BrokenItems | None: ...


class Found(msgspec.Struct, Generic[T], frozen=True):
    """A list of values."""

    items: tuple[T, ...]
    broken: BrokenItems | None = None


class Opened(msgspec.Struct, Generic[H], frozen=True):
    """A list of handles, with the answer as the wire has it."""

    answer: Listing
    items: tuple[H, ...]
    broken: BrokenItems | None = None


def resources(wire: type[Listing], model: type[H], **owner: str) -> Shape[Listing, Opened[H]]:
    """The shape of an answer that is a list of resources of this model; ``owner`` as in :func:`resource`."""
    key = wire.key

    def open_all(answer: Listing, session: Session, body: bytes) -> Opened[H]:
        items = answer.found(body)
        if owner or model.nested:
            return open_partly(answer, session, body, {})
        # What adopt does, without a call for each: no other loop of ours runs as often.
        for index, item in enumerate(items):
            handle = item.attributes
            _set(handle, "id", item.id)
            set_session(handle, session)
            set_origin(handle, (body, key, index))
        return Opened(answer, tuple(map(_attributes, items)))

    def open_partly(
        answer: Listing, session: Session, body: bytes, broken: Mapping[str, BrokenItems]
    ) -> Opened[H]:
        items = answer.found(body)
        found = broken.get(key)
        places = range(len(items)) if found is None else found.positions
        handles = [
            adopt(item, session, (body, key, index), owner)
            for index, item in zip(places, items, strict=True)
        ]
        return Opened(answer, tuple(handles), found)

    return Shape(wire, open_all, open_partly)


def values(wire: type[W], name: str, view: Callable[[Any], T]) -> Shape[W, Found[T]]:
    """The shape of an answer that holds a list of values.

    Args:
        wire: the answer's class.
        name: the field that holds the list.
        view: makes of an item what the caller gets.
    """

    def open_all(answer: W, session: Session, body: bytes) -> Found[T]:
        return open_partly(answer, session, body, {})

    def open_partly(
        answer: W,
        session: Session,  # noqa: ARG001 - the signature of every shape
        body: bytes,
        broken: Mapping[str, BrokenItems],
    ) -> Found[T]:
        items = required(getattr(answer, name), body, name)
        return Found(tuple([view(item) for item in items]), broken.get(name))

    return Shape(wire, open_all, open_partly)


async def fetch_list(
    session: Session, request: Request, shape: Shape[Any, Decoded[T]]
) -> tuple[T, ...]:
    """A list that is the result of a call.

    Raises:
        DecodeError: some of its items cannot be read; it holds the others in ``items``.
    """
    found = await session.fetch(request, shape)
    error = session.broken_items(request, found.broken)
    if error is None:
        return found.items
    error.items = found.items
    raise error


def listing(
    session: Session,
    path: str,
    shape: Shape[Listing, Opened[H]],
    *,
    page: int | None,
    per_page: int | None,
    filters: Mapping[str, QueryValue] | None = None,
    default_per_page: int = PER_PAGE,
) -> Pager[H]:
    """A paged list of resources: ``GET path`` with ``page``, ``per_page`` and the filters."""
    parameters = query({"per_page": per_page, **(filters or {})})
    expected = default_per_page if per_page is None else positive_integer(per_page, "per_page")

    async def fetch(number: int) -> Page[H]:
        request = Request(
            "GET", path, f"page={number}&{parameters}" if parameters else f"page={number}"
        )
        opened = await session.fetch(request, shape)
        answer, broken = opened.answer, opened.broken
        if broken is None:
            return Page(opened.items, number, answer.count, answer.next_page)
        return Page(
            opened.items,
            number,
            answer.count,
            answer.next_page,
            error=session.broken_items(request, broken, page=number),
            unread=broken.count,
        )

    def follow(page: Page[H], seen: int, size: int) -> Page[H]:
        number, count = page.number, page.total
        sent = len(page.items) + page.unread
        following = next_by_count(
            number=number,
            items=sent,
            per_page=expected,
            seen=seen,
            count=count,
            next_page=page.next,
        )
        # What is followed by the service's own word is no short last page.
        full = size if page.next == ABSENT else max(size, sent)
        last = last_by_count(number=number, following=following, seen=seen, count=count, size=full)
        return Page(page.items, number, count, following, last, page.error, page.unread)

    return Pager(fetch, start=page, follow=follow, key=_id, max_pages=session.max_pages)


def all_of(session: Session, path: str, shape: Shape[Any, Decoded[T]]) -> Pager[T]:
    """A list that the service gives all at once: ``GET path``."""

    async def fetch(number: int) -> Page[T]:
        request = Request("GET", path)
        found = await session.fetch(request, shape)
        unread = 0 if found.broken is None else found.broken.count
        error = session.broken_items(request, found.broken, page=number)
        total = len(found.items) + unread
        return Page(found.items, number, total, None, number, error, unread)

    return Pager(fetch)


#: Refusals that may be about a nonce: of the request, of who sends it, of what it conflicts with.
_REPLAY_CODES: Final = frozenset({400, 401, 403, 409})
#: A nonce and what is wrong with it. A word alone is not enough: a refused signature names the
#: nonce as a part of what was to be signed.
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

    Every attempt is signed with a nonce of its own, so whoever used it before is a proxy between
    that repeated the request: the first copy reached the service. Vagon's documentation says that a
    nonce works once, and neither with which code nor in which words a second use is refused.

    Args:
        code: the envelope's, or the HTTP status.
        words: what the service says of it.
    """
    return code in _REPLAY_CODES and _REPLAY_WORDS.search(words) is not None


@frozen(kw_only=True, eq=False, repr=False)
class _Refusal:
    """Just enough of an envelope to see whether it refuses, whatever else is wrong with it."""

    client_code: Integer
    message: Any = None
    timestamp: Any = None


#: Characters of a message in which a used nonce is looked for. An error shows 1000.
_MAX_WORDS: Final = 2000


def _words(refusal: _Refusal) -> str:
    return shortened(refusal.message, _MAX_WORDS) if isinstance(refusal.message, str) else ""


class VagonDialect(msgspec.Struct, frozen=True):
    """How Vagon refuses: ``client_code`` at the top of the body, whatever the HTTP status."""

    provider: str
    #: Its documents promise none.
    rate_limits: tuple[RateLimit, ...] = ()
    fixed_paths: frozenset[str] = frozenset(
        {"/machines/permission-fields", "/streams/stop-machine"}
    )

    def succeeded(self, answer: Envelope) -> bool:
        """Whether the envelope says so."""
        return answer.client_code == 200

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The refusal in the body, else the one in the status.

        Raises:
            DecodeError: HTTP success with a body that is no envelope.
        """
        ok = 200 <= response.status < 300
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal, sensitive=request.sensitive)
        except DecodeError:
            if ok:
                raise
            # A proxy's HTML, or nothing at all: the status is all there is.
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
            # No AuthenticationError: the first copy was let in, and the next one will be, too.
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

    def proof(
        self,
        request: Request,  # noqa: ARG002 - protocol
        response: Response,
        error: APIError,  # noqa: ARG002 - protocol
    ) -> Proof:
        """What a refusal proves: its form is the envelope, with a documented code or another.

        One that refuses a nonce as used proves nothing, whatever its code: see :func:`is_replay`.
        A code that could be an HTTP status counts as one, in place of the answer's. One of four
        digits that begins with 4 refuses the request, as all do that the documents list.
        """
        try:
            refusal = _CODEC.decode_refusal(response.body, _Refusal)
        except DecodeError:
            return proof_of_answer(response.status, Form.FOREIGN)
        code = refusal.client_code
        if code == 200:
            # An HTTP error around a success is not what the service itself says.
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
"""The shape of an answer that only says that it is done."""
