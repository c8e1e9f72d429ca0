"""How the Streams API refuses: Vagon's dialect, which Computers shares."""

from __future__ import annotations

from vcloud.providers.vagon import VagonCode, VagonDialect

__all__ = ["DIALECT", "VagonCode"]

DIALECT = VagonDialect("streams")
