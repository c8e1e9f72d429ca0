"""Names and ids in the paths of the published server."""

from __future__ import annotations

from vcloud._core.request import path_segment
from vcloud._core.session import Session
from vcloud.errors.text import word
from vcloud.providers.streamspace.refusals import unsupported

__all__ = ["is_reachable", "segment"]


def is_reachable(name: str) -> bool:
    """Whether a path can hold a name: the server decodes a path before it looks for the route."""
    return "/" not in name and ".." not in name


def segment(session: Session, name: str, what: str, instead: str) -> str:
    """A name as one segment of a path.

    Args:
        session: the session of a collection or a handle.
        name: the name or id.
        what: what it names, such as ``template``.
        instead: what to do if no path can hold it.

    Raises:
        UnsupportedError: the server has no path to it; nothing was sent.
    """
    if not is_reachable(name):
        raise unsupported(session, f"path to {what} {word(name)!r}", instead)
    return path_segment(name, what)
