"""What the user chose for an agent, besides what it sends about itself and its hooks."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from vcloud._core.arguments import positive_seconds, seconds_from_zero
from vcloud._core.redaction.secretive import concealing
from vcloud._core.retry import RetryPolicy
from vcloud.auth import APIKeyAuth
from vcloud.errors import InvalidArgumentError

__all__ = ["AgentOptions", "agent_options"]

_KEY_DIGITS: Final = 64
_HEXADECIMAL: Final = re.compile(r"[0-9a-fA-F]*")


@frozen(kw_only=True)
class AgentOptions:
    """The options of an agent, checked.

    Attributes:
        grace: seconds that commands in flight get to finish when it stops.
        retry: the pauses between connections; ``attempts`` does not count.
        key: its key, or the installation's bootstrap key.
        remember: the file in which it keeps the commands that it carried out.
        approval_timeout: seconds that it waits for an administrator's approval; None: no limit.
    """

    grace: float
    retry: RetryPolicy
    key: APIKeyAuth | None
    remember: Path | None
    approval_timeout: float | None


@concealing
def agent_options(
    grace: timedelta | float,
    retry: RetryPolicy,
    api_key: str | None,
    remember: str | os.PathLike[str] | None,
    approval_timeout: timedelta | float | None,
) -> AgentOptions:
    """Check the options of an agent.

    Raises:
        InvalidArgumentError: one is invalid. The message does not repeat the key.
    """
    return AgentOptions(
        grace=seconds_from_zero(grace, "grace"),
        retry=retry,
        key=_key(api_key),
        remember=_path(remember),
        approval_timeout=None
        if approval_timeout is None
        else positive_seconds(approval_timeout, "approval_timeout"),
    )


@concealing
def _key(value: object) -> APIKeyAuth | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _HEXADECIMAL.fullmatch(value):
        raise InvalidArgumentError(
            f"api_key must be {_KEY_DIGITS} hexadecimal digits: the agent's own key, or the "
            "installation's bootstrap key"
        )
    if len(value) != _KEY_DIGITS:
        raise InvalidArgumentError(
            f"api_key must have {_KEY_DIGITS} hexadecimal digits, and has {len(value)}"
        )
    return APIKeyAuth(value, header="X-Agent-API-Key")


def _path(value: Any) -> Path | None:
    if value is None:
        return None
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str) or not path or "\0" in path:
        raise InvalidArgumentError(
            f"remember must be the path of a file, not {type(value).__name__} {value!r:.80}"
        )
    return Path(path)
