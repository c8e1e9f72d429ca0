"""The desktop-action API, emulated: the service, and the desktops that it drives."""

from __future__ import annotations

from vcloud.emulator.desktops.programs import Ran
from vcloud.emulator.desktops.service import DOCS, Desktops
from vcloud.emulator.desktops.state import Desktop

__all__ = ["DOCS", "Desktop", "Desktops", "Ran"]
