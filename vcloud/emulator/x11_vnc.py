"""The former place of `vcloud.emulator.x11.vnc`. Programs import `VNCPort` from here."""

from __future__ import annotations

from vcloud.emulator.x11.vnc import VNCPort

__all__ = ["VNCPort"]
