"""From bytes to models, in one of two ways that give equal objects.

First, msgspec decodes a body strictly and directly into the models: decoding list pages takes most
of the time. If msgspec refuses the body, the lenient converter of cattrs decodes it. That converter
defines how a model is built. The contract tests use a strict codec, in which any difference from
the documents is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, TypeVar, get_args, get_type_hints

import attrs
import cattrs
import msgspec

from vcloud._core.decoding.converter import is_list, lenient_converter
from vcloud._core.decoding.mismatch import (
    excerpt,
    field_first,
    mismatch,
    not_json,
    reasons,
    requirement,
)
from vcloud._core.decoding.plain_json import UNREADABLE, repaired, tree
from vcloud._core.decoding.shape import BrokenItems
from vcloud._core.decoding.short_fields import short_fields
from vcloud._core.decoding.spelled import Spelled, is_spelled
from vcloud._core.request import MAX_REFUSAL
from vcloud._core.scalars import convert
from vcloud.errors import DecodeError
from vcloud.errors.text import shortened

__all__ = ["Codec"]

T = TypeVar("T")

#: Broken items of one list that are skipped before decoding stops.
MAX_BROKEN: Final = 100


class Codec:
    """Decodes bodies into models.

    Args:
        strict: refuse unknown fields, absent documented fields, and undocumented spellings; for
            contract tests.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        # By identity: a generic class such as Single[Machine] takes longer to hash than to look up.
        # The decoder holds a reference to its class.
        self._decoders: dict[int, _Decoder] = {}
        #: Explains an answer that is not of its shape at first; None: nothing to say of it.
        self.explain: Callable[[bytes], DecodeError | None] | None = None

    def decode(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode ``body`` into ``wire``.

        Raises:
            DecodeError: it is not JSON, or not of that shape. The text names the field, and quotes
                the first bytes.
        """
        failure: Exception
        try:
            return self._decode(body, wire, sensitive=sensitive)
        except UNREADABLE as error:
            failure = error
        if (fixed := repaired(body)) is not None:
            try:
                return self._decode(fixed, wire, sensitive=sensitive)
            except UNREADABLE as error:
                failure = error
        raise not_json(failure, body, sensitive=sensitive)

    def _decode(self, body: bytes, wire: type[T], *, sensitive: bool) -> T:
        if not body.isascii():
            body.decode()  # msgspec does not check the texts of unknown fields
        if self._strict:
            return self._made(msgspec.json.decode(body), body, wire, sensitive=sensitive)
        decoder = self._decoders.get(id(wire)) or self._decoder(wire)
        try:
            decoded: T = decoder.decode(body)
        except (DecodeError, msgspec.ValidationError):
            return self.decode_leniently(body, wire, sensitive=sensitive)
        except UNREADABLE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a conversion may raise
            raise mismatch(error, body, wire, sensitive=sensitive) from None
        return decoded

    def _made(self, value: Any, body: bytes, wire: type[T], *, sensitive: bool) -> T:
        made: T = _finished(self._structure(value, body, wire, sensitive=sensitive))
        return made

    def _structure(self, value: Any, body: bytes, wire: type[T], *, sensitive: bool) -> T:
        try:
            return self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
            failure = mismatch(error, body, wire, sensitive=sensitive)
        # Outside of the handler: the error's frames would keep the answer's whole tree in memory.
        del value
        raise failure

    def decode_leniently(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode with the lenient converter.

        It accepts numbers in strings, ids as numbers and times without a zone, and its errors name
        the field.

        Raises:
            DecodeError: it cannot be decoded, or :attr:`explain` says why it must not be.
        """
        self._check(body)
        value = tree(body, sensitive=sensitive)
        return self._made(value, body, wire, sensitive=sensitive)

    def decode_refusal(self, body: bytes, wire: type[T], *, sensitive: bool = False) -> T:
        """Decode the fields that say whether an answer is an error. Long fields are cut.

        Args:
            body: the answer.
            wire: a class with these fields, which are at the top of the answer.
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
        except UNREADABLE as error:
            failure = not_json(error, body, sensitive=sensitive)
        else:
            try:
                return self.decode(short, wire, sensitive=sensitive)
            except DecodeError:
                failure = DecodeError(f"the answer is not what the contract says; {quoted}")
        raise failure

    def decode_items(
        self, body: bytes, wire: type[T], *, sensitive: bool = False
    ) -> tuple[T, dict[str, BrokenItems]]:
        """Decode an answer with lists, and skip the items that cannot be decoded.

        Args:
            body: the answer.
            wire: its class. The class attribute ``item_fields`` names the fields with such a list.
            sensitive: whether the answer carries a secret, so that no error may quote it.

        Returns:
            The answer with the items that were decoded; and a description of the others, by the
            name of their field.

        Raises:
            DecodeError: the answer cannot be decoded, for another reason than its items.
        """
        self._check(body)
        value = tree(body, sensitive=sensitive)
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
            # A model is frozen, but nothing else refers to it yet.
            put = setattr if isinstance(answer, Spelled) else object.__setattr__
            put(answer, name, found[0])
            if found[1] is not None:
                broken[name] = found[1]
        return _finished(answer), broken

    def _check(self, body: bytes) -> None:
        failure = None if self.explain is None else self.explain(body)
        if failure is not None:
            raise failure

    def mismatches(self, value: Any, wire: type[Any]) -> list[str]:
        """The fields of a JSON value that do not fit ``wire``, and what they should be.

        The texts have no values, which may be secrets.
        """
        try:
            self._converter.structure(value, wire)
        except Exception as error:  # noqa: BLE001 - as above
            found = cattrs.transform_error(error, path="", format_exception=requirement)
            return [shortened(field_first(text), 200) for text in found]
        return []

    def decode_fast(self, body: bytes, wire: type[T]) -> T:
        """Decode with msgspec only, for tests that compare the two ways."""
        decoded: T = self._decoder(wire).decode(body)
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
                    said = reasons(error, place, sensitive=sensitive)
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
        # Made when it is first needed: a service that keeps its contract never needs it.
        return lenient_converter(strict=self._strict)

    def _decoder(self, wire: type[Any]) -> _Decoder:
        fast = msgspec.json.Decoder(wire, dec_hook=convert)
        decoder: _Decoder = fast
        if is_spelled(wire):
            decoder = _Finished(fast, wire.finish)
        # A model may know a second spelling, which msgspec would skip as unknown fields.
        elif (checks := getattr(wire, "_spelling_check", None)) is not None:
            decoder = _Checked(fast, checks())
        self._decoders[id(wire)] = decoder
        return decoder


class _Checked:
    """A decoder whose results are checked."""

    __slots__ = ("_check", "_fast")

    def __init__(
        self, fast: msgspec.json.Decoder[Any], check: Callable[[Any, bytes], None]
    ) -> None:
        self._fast = fast
        self._check = check

    def decode(self, body: bytes) -> Any:
        value = self._fast.decode(body)
        self._check(value, body)
        return value


class _Finished:
    """A decoder of another spelling, whose results are made into the model."""

    __slots__ = ("_fast", "_finish")

    def __init__(self, fast: msgspec.json.Decoder[Any], finish: Callable[[Any], Any]) -> None:
        self._fast = fast
        self._finish = finish

    def decode(self, body: bytes) -> Any:
        return self._finish(self._fast.decode(body))


_Decoder = msgspec.json.Decoder[Any] | _Checked | _Finished


def _finished(answer: Any) -> Any:
    """The model that an answer is another spelling of; any other answer as it is."""
    return answer.finish() if isinstance(answer, Spelled) else answer


def _names(wire: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(wire))


def _item_type(hint: Any) -> Any:
    """The type of a list's items: of ``list[T]``, or of ``list[T] | None``."""
    lists = [one for one in (hint, *get_args(hint)) if is_list(one)]
    return get_args(lists[0])[0]
