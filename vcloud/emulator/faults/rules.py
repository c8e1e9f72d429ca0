"""The table of ordered failures: which requests go wrong."""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING

from attrs import define, field

from vcloud.emulator.faults.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Callable


@define(eq=False, kw_only=True)
class Rule:
    """A fault and the requests that it is meant for; what `Faults.add` returns."""

    number: int
    """Counted from 1, for the admin routes."""
    route: str
    fault: Fault
    times: int | None
    """How often it may happen (None: for ever)."""
    skip: int
    every: int
    probability: float
    seen: int = field(default=0, init=False)
    """Requests that matched the route so far."""
    hits: int = field(default=0, init=False)
    """Requests that it was done to so far."""
    _random: Random = field(repr=False, alias="random")
    _forget: Callable[[Rule], None] = field(repr=False, alias="forget")

    def remove(self) -> None:
        """Let it happen no more; may be called again."""
        self._forget(self)

    @property
    def spent(self) -> bool:
        """Whether it has happened as often as it may."""
        return self.times is not None and self.hits >= self.times

    def _is_due(self) -> bool:
        """Count a request that matches; whether it is this one's turn."""
        self.seen += 1
        past = self.seen - self.skip
        # Drawn for each, so that whether it is the n-th one's turn depends on the seed and n alone.
        lucky = self._random.random() < self.probability
        return past > 0 and past % self.every == 0 and lucky


class Faults:
    """The table of ordered failures. Of the rules that match a request, the first one whose turn it is applies.

    It may be used from any thread.
    """

    def __init__(self, seed: int = 0) -> None:
        """Begin with nothing going wrong; equal seeds give equal draws."""
        self._seed = seed
        self._rules: list[Rule] = []
        self._added = 0
        self._lock = threading.Lock()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the rules that may still apply, in the order they were added."""
        with self._lock:
            return tuple(self._rules)

    def add(
        self,
        route: str,
        fault: Fault,
        times: int | None = 1,
        *,
        skip: int = 0,
        every: int = 1,
        probability: float = 1.0,
    ) -> Rule:
        """Let `fault` happen to the next `times` requests (None: for ever) that match `route`.

        `route` is a shell pattern over method and path, as in "POST /organization-management/v1/machines" or
        "GET *"; the path is the raw one, without the query.

        Of the requests that match, the first `skip` are spared, then it is the turn of each `every`-th, with this
        `probability`: `skip=2` alone is the third, `every=3, times=None` are the third, the sixth and so on. A request
        that another rule was applied to counts as well. The draws come from the seed of the table.
        """
        if not isinstance(fault, Fault):
            msg = f"a route and a fault, as in add('GET *', Fault.reset_after()), not {route!r} and {fault!r}"
            raise TypeError(msg)
        if times is not None and times < 1:
            msg = f"times must be at least 1, or None for ever, not {times!r}"
            raise ValueError(msg)
        if skip < 0:
            msg = f"skip must be at least 0, not {skip!r}"
            raise ValueError(msg)
        if every < 1:
            msg = f"every must be at least 1, not {every!r}"
            raise ValueError(msg)
        if not 0 <= probability <= 1:
            msg = f"probability must be from 0 to 1, not {probability!r}"
            raise ValueError(msg)
        with self._lock:
            self._added += 1
            rule = Rule(
                number=self._added,
                route=route,
                fault=fault,
                times=times,
                skip=skip,
                every=every,
                probability=probability,
                # One for each rule, so that no rule changes what another one draws.
                random=Random(f"{self._seed}/{self._added}"),
                forget=self._remove,
            )
            self._rules.append(rule)
        return rule

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, if any, and count it as used."""
        if not self._rules:
            return None
        subject = f"{method} {path}"
        with self._lock:
            due = [
                rule for rule in self._rules if fnmatchcase(subject, rule.route) and rule._is_due()
            ]
            if not due:
                return None
            rule = due[0]
            rule.hits += 1
            if rule.spent:
                self._rules.remove(rule)
            return rule.fault

    def clear(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._rules.clear()

    def _remove(self, rule: Rule) -> None:
        with self._lock:
            if rule in self._rules:
                self._rules.remove(rule)
