"""The lenient converter: from JSON to models, by cattrs.

Its errors name the field, and its work is bounded.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, get_args, get_origin

import attrs
import cattrs
import msgspec
from cattrs.gen import make_dict_structure_fn

from vcloud._core.decoding.models import DOCUMENTED
from vcloud._core.decoding.spelled import Spelled, is_spelled
from vcloud._core.scalars import SCALARS, Float, Integer, OpenEnum, shown, without_exact_floats
from vcloud._core.timing.clock import datetime_class
from vcloud.errors.text import shortened

__all__ = ["MAX_ERRORS", "is_list", "lenient_converter"]

#: Errors of one list or mapping after which decoding stops: as many as an error text shows.
MAX_ERRORS: Final = 3
#: Characters of an object's key in an error: it is in the path of each error below it.
MAX_KEY: Final = 80


def lenient_converter(*, strict: bool) -> cattrs.Converter:
    """The converter that builds models from JSON: the definition of how a model is built.

    Args:
        strict: refuse unknown fields, absent documented fields, and undocumented spellings.
    """
    converter = cattrs.Converter(forbid_extra_keys=strict)
    for kind, scalar in SCALARS.items():
        converter.register_structure_hook(kind, scalar)
    converter.register_structure_hook_func(
        lambda kind: kind is Any, lambda value, _: without_exact_floats(value)
    )
    converter.register_structure_hook_func(_is_instant, SCALARS[datetime_class()])
    for annotated, kind in ((Integer, int), (Float, float)):
        converter.register_structure_hook_func(partial(operator.eq, annotated), SCALARS[kind])
    # By its class: cattrs would take the hook of str for it before that of a predicate.
    converter.register_structure_hook(OpenEnum, _member)
    converter.register_structure_hook_factory(is_list, lambda kind: _list(kind, converter))
    converter.register_structure_hook_factory(_is_mapping, lambda kind: _mapping(kind, converter))
    # The wire has no union but "or null".
    converter.register_structure_hook_factory(
        _is_model, lambda kind: _model(kind, converter, strict=strict)
    )
    converter.register_structure_hook_factory(
        is_spelled, lambda kind: _spelled(kind, converter, strict=strict)
    )
    return converter


def _member(value: object, kind: type[OpenEnum]) -> OpenEnum:
    if not isinstance(value, str):
        raise ValueError(f"expected one of {', '.join(kind)}, got {shown(value)}")
    return kind(value)


def _is_instant(kind: object) -> bool:
    return get_origin(kind) is Annotated and get_args(kind)[0] is datetime_class()


def is_list(kind: object) -> bool:
    return get_origin(kind) in (list, tuple)


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is dict


def _list(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    item = get_args(kind)[0]
    build = converter.get_structure_hook(item)
    container = get_origin(kind) or list

    def structure(value: Any, _: Any) -> Any:
        # Without this, a string in place of a list becomes its letters, and an object its names.
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {shown(value)}")
        return container(_each(enumerate(value), build, item, kind))

    return structure


def _mapping(kind: type[Any], converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    inner = get_args(kind)[1]
    build = converter.get_structure_hook(inner)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {shown(value)}")
        return dict(zip(value, _each(value.items(), build, inner, kind), strict=True))

    return structure


def _each(named: Any, build: Callable[[Any, Any], Any], item: Any, kind: Any) -> list[Any]:
    """Every value of a list or mapping. It stops after as many errors as are shown."""
    made: list[Any] = []
    errors: list[Exception] = []
    for name, value in named:
        try:
            made.append(build(value, item))
        except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
            place = shortened(name, MAX_KEY) if isinstance(name, str) else name
            error.add_note(cattrs.IterableValidationNote(f"at index {place!r}", place, item))
            errors.append(error)
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        # pyright takes the constructor for that of ExceptionGroup.
        raise cattrs.IterableValidationError("", errors, kind)  # pyright: ignore[reportCallIssue]
    return made


def _is_model(kind: object) -> bool:
    origin = get_origin(kind) or kind
    return (
        isinstance(origin, type) and attrs.has(origin) and not isinstance(kind, types.GenericAlias)
    )


def _model(
    kind: type[Any], converter: cattrs.Converter, *, strict: bool
) -> Callable[[Any, Any], Any]:
    build = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=strict)
    model: type[Any] = get_origin(kind) or kind
    # A model may know how servers write it, where that differs from their document.
    adapt = None if strict else getattr(model, "_adapt", None)
    demanded = (
        [field.name for field in attrs.fields(model) if field.metadata.get(DOCUMENTED)]
        if strict
        else []
    )

    def structure(value: Any, _: Any) -> Any:
        # Without this, a list or a string in place of an object ends in an IndexError or TypeError.
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {shown(value)}")
        if absent := [name for name in demanded if name not in value]:
            raise ValueError(f"the documented {', '.join(absent)} is absent")
        return build(value if adapt is None else adapt(value), kind)

    return structure


def _spelled(
    kind: type[Spelled], converter: cattrs.Converter, *, strict: bool
) -> Callable[[Any, Any], Any]:
    fields = [
        (field, field.encode_name, _builder(field, converter))
        for field in msgspec.structs.fields(kind)
    ]
    known = {name for _, name, _ in fields} | kind.unread
    demanded = [
        name
        for field, name, _ in fields
        if strict and field.name not in kind.optional and field.default is not msgspec.UNSET
    ]

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got {shown(value)}")
        if absent := [name for name in demanded if name not in value]:
            raise ValueError(f"the documented {', '.join(absent)} is absent")
        if strict and (extra := value.keys() - known):
            raise ValueError(f"the fields {', '.join(sorted(extra))} are not known")
        made: dict[str, Any] = {}
        errors: list[Exception] = []
        for field, name, build in fields:
            try:
                if name in value:
                    made[field.name] = build(value[name], field.type)
                elif field.required:
                    raise KeyError(name)  # noqa: TRY301 - is noted like the others
            except Exception as error:  # noqa: BLE001 - cattrs reports through exception groups of many kinds
                error.add_note(cattrs.AttributeValidationNote("", name, field.type))
                errors.append(error)
        if errors:
            raise cattrs.ClassValidationError("", errors, kind)  # pyright: ignore[reportCallIssue]
        return kind(**made)

    return structure


def _builder(field: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    # Of a field that may be unset it only matters whether it is there.
    if field.default is msgspec.UNSET:
        return lambda value, _: value
    return converter.get_structure_hook(field.type)
