"""The fast decoders: from bytes into models, by msgspec, strictly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from vcloud._core.scalars import ODD_AMOUNT, convert

__all__ = ["FastDecoder", "fast_decoder"]


def fast_decoder(wire: type[Any]) -> FastDecoder:
    """The decoder for one class of the wire."""
    bare = msgspec.json.Decoder(wire, dec_hook=convert)
    fast = WithAmounts(bare) if _holds_amounts(msgspec.inspect.type_info(wire)) else bare
    # A model may know a second spelling, which the fast decoder would skip as unknown fields.
    check = getattr(wire, "_check_spelling", None)
    return fast if check is None else _Checked(fast, check)


class _Checked:
    """A decoder whose results are looked at before they are handed out."""

    __slots__ = ("_check", "_fast")

    def __init__(
        self, fast: msgspec.json.Decoder[Any] | WithAmounts, check: Callable[[Any, bytes], None]
    ) -> None:
        self._fast = fast
        self._check = check

    def decode(self, body: bytes) -> Any:
        value = self._fast.decode(body)
        self._check(value, body)
        return value


class WithAmounts:
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


FastDecoder = msgspec.json.Decoder[Any] | _Checked | WithAmounts
