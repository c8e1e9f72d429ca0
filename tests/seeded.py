"""The credentials of an emulator with a fixed seed, for tests that need known values."""

from __future__ import annotations

from vcloud.emulator import Credentials

SEED = 0
_DRAWN = Credentials.drawn(SEED)
KEY, SECRET = _DRAWN.computers_key, _DRAWN.computers_secret
API_KEY = _DRAWN.desktops_api_key
ADMIN_PASSWORD = _DRAWN.streamspace_password
