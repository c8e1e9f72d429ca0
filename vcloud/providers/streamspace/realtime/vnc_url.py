"""Where a session's VNC stream is, from what the service says. No I/O."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from vcloud._core.request import path_segment

__all__ = ["absolute_url", "documented_path", "is_safe_to_open"]


def documented_path(session_id: str) -> str:
    """The path that the API document gives for a session's VNC stream."""
    return f"/vnc-viewer/{path_segment(session_id)}"


def absolute_url(root: str, named: str) -> str:
    """The whole address of a VNC stream that the service names, also behind a path prefix.

    Args:
        root: where the installation begins, such as ``wss://host/prefix``.
        named: a path, or a whole URL. One on another host is returned as it is.
    """
    if named.startswith(("http://", "https://")):
        named = named.replace("http", "ws", 1)
    parts = urlsplit(root)
    host = f"{parts.scheme}://{parts.netloc}"
    if "://" in named and not named.startswith(f"{host}/"):
        return named
    path = "/" + named.removeprefix(host).lstrip("/")
    return f"{host}{path}" if path.startswith(f"{parts.path}/") else f"{root}{path}"


def is_safe_to_open(url: str, session_id: str) -> bool:
    """Whether a request for this address goes to this address, unchanged.

    False for one with spaces, control characters or a fragment, and for one whose path has dots: a
    proxy would resolve them to another path than the one that was checked. The documented path is
    accepted whatever the id is, because an id is one segment, as in every other path.
    """
    segments = set(unquote(url.partition("?")[0]).split("/"))
    return (
        url.isascii()
        and url.isprintable()
        and not set(url) & set(' #"<>\\')
        and (not {".", ".."} & segments or url.endswith(documented_path(session_id)))
    )
