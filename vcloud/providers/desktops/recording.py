"""Actions as JSON, to record and replay them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from operator import attrgetter
from typing import Any, Final, cast

import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.strategies import configure_tagged_union

from vcloud._core.redaction.secretive import concealing
from vcloud.errors import InvalidArgumentError
from vcloud.providers.desktops.actions import (
    ACTIONS,
    MILLISECOND,
    Action,
    ClickMouse,
    Wait,
    check_count,
)
from vcloud.providers.desktops.models import Point

__all__ = ["from_json", "to_json"]

_BY_TAG: Final = {action.tag: action for action in ACTIONS}


def _converter() -> cattrs.Converter:
    # The classes check their fields, so they get the recorded values unchanged.
    converter = cattrs.Converter(
        forbid_extra_keys=True,
        detailed_validation=False,
        omit_if_default=True,
        prefer_attrib_converters=True,
    )
    for kind in (int, str):
        converter.register_structure_hook(kind, lambda value, _: value)
    converter.register_unstructure_hook(Point, Point._asdict)
    converter.register_unstructure_hook(timedelta, lambda pause: pause // MILLISECOND)
    milliseconds = override(rename="ms", struct_hook=_milliseconds)
    converter.register_structure_hook(
        Wait,
        make_dict_structure_fn(
            Wait, converter, _cattrs_forbid_extra_keys=True, duration=milliseconds
        ),
    )
    converter.register_unstructure_hook(
        Wait, make_dict_unstructure_fn(Wait, converter, duration=milliseconds)
    )
    clicks = override(rename="num_of_clicks")
    made = make_dict_structure_fn(
        ClickMouse, converter, _cattrs_forbid_extra_keys=True, count=clicks
    )
    converter.register_structure_hook(ClickMouse, _checked_first(made))
    converter.register_unstructure_hook(
        ClickMouse,
        make_dict_unstructure_fn(ClickMouse, converter, _cattrs_omit_if_default=True, count=clicks),
    )
    configure_tagged_union(Action, converter, tag_generator=attrgetter("tag"), tag_name="type")
    return converter


def _checked_first(
    structure: Callable[[Mapping[str, Any], type[ClickMouse]], ClickMouse],
) -> Callable[[Mapping[str, Any], type[ClickMouse]], ClickMouse]:
    """The same hook, whose error for a number of clicks has the number's name in the recording."""

    def checked(recorded: Mapping[str, Any], kind: type[ClickMouse]) -> ClickMouse:
        name = "num_of_clicks"
        check_count(recorded.get(name), recorded.get("click_type"), name)
        return structure(recorded, kind)

    return checked


def _milliseconds(value: object, _: object) -> timedelta:
    longest = timedelta.max // MILLISECOND
    if type(value) is not int or not 0 <= value <= longest:
        raise InvalidArgumentError(f"ms must be a whole number, 0 to {longest}, not {value!r:.80}")
    return value * MILLISECOND


_CONVERTER: Final = _converter()
# cattrs accepts a union as a type; type checkers do not.
_UNION: Final[Any] = Action


def to_json(action: Action) -> dict[str, Any]:
    """An action as a JSON object in the service's form, with its ``type``, to record it.

    To send an action, use :meth:`~vcloud.providers.desktops.Controls.perform`: a text or a long
    wait takes several requests.

    Raises:
        InvalidArgumentError: it is not an action.
    """
    if type(action) not in ACTIONS:
        raise InvalidArgumentError(
            f"action must be one of the action classes, not {type(action).__name__}; "
            "to replay recorded JSON use from_json()"
        )
    return cast("dict[str, Any]", _CONVERTER.unstructure(action, _UNION))


@concealing
def from_json(recorded: Mapping[str, Any]) -> Action:
    """An action from the JSON object that :func:`to_json` made, or that an agent wrote.

    Raises:
        InvalidArgumentError: the type is not known, or a field is missing, unknown or not allowed.
            An unknown field is not ignored, because without it the replay would differ from the
            recording.
    """
    if not isinstance(recorded, Mapping):
        raise InvalidArgumentError(f"recorded must be a JSON object, not {type(recorded).__name__}")
    tag = recorded.get("type")
    if not isinstance(tag, str) or tag not in _BY_TAG:
        raise InvalidArgumentError(
            f"recorded['type'] must be one of {', '.join(_BY_TAG)}, not {tag!r:.80}"
        )
    try:
        made: Action = _CONVERTER.structure(dict(recorded), _UNION)
    except ForbiddenExtraKeysError as error:
        raise InvalidArgumentError(
            f"{tag} has no field {', '.join(sorted(map(str, error.extra_fields)))}"
        ) from None
    except KeyError as error:
        raise InvalidArgumentError(f"{tag} needs the field {error.args[0]}") from None
    return made
