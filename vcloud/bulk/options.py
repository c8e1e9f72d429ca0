"""The options of a bulk run: one frozen object, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from attrs import field, frozen

from vcloud._core.arguments import flag, positive_integer, positive_seconds
from vcloud.bulk.journal import Journal
from vcloud.bulk.journal_opening import JournalOpener
from vcloud.bulk.outcome import OutcomeStatus, Settled
from vcloud.bulk.references import ItemMaker, checked_key
from vcloud.errors import InvalidArgumentError

if TYPE_CHECKING:
    from vcloud._core.client import Client

T = TypeVar("T")
R = TypeVar("R")


def _seconds_or_none(value: timedelta | float | None) -> float | None:
    return None if value is None else positive_seconds(value, "deadline")


def _journal_or_none(
    value: JournalOpener | str | os.PathLike[str] | None,
) -> JournalOpener | None:
    if value is None or isinstance(value, JournalOpener):
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
    handle: Callable[[str], object] | None
    include_done: bool
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
        handle: makes an item of its key, for items that only the journal has; None: those whose
            kind the journal knows are made of that.
        include_done: whether outcomes of the journal are yielded also for items that are not among
            those of the run.
        retry_failed: whether items that failed in an earlier run are run again.
        progress: the title of the progress display; None: there is none.
        counted: whether everything that the action does is a request of this SDK.
        one_client: whether all items use the same client. Then the run ends when that client's
            credentials are refused.
        clients: the clients of the facade, by the providers' names. Items that only the journal has
            act through them.

    Raises:
        InvalidArgumentError: a value is not allowed. The message has the option's name.
    """

    action: Callable[[T], Awaitable[R]]
    concurrency: int = 50
    max_failures: int | None = None
    deadline: float | None = field(default=None, converter=_seconds_or_none)
    journal: JournalOpener | None = field(default=None, converter=_journal_or_none)
    key: Callable[[T], str] | None = None
    record: Callable[[R], object] | None = None
    settle: Callable[[T], Awaitable[Settled[R]]] | None = None
    handle: Callable[[str], object] | None = None
    include_done: bool = False
    retry_failed: bool = True
    progress: str | None = None
    counted: bool = False
    one_client: bool = False
    clients: Mapping[str, Client] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Check what the converters have not checked."""
        positive_integer(self.concurrency, "concurrency")
        if self.max_failures is not None:
            positive_integer(self.max_failures, "max_failures")
        if not callable(self.action):
            raise InvalidArgumentError(f"action must be a function, not {self.action!r:.80}")
        for name in ("key", "record", "settle", "handle"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise InvalidArgumentError(f"{name} must be a function, not {value!r:.80}")
        flag(self.include_done, "include_done")
        if self.progress is not None and not isinstance(self.progress, str):
            raise InvalidArgumentError(f"progress must be a title, not {self.progress!r:.80}")

    def check_journal(self) -> None:
        """Check that there is a journal, where an option needs one.

        Raises:
            InvalidArgumentError: there is none.
        """
        for name in ("settle", "handle", "include_done"):
            if getattr(self, name) and self.journal is None:
                raise InvalidArgumentError(
                    f"{name} needs a journal: only a journal knows what an earlier run did; "
                    "pass journal= too"
                )

    @property
    def repeated(self) -> frozenset[OutcomeStatus]:
        """The outcomes of an earlier run with which an item is run again."""
        return frozenset({OutcomeStatus.FAILED} if self.retry_failed else ())

    def maker(self) -> ItemMaker:
        """What makes items of keys, for one run."""
        return ItemMaker(self.handle, self.clients, keyed=self.key is not None)

    def key_of(self, item: T) -> str:
        """The name of an item in the journal.

        Raises:
            InvalidArgumentError: ``key`` did not return a string, or not one that can be encoded.
        """
        return checked_key(item, self.key)
