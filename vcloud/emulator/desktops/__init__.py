"""The desktop-action API, emulated: the service, and the desktops that it drives."""

from __future__ import annotations

from vcloud.emulator.desktops.service import DOCS, Desktop, Desktops

__all__ = ["DOCS", "Desktop", "Desktops"]
