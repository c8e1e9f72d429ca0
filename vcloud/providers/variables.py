"""The environment variables of each provider, and the credentials that they are.

The facade, the providers' clients and ``Endpoint.from_env`` read them here, so that a program can
read the environment without loading the providers.
"""

from __future__ import annotations

from typing import Final

from vcloud._core.endpoint import READERS
from vcloud._core.environment import Credentials, Variables
from vcloud.auth import APIKeyAuth, BearerAuth, HMACAuth

__all__ = ["COMPUTERS", "DESKTOPS", "STREAMS", "STREAMSPACE", "VARIABLES"]

_VAGON: Final = Credentials(HMACAuth, ("KEY", "SECRET"), {"SIGNED_PATH": "signed_path"})

STREAMS: Final = Variables("streams", (_VAGON,))
COMPUTERS: Final = Variables("computers", (_VAGON,))
STREAMSPACE: Final = Variables(
    "streamspace",
    (
        Credentials(BearerAuth, ("TOKEN",)),
        Credentials(BearerAuth.login, ("USERNAME", "PASSWORD"), {"TOKEN_STORE": "store"}),
    ),
    needs_url=True,
)
DESKTOPS: Final = Variables("desktops", (Credentials(APIKeyAuth, ("API_KEY",)),))

#: In the order in which messages name them.
VARIABLES: Final = (STREAMS, COMPUTERS, STREAMSPACE, DESKTOPS)

# An Endpoint cannot import this module, which imports it.
READERS.update({one.name: one.required_endpoint for one in VARIABLES})
