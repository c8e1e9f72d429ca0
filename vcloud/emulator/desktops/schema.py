"""The schema of the desktop-action API's bodies, and its library's errors for invalid ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Json = dict[str, Any]
Issue = dict[str, Any]
Path = tuple[str | int, ...]
Check = Callable[[Any, Path], list[Issue]]

_MISSING: Final = object()


class SchemaError(Exception):
    """A body or a parameter that does not fit the schema, with an issue for each field."""

    def __init__(self, issues: list[Issue]) -> None:
        """Carry the issues, in the schema library's form."""
        super().__init__(issues)
        self.issues: list[Issue] = issues

    @property
    def text(self) -> str:
        """The issues in one line, in the form that the service uses outside of its library."""
        return ", ".join(
            f"{'.'.join(map(str, issue['path']))}: {issue['message']}" for issue in self.issues
        )


def _kind(value: object) -> str:
    if value is _MISSING:
        return "undefined"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _wrong(value: object, path: Path, expected: str, received: str | None = None) -> list[Issue]:
    received = received or _kind(value)
    message = "Required" if received == "undefined" else f"Expected {expected}, received {received}"
    return [
        {
            "code": "invalid_type",
            "expected": expected,
            "received": received,
            "path": list(path),
            "message": message,
        }
    ]


def _text(value: Any, path: Path) -> list[Issue]:
    return [] if isinstance(value, str) else _wrong(value, path, "string")


def _integer(value: Any, path: Path) -> list[Issue]:
    if _kind(value) != "number":
        return _wrong(value, path, "number")
    try:
        whole = float(value).is_integer()
    except OverflowError:
        # JavaScript reads it as Infinity.
        whole = False
    return [] if whole else _wrong(value, path, "integer", "float")


def _count(value: Any, path: Path) -> list[Issue]:
    issues = _integer(value, path)
    if issues or value >= 0:
        return issues
    limits = {
        "code": "too_small",
        "minimum": 0,
        "type": "number",
        "inclusive": True,
        "exact": False,
    }
    return [{**limits, "message": "Number must be greater than or equal to 0", "path": list(path)}]


def _one_of(*options: str) -> Check:
    expected = " | ".join(f"'{option}'" for option in options)

    def check(value: Any, path: Path) -> list[Issue]:
        if not isinstance(value, str):
            return _wrong(value, path, expected)
        if value in options:
            return []
        message = f"Invalid enum value. Expected {expected}, received '{value}'"
        return [
            {
                "code": "invalid_enum_value",
                "options": list(options),
                "received": value,
                "path": list(path),
                "message": message,
            }
        ]

    return check


def _keys(value: Any, path: Path) -> list[Issue]:
    if isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(key, str) for key in value)
    ):
        return []
    if value is _MISSING:
        return _wrong(value, path, "string")
    return [
        {"code": "invalid_union", "unionErrors": [], "path": list(path), "message": "Invalid input"}
    ]


def _optional(check: Check) -> Check:
    return lambda value, path: [] if value is _MISSING else check(value, path)


def _object(**fields: Check) -> Check:
    def check(value: Any, path: Path) -> list[Issue]:
        if not isinstance(value, dict):
            return _wrong(value, path, "object")
        # As in the library, unknown fields are accepted.
        return [
            issue
            for name, of in fields.items()
            for issue in of(value.get(name, _MISSING), (*path, name))
        ]

    return check


_POINT: Final = _object(x=_integer, y=_integer)

_ACTIONS: Final[Mapping[str, Check]] = {
    "click_mouse": _object(
        x=_optional(_integer),
        y=_optional(_integer),
        button=_optional(_one_of("left", "right", "middle")),
        num_of_clicks=_optional(_count),
        click_type=_optional(_one_of("click", "down", "up")),
    ),
    "scroll": _object(direction=_one_of("up", "down", "left", "right"), amount=_integer),
    "move_mouse": _object(x=_integer, y=_integer),
    "drag_mouse": _object(start=_POINT, end=_POINT),
    "type": _object(text=_text),
    "press_keys": _object(keys=_keys, key_action_type=_optional(_one_of("press", "down", "up"))),
    "wait": _object(ms=_integer),
    "screenshot": _object(),
    "get_cursor_position": _object(),
}


def _action(value: Any, path: Path) -> list[Issue]:
    if not isinstance(value, dict):
        return _wrong(value, path, "object")
    tag = value.get("type")
    if isinstance(tag, str) and tag in _ACTIONS:
        return _ACTIONS[tag](value, path)
    expected = " | ".join(f"'{name}'" for name in _ACTIONS)
    message = f"Invalid discriminator value. Expected {expected}"
    return [
        {
            "code": "invalid_union_discriminator",
            "options": list(_ACTIONS),
            "path": [*path, "type"],
            "message": message,
        }
    ]


LAUNCH: Final = _object(timeout_ms=_optional(_integer))
BASH: Final = _object(command=_text)
ACTION: Final[Check] = _action


def checked(body: Any, schema: Check) -> Json:
    """The body if it fits the schema, else refuse it."""
    if issues := schema(body, ()):
        raise SchemaError(issues)
    found: Json = body
    return found


def invalid_uuid(name: str) -> SchemaError:
    """The error for a parameter that should be a UUID."""
    return SchemaError(
        [
            {
                "validation": "uuid",
                "code": "invalid_string",
                "message": "Invalid uuid",
                "path": [name],
            }
        ]
    )
