"""How the Streams API refuses: by Vagon's rules, which Computers shares."""

from __future__ import annotations

from vcloud.providers.vagon import VagonCode, VagonService

__all__ = ["SERVICE", "VagonCode"]

SERVICE = VagonService("streams")
