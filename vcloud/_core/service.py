"""What the core must know of a provider's service: its limits, and how it refuses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vcloud._core.limits.windows import RateLimit
    from vcloud._core.outcome import Proof
    from vcloud._core.request import Request, Response
    from vcloud.errors import APIError


class Service(Protocol):
    """A provider's service, below its endpoints: its name, its limits, and how it refuses."""

    @property
    def provider(self) -> str:
        """Its name in the facade and in errors."""
        ...

    @property
    def rate_limits(self) -> Sequence[RateLimit]:
        """The limits that its documents promise."""
        ...

    @property
    def fixed_paths(self) -> Collection[str]:
        """Its paths that begin with two words, as ``/agents/stats``, or have no id at all.

        Elsewhere an id follows the first word.
        """
        ...

    @property
    def id_fields(self) -> Collection[str]:
        """The fields of its answers that hold the id of what was made, the best first."""
        ...

    def succeeded(self, answer: Any) -> bool:
        """Whether an answer with an HTTP status of success is a success, and not a refusal.

        Args:
            answer: the answer, decoded into its endpoint's class.
        """
        ...

    def error(
        self, request: Request, response: Response, url: str, *, now: float
    ) -> APIError | None:
        """The error for an answer that is a refusal; None: a success. ``now`` is Unix seconds.

        Raises:
            DecodeError: an answer that is neither.
        """
        ...

    def proof(self, request: Request, response: Response, error: APIError) -> Proof:
        """What this refusal proves about what the service did.

        By the table of :mod:`vcloud._core.outcome`: the provider says in which
        :class:`~vcloud._core.outcome.Form` the refusal is written (a documented code, a stated
        failure, the envelope or error object, none of these).
        """
        ...
