"""Where a session's VNC stream is by the API document, from what the service says. No I/O."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from vcloud._core.request import path_segment
from vcloud._core.session import Session
from vcloud.errors import ConfigurationError, DecodeError
from vcloud.errors.text import word

__all__ = [
    "absolute_url",
    "checked_url",
    "documented_path",
    "is_safe_to_open",
    "stream_url",
    "websocket_root",
]


def websocket_root(session: Session) -> str:
    """Where the installation begins, for WebSockets: ``wss://host/prefix``."""
    return session.root_url.replace("http", "ws", 1)


def stream_url(session: Session, session_id: str, named: str | None) -> str:
    """The address of a session's VNC stream: what the service names, else the documented one."""
    root = websocket_root(session)
    return absolute_url(root, named) if named else f"{root}{documented_path(session_id)}"


def checked_url(session: Session, session_id: str, named: str | None) -> str:
    """:func:`stream_url`, if the token may be sent to it.

    Raises:
        ConfigurationError: it is on another host.
        DecodeError: it is not safe to open.
    """
    root, url = websocket_root(session), stream_url(session, session_id, named)
    if not url.startswith(f"{root}/"):
        del url, named
        raise ConfigurationError(
            f"session {word(session_id)}: the service named a VNC address on another host, and the"
            f" token is only sent to {root}"
        )
    if not is_safe_to_open(url, session_id):
        del url, named
        raise DecodeError(
            f"session {word(session_id)}: the VNC address that the service named is not valid"
        )
    return url


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
