"""Reading the requests of the StreamSpace API, and its refusals."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from attrs import frozen

from vcloud.emulator.streamspace.catalog import CODES, INITIAL_STATES, PLATFORMS

Json = dict[str, Any]

_INTEGER = re.compile(r"[0-9]{1,9}")
_BOOLEANS = {"true": True, "false": False}
_DURATION = re.compile(r"(?=.)(?:([0-9]{1,4})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")
_QUANTITY = {
    "memory": re.compile(r"([0-9]{1,12}(?:\.[0-9]+)?)([kMGTPE]|[KMGTPE]i)?"),
    "cpu": re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)(m)?"),
}
_FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "Ki": 2.0**10}
for _power, _letter in enumerate("MGTPE", start=2):
    _FACTORS |= {_letter: 1e3**_power, f"{_letter}i": 2.0 ** (10 * _power)}


class StreamSpaceError(Exception):
    """A refusal in the service's form."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Json | None = None,
        *,
        status: int | None = None,
        **extra: Any,
    ) -> None:
        """Refuse with a code of `CODES`, which has a status and a short text, or with another."""
        super().__init__(code, message)
        known, error = CODES.get(code, (500, message))
        self.code: str = code
        self.error: str = error
        self.message: str = message
        self.details: Json = details or {}
        self.status: int = status or known
        self.extra: Json = extra


def invalid(field: str, why: str) -> StreamSpaceError:
    """Refuse a field of a body."""
    return StreamSpaceError("VALIDATION_FAILED", f"Field '{field}' {why}", {field: why})


def read_object(content: bytes, content_type: str) -> Json:
    """The body, which must be a JSON object with that content type."""
    if content_type != "application/json":
        raise StreamSpaceError(
            "VALIDATION_FAILED", f"Expected Content-Type application/json, got {content_type}"
        )
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamSpaceError("VALIDATION_FAILED", f"Body is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise StreamSpaceError("VALIDATION_FAILED", "Body must be a JSON object")
    return found


def required(body: Json, name: str) -> str:
    """A required field, which must be a string that is not blank."""
    value = body.get(name)
    if value is None:
        raise StreamSpaceError(
            "MISSING_REQUIRED_FIELD", f"Field '{name}' is required", {name: "is required"}
        )
    if not isinstance(value, str) or not value.strip():
        raise invalid(name, "must be a non-empty string")
    return value


def one_of(body: Json, name: str, values: Collection[str], default: str | None = None) -> str:
    """A field with one of these values."""
    value = required(body, name) if default is None else body.get(name, default)
    if value not in values:
        raise invalid(name, f"must be one of {', '.join(values)}")
    return str(value)


def seconds(duration: str) -> float:
    """The seconds of a duration such as 30m; 0 if it is invalid."""
    found = _DURATION.fullmatch(duration)
    hours, minutes, rest = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return hours * 3600.0 + minutes * 60 + rest


def amount(name: str, quantity: str) -> float:
    """The bytes or cores of a quantity such as 2Gi or 1000m; 0 if it is invalid."""
    found = _QUANTITY[name].fullmatch(quantity)
    return float(found[1]) * _FACTORS[found[2] or ""] if found else 0.0


@frozen(kw_only=True)
class NewSession:
    """The session that a create asks for; None where the template decides."""

    user: str
    template: str
    platform: str | None
    state: str
    resources: Mapping[str, str]
    persistent_home: bool
    idle_timeout: str | None
    tags: tuple[str, ...]

    @classmethod
    def read(cls, body: Json) -> NewSession:
        """Read the body of a create; a null counts as left out."""
        body = {name: value for name, value in body.items() if value is not None}
        home = body.get("persistent_home", True)
        if not isinstance(home, bool):
            raise invalid("persistent_home", "must be true or false")
        idle = body.get("idle_timeout")
        if idle is not None and not (isinstance(idle, str) and seconds(idle)):
            raise invalid("idle_timeout", "must be a duration such as 30m")
        tags = body.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            raise invalid("tags", "must be a list of non-empty strings")
        return cls(
            user=required(body, "user"),
            template=required(body, "template"),
            platform=one_of(body, "platform", PLATFORMS) if "platform" in body else None,
            state=one_of(body, "state", INITIAL_STATES, "running"),
            resources=_resources(body.get("resources", {})),
            persistent_home=home,
            idle_timeout=idle,
            tags=tuple(tags),
        )


def _resources(given: object) -> Mapping[str, str]:
    if not isinstance(given, dict):
        raise invalid("resources", "must be an object")
    for name, value in given.items():
        if name not in _QUANTITY:
            raise invalid(f"resources.{name}", "is not known")
        if not isinstance(value, str) or not amount(name, value):
            raise invalid(f"resources.{name}", "must be a quantity such as 2Gi or 1000m")
    return given


def ambiguous(name: str) -> StreamSpaceError:
    """Refuse a parameter that was sent with two values."""
    return StreamSpaceError(
        "INVALID_PARAMETER",
        f"Parameter '{name}' was sent with two values",
        {name: "must have one value"},
    )


def query_choice(query: Mapping[str, str], name: str, values: Collection[str]) -> str | None:
    """One of these values from the query; None if it is absent."""
    value = query.get(name)
    if value is not None and value not in values:
        raise StreamSpaceError(
            "INVALID_PARAMETER",
            f"Parameter '{name}' must be one of {', '.join(values)}",
            {name: value},
        )
    return value


def query_integer(
    query: Mapping[str, str], name: str, default: int, maximum: int | None = None
) -> int:
    """A whole number of at least 1 from the query."""
    text = query.get(name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or int(text) < 1 or (maximum and int(text) > maximum):
        bounds = f"from 1 to {maximum}" if maximum else "of at least 1"
        raise StreamSpaceError(
            "INVALID_PARAMETER", f"Parameter '{name}' must be an integer {bounds}", {name: text}
        )
    return int(text)


def query_boolean(query: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A boolean from the query."""
    text = query.get(name)
    if text is None:
        return default
    if text not in _BOOLEANS:
        raise StreamSpaceError(
            "INVALID_PARAMETER", f"Parameter '{name}' must be true or false", {name: text}
        )
    return _BOOLEANS[text]


def paginate(
    items: list[Json], query: Mapping[str, str], *, limit: int = 20, maximum: int | None = 100
) -> tuple[list[Json], Json]:
    """The page of `items` that `query` asks for, and its pagination; `limit` is the default."""
    page = query_integer(query, "page", 1)
    size = query_integer(query, "limit", limit, maximum)
    pages = -(-len(items) // size)
    where = {"page": page, "limit": size, "total": len(items), "total_pages": pages}
    return items[(page - 1) * size : page * size], where
