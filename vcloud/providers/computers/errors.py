"""How the Computers API refuses: Vagon's dialect, which Streams shares."""

from __future__ import annotations

from vcloud.providers.vagon import VagonCode, VagonDialect

__all__ = ["DIALECT", "VagonCode"]

DIALECT = VagonDialect("computers")
