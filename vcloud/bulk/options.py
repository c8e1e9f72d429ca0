"""The options of a bulk run: one frozen object, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypedDict, TypeVar

from attrs import field, frozen

from vcloud._core.arguments import positive_integer, positive_seconds
from vcloud._core.instances import InstanceRef
from vcloud.bulk.journal import Journal
from vcloud.bulk.outcome import OutcomeStatus, Settled
from vcloud.errors import InvalidArgumentError

T = TypeVar("T")
R = TypeVar("R")


def default_key(item: object) -> str:
    """The name of an item in the journal: the item itself, or its id.

    Raises:
        InvalidArgumentError: it is neither a string nor a number, and has no ``id``.
    """
    if isinstance(item, str) or type(item) is int:
        return str(item)
    id = getattr(item, "id", None)
    if not isinstance(id, str):
        raise InvalidArgumentError(
            f"a {type(item).__name__} has no id that could name it in the journal: "
            "pass key=, a function that returns a name for each item"
        )
    return item.key if isinstance(item, InstanceRef) else id


def _seconds_or_none(value: timedelta | float | None) -> float | None:
    return None if value is None else positive_seconds(value, "deadline")


def _journal_or_none(value: Journal | str | os.PathLike[str] | None) -> Journal | None:
    if value is None or isinstance(value, Journal):
        return value
    if isinstance(value, str | os.PathLike):
        return Journal(value)
    raise InvalidArgumentError(f"journal must be a path or a Journal, not {value!r:.80}")


class BulkKeywords(TypedDict, Generic[T, R], total=False):
    """The keyword arguments of :class:`~vcloud.Bulk`. :class:`BulkOptions` has their defaults."""

    concurrency: int
    max_failures: int | None
    deadline: timedelta | float | None
    journal: Journal | str | os.PathLike[str] | None
    key: Callable[[T], str] | None
    record: Callable[[R], object] | None
    settle: Callable[[T], Awaitable[Settled[R]]] | None
    retry_failed: bool
    progress: str | None
    counted: bool


@frozen(kw_only=True)
class BulkOptions(Generic[T, R]):
    """What a bulk run is asked to do. :class:`~vcloud.Bulk` describes each option.

    Attributes:
        action: what to do with one item.
        concurrency: how many items at once.
        max_failures: how many failed or unknown items end the run; None: no number does.
        deadline: seconds for the whole run; None: no limit.
        journal: where the run is recorded; None: nowhere.
        key: names an item in the journal.
        record: what the journal keeps of a result; None: nothing.
        settle: finds out what happened to an item that an earlier run left unknown; None: it
            stays unknown.
        retry_failed: whether items that failed in an earlier run are run again.
        progress: the title of the progress display; None: there is none.
        counted: whether everything that the action does is a request of this SDK.
        one_client: whether all items use the same client. Then the run ends when that client's
            credentials are refused.

    Raises:
        InvalidArgumentError: a value is not allowed. The message has the option's name.
    """

    action: Callable[[T], Awaitable[R]]
    concurrency: int = 50
    max_failures: int | None = None
    deadline: float | None = field(default=None, converter=_seconds_or_none)
    journal: Journal | None = field(default=None, converter=_journal_or_none)
    key: Callable[[T], str] | None = None
    record: Callable[[R], object] | None = None
    settle: Callable[[T], Awaitable[Settled[R]]] | None = None
    retry_failed: bool = True
    progress: str | None = None
    counted: bool = False
    one_client: bool = False

    def __attrs_post_init__(self) -> None:
        """Check what the converters have not checked."""
        positive_integer(self.concurrency, "concurrency")
        if self.max_failures is not None:
            positive_integer(self.max_failures, "max_failures")
        if not callable(self.action):
            raise InvalidArgumentError(f"action must be a function, not {self.action!r:.80}")
        for name in ("key", "record", "settle"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise InvalidArgumentError(f"{name} must be a function, not {value!r:.80}")
        if self.settle is not None and self.journal is None:
            raise InvalidArgumentError(
                "settle needs a journal: only a journal knows which items an earlier run left "
                "unknown; pass journal= too"
            )
        if self.progress is not None and not isinstance(self.progress, str):
            raise InvalidArgumentError(f"progress must be a title, not {self.progress!r:.80}")

    @property
    def repeated(self) -> frozenset[OutcomeStatus]:
        """The outcomes of an earlier run with which an item is run again."""
        return frozenset({OutcomeStatus.FAILED} if self.retry_failed else ())

    def key_of(self, item: T) -> str:
        """The name of an item in the journal.

        Raises:
            InvalidArgumentError: ``key`` did not return a string, or not one that can be encoded.
        """
        key = default_key(item) if self.key is None else self.key(item)
        if type(key) is not str or key.encode("utf-8", "replace").decode() != key:
            raise InvalidArgumentError(
                f"key must return a string of valid Unicode for each item, not {key!r:.80}"
            )
        return key
