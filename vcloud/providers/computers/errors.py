"""How the Computers API refuses: by Vagon's rules, which Streams shares."""

from __future__ import annotations

from vcloud.providers.vagon import VagonCode, VagonService

__all__ = ["SERVICE", "VagonCode"]

SERVICE = VagonService("computers")
