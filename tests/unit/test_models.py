"""Every model holds plain values, and can be stored, sent, compared and copied.

The models are found in the package. Most come from the examples of the documents, decoded through
the client; the others are decoded from a value for each of their fields.
"""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import pkgutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec
import pytest

import vcloud.providers
from tests.contract.contract_harness import PROVIDERS, CannedTransport
from vcloud._core.codec import Codec
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.scalars import Amount, GoDuration, Id, Minutes, OpenEnum, Seconds
from vcloud._core.timing.clock import datetime_class
from vcloud.errors import DecodeError, VCloudError

#: Types of values, each of them exactly.
PLAIN: Final = {str, int, float, bool, bytes, datetime, timedelta, Decimal, type(None)}
#: Classes of attrs in the providers that are no models.
OTHERS: Final = {
    "Controls": "acts on a desktop",
    "AgentHooks": "holds functions",
    "AgentOptions": "holds functions",
    "Approval": "holds functions",
    "LinkOptions": "holds functions",
    "ConnectUndo": "follows a machine",
    "RelayProgress": "counts for a relay",
}
#: Fields that are checked when a model is made.
CHECKED: Final[dict[str, dict[str, object]]] = {"PressKeys": {"keys": "Return"}}


def found_classes() -> set[type[Any]]:
    """Classes of attrs that compare by value; those that only describe the wire do not."""
    found: set[type[Any]] = set()
    for module in pkgutil.walk_packages(vcloud.providers.__path__, "vcloud.providers."):
        for one in vars(import_module(module.name)).values():
            if (
                isinstance(one, type)
                and one.__module__ == module.name
                and attrs.has(one)
                and one.__eq__ is not object.__eq__
                and not one.__name__.startswith("_")
                and one.__name__ not in OTHERS
            ):
                found.add(one)
    return found


def models_in(value: Any) -> Iterator[Any]:
    if attrs.has(type(value)):
        yield value
        for field in attrs.fields(type(value)):
            yield from models_in(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from models_in(inner)
    elif isinstance(value, dict):
        yield from models_in(list(value.values()))


async def documented() -> list[Any]:
    """The models in all documented answers."""
    found: list[Any] = []
    for provider in PROVIDERS.values():
        for operation in provider.operations:
            for answer in operation["responses"]:
                if answer["status"] >= 300 or answer["body"] is None:
                    continue
                body = json.dumps(answer["body"]).encode()
                for call in provider.calls[operation["id"]]:
                    client = provider.make(CannedTransport(answer["status"], body))
                    try:
                        found += models_in(await call(client))
                    except VCloudError:
                        # An answer of an action that is not the one of this call.
                        continue
    return found


def sample(kind: Any) -> Any:  # noqa: PLR0911 - one for each kind of type
    """A value of the wire for a field of this type."""
    scalars = {
        str: "text", Id: "7", int: 3, float: 0.5, bool: True, Seconds: 5, Minutes: 5,
        GoDuration: "1h30m", Amount: "0.182", Decimal: "0.182", Any: {"a": [1.5]},
        datetime_class(): "2026-01-23T11:02:41.902Z", timedelta: 5,
    }  # fmt: skip
    if kind in scalars:
        return scalars[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType, Annotated):
        return sample(arguments[0])
    if origin in (list, tuple):
        return [sample(arguments[0])]
    if origin is dict:
        return {"name": sample(arguments[1])}
    if issubclass(kind, OpenEnum):
        return kind("a value of tomorrow")
    if issubclass(kind, Enum):
        return next(iter(kind))
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, tuple):
        return [sample(inner) for inner in hints.values()]
    values = {field.name: sample(hints[field.name]) for field in attrs.fields(kind)}
    return values | CHECKED.get(kind.__name__, {})


def made(kind: type[Any]) -> Any:
    """A model as an answer has it, or as a caller makes it."""
    values = sample(kind)
    try:
        return Codec().decode_leniently(json.dumps(values).encode(), kind)
    except DecodeError:
        return kind(**values)


@cache
def every_model() -> dict[str, list[Any]]:
    """Models of each class, by its name."""
    found: dict[type[Any], list[Any]] = {one: [] for one in found_classes()}
    for model in asyncio.run(documented()):
        found.setdefault(type(model), []).append(model)
    for kind, models in found.items():
        if not models:
            models.append(made(kind))
    return {f"{one.__module__}.{one.__name__}": models for one, models in found.items()}


@pytest.fixture(params=sorted(every_model()))
def models(request: pytest.FixtureRequest) -> list[Any]:
    return every_model()[request.param]


def kinds_in(value: Any, path: str) -> Iterator[tuple[str, type[Any]]]:
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from kinds_in(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from kinds_in(inner, f"{path}[]")
    elif type(value) is dict:
        for name, inner in value.items():
            yield from kinds_in(inner, f"{path}.{name}")
    elif not isinstance(value, StrEnum):
        yield path, type(value)


def test_most_models_are_those_of_the_documents() -> None:
    """The rest is what no answer has: handles, and the messages of an agent."""
    assert len(every_model()) > 60
    assert len({type(model) for model in asyncio.run(documented())}) > 35


def test_ids_durations_and_amounts_are_plain_values(models: list[Any]) -> None:
    for model in models:
        odd = {one for one in kinds_in(model, type(model).__name__) if one[1] not in PLAIN}
        assert odd == set()


def test_a_model_becomes_json(models: list[Any]) -> None:
    for model in models:
        assert json.dumps(attrs.asdict(model), default=str)
        msgspec.to_builtins(model)
        assert msgspec.json.encode(model)


#: Fields that no dictionary has: secrets, and the bytes of a picture.
SECRET: Final = {
    "api_key",
    "connection_link",
    "data",
    "raw",
    "stream_url",
    "text",
    "token",
    "uid",
    "vnc_url",
}


def test_a_model_becomes_a_dictionary_of_plain_json_without_its_secrets(models: list[Any]) -> None:
    for model in models:
        plain = model.to_dict()
        assert json.loads(json.dumps(plain)) == plain
        assert msgspec.json.decode(msgspec.json.encode(plain)) == plain
        names = {field.name for field in attrs.fields(type(model))}
        left_out = names - plain.keys()
        assert left_out <= SECRET
        secret = [getattr(model, name) for name in left_out if name != "data"]
        told = json.dumps(plain)
        assert not [one for one in secret if isinstance(one, str) and len(one) > 6 and one in told]
        for name, value in plain.items():
            if isinstance(before := getattr(model, name, None), timedelta):
                assert value == before.total_seconds()
            elif isinstance(before, datetime):
                assert value.endswith("Z")
                assert datetime.fromisoformat(value) == before


def test_a_model_compares_and_hashes_by_its_fields(models: list[Any]) -> None:
    for model in models:
        same = type(model)(
            **{
                field.alias: getattr(model, field.name)
                for field in attrs.fields(type(model))
                if field.init
            }
        )
        assert same == model
        assert model != object()
        if not any(isinstance(inner, dict | list) for _, inner in values_in(model)):
            assert hash(same) == hash(model)


def values_in(value: Any) -> Iterator[tuple[str, Any]]:
    for field in attrs.fields(type(value)):
        inner = getattr(value, field.name)
        yield field.name, inner
        if attrs.has(type(inner)):
            yield from values_in(inner)


def test_a_model_is_pickled_and_copied_unless_it_holds_a_secret(models: list[Any]) -> None:
    for model in models:
        if isinstance(model, Secretive):
            for copied in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot be pickled or copied"):
                    copied(model)
            continue
        restored = pickle.loads(pickle.dumps(model))
        if getattr(model, "stream_url", None) is not None:
            # Who has the address can use the desktop.
            assert restored.stream_url is None
            restored = attrs.evolve(restored, stream_url=model.stream_url)
        assert restored == model
        assert copy.copy(model) == model
        assert copy.deepcopy(model) == model


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_clients_and_pagers_refuse_to_be_pickled_or_copied_deeply(name: str) -> None:
    client = PROVIDERS[name].make(CannedTransport(200, b"{}"))
    for refused in (pickle.dumps, copy.deepcopy):
        with pytest.raises(
            TypeError, match="cannot be pickled or copied, because it holds connections"
        ):
            refused(client)
        with pytest.raises(TypeError, match="can be neither pickled nor copied deeply"):
            refused(client.instances())
    assert copy.copy(client.instances()) is not None


@attrs.frozen(kw_only=True)
class Ids:
    application_id: Id | None


@pytest.mark.parametrize("wire", [1151, "1151"])
async def test_an_id_that_one_call_returns_is_an_argument_of_another(wire: object) -> None:
    machine = Codec().decode(json.dumps({"application_id": wire}).encode(), Ids)
    transport = CannedTransport(400, b"{}")
    client = PROVIDERS["streams"].make(transport)
    with pytest.raises(VCloudError):
        await client.streams.create(machine.application_id)
    with pytest.raises(VCloudError):
        await client.streams.ref(machine.application_id).machines().all()
    assert str(transport.asked[0].body["application_id"]) == "1151"
    assert transport.asked[1].path.endswith("/streams/1151/machines")
    assert msgspec.json.encode(machine.application_id) == b'"1151"'
