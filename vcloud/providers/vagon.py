"""What Vagon's two APIs, Streams and Computers, have in common: the envelope, the codes, the resource shape, the pages.

``client_code`` in the body decides, not the HTTP status: most codes cannot be one, and an HTTP 200 may carry a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Self, TypeVar

import msgspec
from attrs import frozen

from vcloud._core.codec import Codec, Instant, Shape, excerpt
from vcloud._core.paging.pager import Page, Pager, positive, unpaged
from vcloud._core.paging.strategies import ABSENT, last_by_count, next_by_count
from vcloud._core.ratelimit import RateLimit, retry_after
from vcloud._core.request import QueryValue, Request, Response, query
from vcloud._core.resource import Handle, Origin, set_origin, set_session
from vcloud._core.secret import hidden, sent_secrets
from vcloud._core.session import Session
from vcloud.errors import (
    APIError,
    CapacityError,
    ConflictError,
    DecodeError,
    InsufficientFundsError,
    InvalidArgumentError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitError,
    error_for_status,
)

T = TypeVar("T")
H = TypeVar("H", bound=Handle)

#: Records on a page when ``per_page`` is not given, by the documents.
PER_PAGE: Final = 20


class VagonCode(IntEnum):
    """A ``client_code``, with what it means and which error it becomes.

    From the API documents unless the meaning says "(published client)": then from Vagon's own example client.
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
    OTHER_MEMBER = 403, PermissionDeniedError, "another member's machine (published client)"
    NOT_FOUND = 404, error_for_status(404), "not found"
    CAPACITY_UNAVAILABLE = (
        440,
        CapacityError,
        "no cloud capacity is available in this region right now (published client)",
    )
    ROOT_FOLDER = 450, ConflictError, "the root folder cannot be deleted (published client)"
    DISK_RESIZING = 469, ConflictError, "the disk is being resized (published client)"
    INSUFFICIENT_BALANCE = 480, InsufficientFundsError, "insufficient balance"
    SUBSCRIPTION_PENDING = (
        4110,
        InsufficientFundsError,
        "the subscription's payment is pending (published client)",
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
    """The keys beside every answer."""

    client_code: int = 200
    message: str | None = None
    timestamp: Instant | None = None


@frozen(kw_only=True, eq=False, repr=False)
class Item(Generic[T]):
    """A nested resource as the wire has it; the handle's own id stands beside its attributes."""

    id: str
    type: str = ""
    attributes: T


if TYPE_CHECKING:
    Nested = Annotated[T, Item]
else:
    # A resource inside another one. On the wire it is an item; :func:`adopt` puts in its place what the item holds, which
    # is all that a type checker sees. The model around it names such fields in ``nested``.
    Nested = Item


@frozen(kw_only=True, eq=False, repr=False)
class Single(Envelope, Generic[T]):
    """A resource that is the whole answer: the envelope's keys stand beside ``id``."""

    id: str
    type: str = ""
    attributes: T


@frozen(kw_only=True, eq=False, repr=False)
class Listing(Envelope):
    """A page. Each kind of list adds the field that holds its items, and names it in ``key``."""

    key: ClassVar[str]

    count: int | None = None
    page: int | None = None
    # ABSENT, because a list without the key is counted, while null is the end.
    next_page: int | None = ABSENT

    @property
    def items(self) -> Sequence[Item[Any]]:
        """The resources on the page, as the wire has them."""
        items: Sequence[Item[Any]] = getattr(self, self.key)
        return items


def adopt(
    item: Item[H] | Single[H],
    session: Session,
    origin: Origin,
    owner: Mapping[str, str] | None = None,
) -> H:
    """Turn a decoded resource into a handle: its id moves in from beside its attributes, its owner's id too."""
    handle = item.attributes
    _set(handle, "id", item.id)
    set_session(handle, session)
    set_origin(handle, origin)
    if owner:
        for name, value in owner.items():
            _set(handle, name, value)
    for name in handle.nested:
        _set(handle, name, _unwrap(getattr(handle, name), session, (*origin, "attributes", name)))
    return handle


def _unwrap(inner: object, session: Session, origin: Origin) -> object:
    if isinstance(inner, Item):
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


def value(model: type[T]) -> Shape[Single[T], T]:
    """The shape of an answer that is one value: something with an id that nothing can be done to."""
    return Shape(Single[model], lambda wire, session, body: with_id(wire))  # type: ignore[valid-type]


def with_id(item: Item[T] | Single[T]) -> T:
    """A decoded value with the id that stands beside its attributes."""
    _set(item.attributes, "id", item.id)
    return item.attributes


def number(value: str | int, name: str) -> int:
    """An id that requests of this API write as a number.

    Raises:
        InvalidArgumentError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise InvalidArgumentError(f"{name} must be a whole number, not {value!r:.80}")


class Opened(msgspec.Struct, Generic[H], frozen=True):
    """A list answer whose items are handles: as the wire has it, and the handles."""

    answer: Listing
    items: tuple[H, ...]


def resources(wire: type[Listing], model: type[H], **owner: str) -> Shape[Listing, Opened[H]]:
    """The shape of an answer that is a list of resources of this model; ``owner`` as in :func:`resource`."""
    key = wire.key

    def open_all(answer: Listing, session: Session, body: bytes) -> Opened[H]:
        items = answer.items
        if owner or model.nested:
            return Opened(
                answer,
                tuple(
                    [
                        adopt(item, session, (body, key, index), owner)
                        for index, item in enumerate(items)
                    ]
                ),
            )
        # What adopt does, without a call for each: no other loop of ours runs as often.
        for index, item in enumerate(items):
            handle = item.attributes
            _set(handle, "id", item.id)
            set_session(handle, session)
            set_origin(handle, (body, key, index))
        return Opened(answer, tuple(map(_attributes, items)))

    return Shape(wire, open_all)


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
    expected = default_per_page if per_page is None else positive(per_page, "per_page")

    async def fetch(number: int) -> Page[H]:
        request = Request(
            "GET", path, f"page={number}&{parameters}" if parameters else f"page={number}"
        )
        opened = await session.fetch(request, shape)
        return Page(opened.items, number, opened.answer.count, opened.answer.next_page)

    def follow(page: Page[H], seen: int, size: int) -> Page[H]:
        number, items, count = page.number, page.items, page.total
        following = next_by_count(
            number=number,
            items=len(items) + page.unread,
            per_page=expected,
            seen=seen,
            count=count,
            next_page=page.next,
        )
        # What is followed by the service's own word is no short last page.
        full = size if page.next == ABSENT else max(size, len(items) + page.unread)
        last = last_by_count(number=number, following=following, seen=seen, count=count, size=full)
        return Page(items, number, count, following, last, page.error, page.unread)

    return Pager(fetch, start=page, follow=follow, key=_id, max_pages=session.max_pages)


def all_of(session: Session, path: str, shape: Shape[Listing, Opened[H]]) -> Pager[H]:
    """A list of resources that the service gives all at once: ``GET path``."""

    async def read() -> tuple[H, ...]:
        return (await session.fetch(Request("GET", path), shape)).items

    return unpaged(read)


class VagonDialect(msgspec.Struct, frozen=True):
    """How Vagon refuses."""

    provider: str
    #: Its documents promise none.
    rate_limits: tuple[RateLimit, ...] = ()
    fixed_paths: frozenset[str] = frozenset(
        {"/machines/permission-fields", "/streams/stop-machine"}
    )

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The refusal in the body, else the one in the status.

        Raises:
            DecodeError: HTTP success with a body that is no envelope.
        """
        ok = 200 <= response.status < 300
        # The envelope is JSON on one level; a whole page need not be parsed twice to see that it is no refusal.
        # Inside a JSON text the quotes would be escaped, so these bytes are a key.
        # Searched from the end, where it nearly always is.
        if (
            ok
            and (at := response.body.rfind(_CODE)) >= 0
            and response.body.startswith(_GOOD, at + len(_CODE))
        ):
            return None
        try:
            refusal = _CODEC.decode(response.body, Envelope, sensitive=request.sensitive)
        except DecodeError as error:
            if ok:
                raise DecodeError(f"{self.provider}: {request.method} {url}: {error}") from None
            # A proxy's HTML, or nothing at all: the status is all there is.
            refusal = Envelope(
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
        made = kind(
            hidden(refusal.message, sent_secrets(request))
            or (known.meaning if known is not None else "no reason given"),
            status=response.status,
            code=known if known is not None else code,
            meaning=known.meaning if known is not None else "",
            provider=self.provider,
            method=request.method,
            url=url,
            request_id=response.headers.get("X-Request-Id"),
            timestamp=refusal.timestamp,
        )
        if isinstance(made, RateLimitError):
            made.retry_after = retry_after(response.headers, now=now)
        return made


_CODE, _GOOD = b'"client_code"', (b":200,", b":200}")
_CODEC = Codec()
_CODES = {int(code): code for code in VagonCode}

DONE: Shape[Envelope, None] = Shape(Envelope, lambda wire, session, body: None)
"""The shape of an answer that only says that it is done."""
