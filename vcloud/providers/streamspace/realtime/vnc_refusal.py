"""How a VNC server shows an error to a viewer (RFB 3.8: RFC 6143, 7.1.1 and 7.1.2). No I/O."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["GREETING", "VERSION_LENGTH", "refusal_message"]

#: The first bytes of a VNC server: the highest version of the protocol that it speaks.
GREETING: Final = b"RFB 003.008\n"
#: Bytes of a version, the server's as well as the viewer's.
VERSION_LENGTH: Final = 12
#: Characters of a reason: viewers show it in a dialog.
MAX_REASON: Final = 500

_VERSION: Final = re.compile(rb"RFB ([0-9]{3})\.([0-9]{3})\n")


def refusal_message(version: bytes, reason: str) -> bytes:
    """The bytes that follow the versions and make the viewer show ``reason`` and hang up.

    Args:
        version: the viewer's answer to the greeting.
        reason: for a person.

    Returns:
        from version 3.7 on no security types (a byte 0), before it the security type 0 (four
        bytes), then the reason's length and the reason; empty when ``version`` is not one of RFB.
    """
    found = _VERSION.fullmatch(version)
    if found is None:
        return b""
    text = reason[:MAX_REASON].encode("utf-8", "replace")
    no_security = bytes(1 if (int(found[1]), int(found[2])) >= (3, 7) else 4)
    return no_security + len(text).to_bytes(4, "big") + text
