"""The old place of `vcloud.emulator.x11.vnc`, kept because programs import `VNCPort` from here."""

from __future__ import annotations

from vcloud.emulator.x11.vnc import VNCPort

__all__ = ["VNCPort"]
