"""The headers of the published StreamSpace server's answers."""

from __future__ import annotations

from typing import Final

_ALLOWED: Final = (
    "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, accept, origin, "
    "Cache-Control, X-Requested-With, Upgrade, Connection, Sec-WebSocket-Key, "
    "Sec-WebSocket-Version, Sec-WebSocket-Extensions, Sec-WebSocket-Protocol"
)
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data: https:; font-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; upgrade-insecure-requests; "
    "block-all-mixed-content"
)
_SECURITY: Final = {
    "Permissions-Policy": (
        "geolocation=(), microphone=(), camera=(), payment=(), usb=(), magnetometer=(), "
        "gyroscope=(), accelerometer=()"
    ),
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Content-Type-Options": "nosniff",
    "X-Download-Options": "noopen",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-XSS-Protection": "1; mode=block",
}
_FRAMED: Final = {
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; script-src 'self' "
        "'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' "
        "data: blob: https:; font-src 'self' data:; connect-src 'self' ws: wss:; media-src 'self' "
        "blob:; worker-src 'self' blob:; frame-ancestors 'self'"
    ),
}
_DESKTOPS: Final = ("/api/v1/http/", "/api/v1/vnc/", "/api/v1/websockify/")
"""Where desktops are, which a page of the server shows in a frame."""
_ROOT: Final = ("/health", "/version")
_NEVER_KEPT: Final = ("/api/v1/auth/", "/api/v1/users/me", "/api/v1/sessions/")
_NEVER_COMPRESSED: Final = ("/api/v1/ws/", "/api/v1/auth/", "/api/v1/metrics")
_NOT_KEPT: Final = "no-store, no-cache, must-revalidate"


def cross_origin() -> dict[str, str]:
    """What lets web pages of other origins use the server."""
    return {
        "Access-Control-Allow-Headers": _ALLOWED,
        "Access-Control-Allow-Methods": "POST, OPTIONS, GET, PUT, PATCH, DELETE",
    }


def security(path: str, nonce: str) -> dict[str, str]:
    """What tells browsers what to forbid; and not to keep the answer, which comes to be revised."""
    found = {**_SECURITY, "Content-Security-Policy": _POLICY.format(nonce=nonce)}
    if path.startswith(_DESKTOPS):
        found |= _FRAMED
    if path not in _ROOT:
        found |= {"Cache-Control": f"{_NOT_KEPT}, private", "Pragma": "no-cache"}
    return found


def kept(method: str, path: str) -> str:
    """The `Cache-Control` of an answer that the filters let through."""
    if method == "GET" and not path.startswith(_NEVER_KEPT):
        return "public, max-age=300"
    return _NOT_KEPT


def compressed(path: str, accepted: str) -> bool:
    """Whether an answer is compressed with gzip."""
    return "gzip" in accepted and not path.startswith(_NEVER_COMPRESSED)
