"""The rules for faults: which fault applies to which requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from random import Random

from attrs import define, field

from vcloud.emulator.calls import checked_route
from vcloud.emulator.faults.fault import Fault


@define(eq=False, kw_only=True)
class Rule:
    """A fault and the requests to which it applies; returned by `Faults.add`."""

    number: int
    """Counts from 1; the admin routes identify rules by it."""
    route: str
    fault: Fault
    times: int | None
    """How often it applies at most (None: without end)."""
    skip: int
    every: int
    probability: float
    seen: int = field(default=0, init=False)
    """Requests that matched the route so far."""
    hits: int = field(default=0, init=False)
    """Requests to which it was applied so far."""
    _random: Random = field(repr=False, alias="random")
    _forget: Callable[[Rule], None] = field(repr=False, alias="forget")

    def remove(self) -> None:
        """Remove the rule; may be called again."""
        self._forget(self)

    @property
    def spent(self) -> bool:
        """Whether it was applied as often as it may."""
        return self.times is not None and self.hits >= self.times

    def count(self) -> bool:
        """Count a request that matches; whether the rule applies to it."""
        self.seen += 1
        past = self.seen - self.skip
        # Drawn for each request, so that the n-th draw depends only on the seed and n.
        lucky = self._random.random() < self.probability
        return past > 0 and past % self.every == 0 and lucky


class Faults:
    """The rules. The first rule that matches a request and is due applies to it.

    They can be used from any thread.
    """

    def __init__(self, seed: int = 0) -> None:
        """Begin without rules; equal seeds give equal draws."""
        self._seed = seed
        self._rules: list[Rule] = []
        self._added = 0
        self._lock = threading.Lock()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that may still apply, in the order in which they were added."""
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
        """Apply `fault` to the next `times` requests (None: without end) that match `route`.

        `route` is a shell pattern over method and path, such as "GET *" or
        "POST /organization-management/v1/machines". The path is the raw one, without the query.

        Of the requests that match, the first `skip` are left alone. Then the rule applies to each
        `every`-th, with this `probability`: `skip=2` alone is the third, `every=3, times=None` are
        the third, the sixth and so on. Requests to which another rule applied count as well. The
        draws come from the seed.

        Raises:
            TypeError: this is no fault.
            ValueError: no request can match the route, or a number is out of its range.
        """
        if not isinstance(fault, Fault):
            msg = (
                "add takes a route and a fault, as in add('GET *', Fault.reset_after()), not "
                f"{route!r} and {fault!r}"
            )
            raise TypeError(msg)
        _check(times, skip, every, probability)
        route = checked_route(route)
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
                # One generator for each rule, so that rules do not change each other's draws.
                random=Random(f"{self._seed}/{self._added}"),
                forget=self._remove,
            )
            self._rules.append(rule)
        return rule

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, which counts as applied; None if no rule is due."""
        if not self._rules:
            return None
        subject = f"{method} {path}"
        with self._lock:
            due = [
                rule for rule in self._rules if fnmatchcase(subject, rule.route) and rule.count()
            ]
            if not due:
                return None
            rule = due[0]
            rule.hits += 1
            if rule.spent:
                self._rules.remove(rule)
            return rule.fault

    def clear(self) -> None:
        """Remove every rule."""
        with self._lock:
            self._rules.clear()

    def _remove(self, rule: Rule) -> None:
        with self._lock:
            if rule in self._rules:
                self._rules.remove(rule)


def _check(times: int | None, skip: int, every: int, probability: float) -> None:
    if times is not None and times < 1:
        msg = f"times must be at least 1, or None for no end, not {times!r}"
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
