"""Arguments of StreamSpace's calls, checked and written as the service reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from vcloud._core.arguments import whole_units
from vcloud.errors import InvalidArgumentError

__all__ = ["checked_tags", "go_duration"]


def go_duration(value: timedelta | float, name: str) -> str:
    """A duration as Go writes it, in its shortest form: ``30m``, ``1h30m``, ``45s``.

    Raises:
        InvalidArgumentError: it is not whole seconds, or is zero. (Whether zero means at once or
            never is not documented.)
    """
    minutes, second = divmod(whole_units(value, timedelta(seconds=1), name, at_least=1), 60)
    hour, minute = divmod(minutes, 60)
    return "".join(
        f"{count}{unit}" for count, unit in ((hour, "h"), (minute, "m"), (second, "s")) if count
    )


def checked_tags(tags: Sequence[object]) -> tuple[str, ...]:
    """Check tags, which the service joins with commas.

    Raises:
        InvalidArgumentError: one is empty or has a comma, or a single text was given.
    """
    if isinstance(tags, str):
        raise InvalidArgumentError(f"tags must be a sequence such as [{tags!r}], not a single text")
    given = []
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or "," in tag:
            raise InvalidArgumentError(
                f"each tag must be a non-empty string without a comma, not {tag!r}"
            )
        given.append(tag)
    return tuple(given)
