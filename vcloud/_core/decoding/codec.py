"""From bytes to models and back.

cattrs is the definition of how a model is built. Because a list page is where an SDK loses its speed, a body is first
decoded by msgspec straight into the same attrs classes, strictly; only when that refuses does the lenient cattrs
converter look at it. Both ways give equal objects. The contract tests use a strict codec, in which drift is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Generic,
    TypeVar,
    get_args,
    get_type_hints,
)

import attrs
import cattrs
import cattrs.v
import msgspec

from vcloud._core.decoding.converter import MAX_ERRORS, is_list, lenient_converter
from vcloud._core.decoding.short_fields import short_fields
from vcloud._core.request import MAX_REFUSAL
from vcloud._core.scalars import (
    ODD_AMOUNT,
    Amount,
    ExactFloat,
    Float,
    GoDuration,
    Id,
    Integer,
    Minutes,
    OpenEnum,
    Seconds,
    convert,
)
from vcloud._core.text import shortened
from vcloud._core.timing.clock import datetime_class
from vcloud.errors import DecodeError

if TYPE_CHECKING:
    from vcloud._core.session import Session

W = TypeVar("W")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

__all__ = [
    "Amount",
    "BrokenItems",
    "Codec",
    "Float",
    "GoDuration",
    "Id",
    "Instant",
    "Integer",
    "Minutes",
    "OpenEnum",
    "Seconds",
    "Shape",
    "loads",
    "plain",
    "required",
]

if TYPE_CHECKING:
    #: An aware point in time. A text without a zone is taken as UTC, by the lenient way.
    Instant = Annotated[datetime, msgspec.Meta(tz=True)]
else:
    Instant = Annotated[datetime_class(), msgspec.Meta(tz=True)]

#: The documents nest eight levels deep. Some hundreds can still be decoded, but not be walked, printed or pickled.
MAX_DEPTH: Final = 64
#: Broken items of one list that are passed over before decoding stops.
MAX_BROKEN: Final = 100
#: Commas of an answer that the second way looks at. It makes an object of each value, which takes up
#: to thirty times the answer's memory. The largest page of the documents has some ten thousand.
MAX_COMMAS: Final = 1_000_000


class BrokenItems(msgspec.Struct, frozen=True):
    """The items of a list that cannot be decoded.

    Attributes:
        positions: where in the list the items stand that were decoded, in order.
        count: how many items were not decoded.
        reason: names the first broken item by its position and its field, and says how many more there are.
    """

    positions: tuple[int, ...]
    count: int
    reason: str


class Shape(msgspec.Struct, Generic[W, R_co], frozen=True, eq=False):
    """What an endpoint answers: the wire's class, and how to make of it what the caller gets.

    ``open`` receives the decoded wire object, the session to act through, and the body. ``open_partly``, where a list
    is worth something without its broken items, receives those by the name of their field too; the wire object then
    holds the others.
    """

    wire: type[W]
    open: Callable[[W, Session, bytes], R_co]
    open_partly: Callable[[W, Session, bytes, Mapping[str, BrokenItems]], R_co] | None = None


def plain(wire: type[W]) -> Shape[W, W]:
    """A shape that is handed out as it was decoded."""
    return Shape(wire, lambda value, session, body: value)


class Codec:
    """Decodes bodies into models.

    Args:
        strict: refuse fields that a model does not know, documented fields that are absent, and every leniency: for
            contract tests, where drift must show.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        # By identity, because a generic class such as Single[Machine] takes longer to hash than to look up. A decoder keeps its class.
        self._decoders: dict[int, _Decoder] = {}

    def decode(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode ``body`` into ``wire``.

        Raises:
            DecodeError: it is not JSON, or not of that shape; says where, and what the first bytes were.
        """
        failure: Exception
        try:
            return self._decode(body, wire, sensitive=sensitive)
        except _UNREADABLE as error:
            failure = error
        if (repaired := _repaired(body)) is not None:
            try:
                return self._decode(repaired, wire, sensitive=sensitive)
            except _UNREADABLE as error:
                failure = error
        raise _not_json(failure, body, sensitive=sensitive)

    def _decode(self, body: bytes, wire: type[T], *, sensitive: bool) -> T:
        if not body.isascii():
            body.decode()  # what no field holds, msgspec skips without a look
        if self._strict:
            return self._structure(msgspec.json.decode(body), body, wire, sensitive=sensitive)
        decoder = self._decoders.get(id(wire)) or self._decoder(wire)
        try:
            decoded: T = decoder.decode(body)
        except msgspec.ValidationError:
            return self.decode_leniently(body, wire, sensitive=sensitive)
        except _UNREADABLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a conversion may raise
            raise _mismatch(error, body, wire, sensitive=sensitive) from None
        return decoded

    def _structure(self, value: Any, body: bytes, wire: type[T], *, sensitive: bool) -> T:
        try:
            return self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
            failure = _mismatch(error, body, wire, sensitive=sensitive)
        # Outside of the handler: what is kept of the error would keep the answer's whole tree.
        del value
        raise failure

    def decode_leniently(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """The second way: numbers in strings, ids as numbers, times without a zone, and errors that name the field."""
        value = _tree(body, sensitive=sensitive)
        return self._structure(value, body, wire, sensitive=sensitive)

    def decode_refusal(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode what says whether an answer is a refusal. Of a long one, the long fields are cut.

        Args:
            body: the answer.
            wire: a class with the fields at its top that say so.
            sensitive: as for :meth:`decode`.

        Raises:
            DecodeError: it is not JSON, or not of that shape.
        """
        if len(body) <= MAX_REFUSAL:
            return self.decode(body, wire, sensitive=sensitive)
        quoted = excerpt(body, sensitive=sensitive)
        try:
            short = short_fields(body, _names(wire))
        except msgspec.ValidationError:
            failure = DecodeError(f"the answer is not what the contract says; {quoted}")
        except _UNREADABLE as error:
            failure = _not_json(error, body, sensitive=sensitive)
        else:
            try:
                return self.decode(short, wire, sensitive=sensitive)
            except DecodeError:
                failure = DecodeError(f"the answer is not what the contract says; {quoted}")
        raise failure

    def decode_items(
        self, body: bytes, wire: type[T], *, sensitive: bool = False
    ) -> tuple[T, dict[str, BrokenItems]]:
        """Decode an answer with lists, and pass over the items that cannot be decoded.

        Args:
            body: the answer.
            wire: its class; the class attribute ``item_fields`` names the fields that hold such a list.
            sensitive: whether the answer carries a secret, so that no error may quote it.

        Returns:
            The answer with the items that were decoded, and what is known of the others, by the name of their field.

        Raises:
            DecodeError: the answer cannot be decoded for another reason than its items.
        """
        value = _tree(body, sensitive=sensitive)
        fields: tuple[str, ...] = getattr(wire, "item_fields", ())
        lists: dict[str, list[Any]] = {}
        if isinstance(value, dict) and not self._strict:
            lists = {name: value[name] for name in fields if isinstance(value.get(name), list)}
            value = {**value, **{name: [] for name in lists}}
        answer = self._structure(value, body, wire, sensitive=sensitive)
        hints = get_type_hints(wire, include_extras=True) if lists else {}
        broken: dict[str, BrokenItems] = {}
        for name, items in lists.items():
            found = self._decode_one_by_one(
                items, _item_type(hints[name]), name, sensitive=sensitive
            )
            # Past the freezing: what is decoded is not yet in anybody's hands.
            object.__setattr__(answer, name, found[0])
            if found[1] is not None:
                broken[name] = found[1]
        return answer, broken

    def mismatches(self, value: Any, wire: type[Any]) -> list[str]:
        """Which fields of a JSON value keep it from being a ``wire``, and what they should be.

        No value is named, because it may be a secret.
        """
        try:
            self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - as above
            found = cattrs.transform_error(error, path="", format_exception=_requirement)
            return [shortened(_field_first(text), 200) for text in found]
        return []

    def decode_fast(self, body: bytes, wire: type[T]) -> T:
        """The first way alone, for tests that compare the two; amounts may have any spelling."""
        decoder = self._decoder(wire)
        if isinstance(decoder, _WithAmounts):
            decoder = decoder.fast
        decoded: T = decoder.decode(body)
        return decoded

    def _decode_one_by_one(
        self, items: list[Any], kind: Any, name: str, *, sensitive: bool
    ) -> tuple[list[Any], BrokenItems | None]:
        found: list[Any] = []
        positions: list[int] = []
        failed, first = 0, ""
        for index, item in enumerate(items):
            try:
                found.append(self._converter.structure(item, kind))
                positions.append(index)
            except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
                if not failed:
                    place = f"{name}[{index}]"
                    said = _reasons(error, place, sensitive=sensitive)
                    first = f"{place}: {said}" if sensitive else said
                failed += 1
                if failed == MAX_BROKEN:
                    break
        if not failed:
            return found, None
        left = len(items) - len(found)
        more = f"; {left - 1} more of its items were not read" if left > 1 else ""
        return found, BrokenItems(tuple(positions), left, first + more)

    @cached_property
    def _converter(self) -> cattrs.Converter:
        # Made when it is first needed, which with a service that keeps to its contract is never.
        return lenient_converter(strict=self._strict)

    def _decoder(self, wire: type[Any]) -> _Decoder:
        plain = msgspec.json.Decoder(wire, dec_hook=convert)
        fast = _WithAmounts(plain) if _holds_amounts(msgspec.inspect.type_info(wire)) else plain
        # A model may know that the service has a second spelling, which the fast way would pass over as unknown fields.
        check = getattr(wire, "_check_spelling", None)
        decoder = self._decoders[id(wire)] = fast if check is None else _Checked(fast, check)
        return decoder


class _Checked:
    """A decoder whose results are looked at before they are handed out."""

    __slots__ = ("_check", "_fast")

    def __init__(
        self, fast: msgspec.json.Decoder[Any] | _WithAmounts, check: Callable[[Any, bytes], None]
    ) -> None:
        self._fast = fast
        self._check = check

    def decode(self, body: bytes) -> Any:
        value = self._fast.decode(body)
        self._check(value, body)
        return value


class _WithAmounts:
    """A decoder of answers with a bare ``Decimal``, for which :data:`Amount` is four times as fast.

    msgspec takes for it whatever Python does: NaN, an exponent of a million, underscores. What may
    be such a one is left to the lenient way, which refuses it.
    """

    __slots__ = ("fast",)

    def __init__(self, fast: msgspec.json.Decoder[Any]) -> None:
        self.fast = fast

    def decode(self, body: bytes) -> Any:
        if ODD_AMOUNT.search(body):
            raise msgspec.ValidationError("an amount may be out of range")
        return self.fast.decode(body)


def _holds_amounts(kind: msgspec.inspect.Type, seen: frozenset[type[Any]] = frozenset()) -> bool:
    """Whether a value of this type may hold a ``Decimal``."""
    if isinstance(kind, msgspec.inspect.DecimalType):
        return True
    model: type[Any] | None = getattr(kind, "cls", None)
    if model in seen:
        return False
    seen = seen if model is None else seen | {model}
    inner: list[msgspec.inspect.Type] = [
        *(field.type for field in getattr(kind, "fields", ())),
        *getattr(kind, "types", ()),
        *getattr(kind, "item_types", ()),
    ]
    inner += [
        getattr(kind, name)
        for name in ("item_type", "key_type", "value_type", "type")
        if isinstance(getattr(kind, name, None), msgspec.inspect.Type)
    ]
    return any(_holds_amounts(one, seen) for one in inner)


_Decoder = msgspec.json.Decoder[Any] | _Checked | _WithAmounts


def _names(wire: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(wire))


def _item_type(hint: Any) -> Any:
    """The type of a list's items: of ``list[T]``, or of ``list[T] | None``."""
    lists = [one for one in (hint, *get_args(hint)) if is_list(one)]
    return get_args(lists[0])[0]


# -- from bytes to plain JSON ----------------------------------------------------------------------------------------

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_BOM: Final = b"\xef\xbb\xbf"
#: The escape of a surrogate that is not one of a pair. Every backslash before a ``u`` must begin an escape.
_LONE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_EXACT: Final = msgspec.json.Decoder(float_hook=ExactFloat)


def _repaired(body: bytes) -> bytes | None:
    """A body without its byte order mark, and with U+FFFD for each lone surrogate; None when it has neither."""
    repaired = body.removeprefix(_BOM)
    if _LONE.search(repaired):
        # An escaped backslash may stand before a u that is only a letter: now it cannot.
        repaired = _LONE.sub(rb"\\ufffd", repaired.replace(rb"\\", rb"\u005c"))
    return repaired if repaired != body else None


def loads(body: bytes, kind: Any = Any) -> Any:
    """JSON as msgspec reads it, repaired first where that is needed.

    Raises:
        msgspec.DecodeError: it is not JSON, or not of that kind.
        UnicodeDecodeError: it is not UTF-8.
        RecursionError: it is nested too deep.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if (repaired := _repaired(body)) is None:
            raise
    return msgspec.json.decode(repaired, type=kind)


def required(items: Sequence[T] | None, body: bytes, *names: str) -> Sequence[T]:
    """The list that a call is made for: null is an empty one.

    Args:
        items: what was decoded.
        body: the answer.
        names: the fields in which the list may come.

    Raises:
        DecodeError: the answer has none of these fields.
    """
    if items is not None:
        return items
    if loads(body, dict[str, msgspec.Raw]).keys().isdisjoint(names):
        raise DecodeError(f"the answer is not what the contract says: it has no {names[0]}")
    return ()


def _tree(body: bytes, *, sensitive: bool) -> Any:
    """The JSON of a body as the lenient converter takes it.

    Raises:
        DecodeError: it is not JSON, nested too deep, or holds too many values to look at each.
    """
    if body.count(b",") > MAX_COMMAS:
        raise DecodeError(
            "the answer is not what the contract says, and it holds too many values to say where "
            f"(more than {MAX_COMMAS}); {excerpt(body, sensitive=sensitive)}"
        )
    try:
        try:
            value = _EXACT.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if (repaired := _repaired(body)) is None:
                raise
            value = _EXACT.decode(repaired)
    except _UNREADABLE as error:
        raise _not_json(error, body, sensitive=sensitive) from None
    if too_deep(value):
        raise DecodeError(
            f"nested more than {MAX_DEPTH} levels deep; {excerpt(body, sensitive=sensitive)}"
        )
    return value


def too_deep(value: Any) -> bool:
    """Whether JSON is nested so deep that using it would end in a RecursionError."""
    level = [value]
    for _ in range(MAX_DEPTH):
        holders = [one for one in level if isinstance(one, dict | list)]
        if not holders:
            return False
        level = [
            inner for one in holders for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return True


# -- what an error says ----------------------------------------------------------------------------------------------


def excerpt(body: bytes, *, sensitive: bool) -> str:
    """The first bytes of an answer for an error text, unless the answer carries a secret."""
    if sensitive:
        return f"the answer ({len(body)} bytes) is not shown because it carries a secret"
    return f"the answer began {body[:120]!r}" if body else "the answer was empty"


def _not_json(error: Exception, body: bytes, *, sensitive: bool) -> DecodeError:
    return DecodeError(f"not JSON ({error}); {excerpt(body, sensitive=sensitive)}")


def _mismatch(error: Exception, body: bytes, wire: type[Any], *, sensitive: bool) -> DecodeError:
    reasons = _reasons(error, getattr(wire, "__name__", "answer"), sensitive=sensitive)
    return DecodeError(
        f"the answer is not what the contract says: {reasons}; {excerpt(body, sensitive=sensitive)}"
    )


def _reasons(error: Exception, path: str, *, sensitive: bool) -> str:
    if sensitive:
        return "the details are not shown"
    return shortened(
        "; ".join(cattrs.transform_error(error, path=path, format_exception=_reason)[:MAX_ERRORS])
    )


def _requirement(error: BaseException, kind: type | None) -> str:
    """What is required, without the value that is not."""
    if isinstance(error, KeyError):
        return "is missing"
    said = str(error).partition(", got ")[0] if type(error) is ValueError else ""
    # Other exceptions of the conversions quote what they were given.
    return (
        said
        if said.startswith("expected ")
        else f"is not a valid {getattr(kind, '__name__', 'value')}"
    )


def _field_first(text: str) -> str:
    """``data.timeout: expected a duration`` for cattrs' ``expected a duration @ .data.timeout``."""
    what, _, path = text.rpartition(" @ ")
    field = path.removeprefix(".")
    return f"{field}{' ' if what.startswith('is ') else ': '}{what}" if field else what


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if type(error) is ValueError else cattrs.v.format_exception(error, kind)
