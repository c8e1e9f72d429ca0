"""A session's log, which the published server has no path for."""

from __future__ import annotations

from typing import NoReturn

from vcloud._core.session import Session
from vcloud.providers.streamspace.refusals import unsupported


def request(
    session: Session,
    id: str,  # noqa: ARG001 - the signature of both dialects
    *,
    tail: int,  # noqa: ARG001
    follow: bool,  # noqa: ARG001
    timestamps: bool,  # noqa: ARG001
) -> NoReturn:
    """There is no path for it."""
    raise unsupported(
        session,
        "logs of sessions",
        "read them where its agent runs the session, in the pod that status.pod_name names",
    )
