"""The errors that end an agent."""

from __future__ import annotations

from typing import Final

from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
    VCloudError,
)

__all__ = [
    "PERMANENT_ERRORS",
    "AgentRejectedError",
    "ApprovalTimeoutError",
    "DuplicateAgentError",
]


class AgentRejectedError(VCloudError):
    """The control plane answered the registration with ``rejected``."""


class ApprovalTimeoutError(VCloudError):
    """No administrator approved the agent within ``approval_timeout``."""


class DuplicateAgentError(VCloudError):
    """The published server ended three connections of the agent in a row soon after they opened.

    Another process probably uses the same ``agent_id``: there, each connection ends the other one.
    """


#: Errors after which the agent does not connect again, because the next connection would fail too.
PERMANENT_ERRORS: Final = (
    AgentRejectedError,
    ApprovalTimeoutError,
    AuthenticationError,
    ConfigurationError,
    DuplicateAgentError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
