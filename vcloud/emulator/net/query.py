"""The parameters of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from multidict import MultiMapping


class Query(Mapping[str, str]):
    """Parameters with one value each. Reading one that has two values is refused.

    Frameworks take the first value, or the last, or a list, so it is not clear which one the caller
    meant.
    """

    def __init__(self, given: MultiMapping[str], refuse: Callable[[str], Exception]) -> None:
        """Read `given`; `refuse` makes the service's error for a parameter by name."""
        self._given = given
        self._refuse = refuse

    def __getitem__(self, name: str) -> str:
        values = self._given.getall(name)
        if len(set(values)) > 1:
            raise self._refuse(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._given))

    def __len__(self) -> int:
        return len(set(self._given))
