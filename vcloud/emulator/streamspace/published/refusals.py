"""The refusals of the published StreamSpace server."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class PublishedError(Exception):
    """A refusal in the server's form: `error`, and at most some other fields."""

    def __init__(self, status: int, error: str, /, **more: Any) -> None:
        """Refuse with this status and short text; `more` are fields such as `message`."""
        super().__init__(status, error)
        self.status: int = status
        # As the server's JSON library writes an object without a type.
        self.body: Json = dict(sorted({"error": error, **more}.items()))


def agent_not_found(agent_id: str) -> PublishedError:
    """The refusal of a request about an agent that is unknown."""
    return PublishedError(404, "Agent not found", agentId=agent_id)


def invalid_key(why: str) -> PublishedError:
    """The refusal of a text that no agent's key can be."""
    return PublishedError(401, "Invalid API key format", details=why)
