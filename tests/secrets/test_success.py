"""An error that quotes a success (a command's output, a state) holds no credential."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.contract.contract_harness import PROVIDERS, CannedTransport
from tests.secrets.spelling import WHOLE, shows, texts_of
from tests.unit.hostile import ONCE
from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth, VCloudError
from vcloud._core.client import client_with

SECRET: Final = "ck_+a/secret=of-mine.8"
HOLE: Final = "@@ a hole @@"

#: Calls that end with an error of our own although the service answered with a success.
CALLS: Final[dict[str, tuple[str, object, Callable[[Any], Any]]]] = {
    "a command's complaint": (
        "desktops",
        {"output": f"Error: heard {HOLE}"},
        lambda cloud: cloud.ref("d").key_down("ctrl"),
    ),
    "a long complaint": (
        "desktops",
        {"output": f"Error: {'x' * 900} {HOLE} {'y' * 2000}"},
        lambda cloud: cloud.ref("d").key_up("ctrl"),
    ),
    "a position": (
        "desktops",
        {"output": f"at {HOLE}"},
        lambda cloud: cloud.ref("d").cursor_position(),
    ),
    "no stream": (
        "desktops",
        {"id": "d", "status": f"in {HOLE}"},
        lambda cloud: cloud.ref("d").connect_url(),
    ),
    "a desktop's state": (
        "desktops",
        {"id": "d", "status": f"in {HOLE}"},
        lambda cloud: cloud.ref("d").wait_until("running", timeout=0),
    ),
    "a session's state": (
        "streamspace",
        {"id": "s", "user": "u", "template": "t", "state": f"in {HOLE}"},
        lambda cloud: cloud.sessions.ref("s").wait_until("running", timeout=0),
    ),
    "a machine's state": (
        "computers",
        {
            "client_code": 200,
            "id": "1",
            "type": "machine",
            "attributes": {"name": "m", "friendly_status": f"in {HOLE}", "region": "dublin"},
        },
        lambda cloud: cloud.machines.ref("1").wait_until("ready", timeout=0),
    ),
}
AUTHS: Final[dict[str, Callable[[], Any]]] = {
    "computers": lambda: HMACAuth(SECRET, "a secret of mine"),
    "streamspace": lambda: BearerAuth(SECRET),
    "desktops": lambda: APIKeyAuth(SECRET),
}


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize("place", CALLS)
async def test_an_error_quotes_a_success_without_what_was_sent(place: str, way: str) -> None:
    api, answer, call = CALLS[place]
    said = json.dumps(answer).replace(HOLE, json.dumps(WHOLE[way](SECRET))[1:-1])
    endpoint = Endpoint(PROVIDERS[api].document["base_url"], auth=AUTHS[api](), retry=ONCE)
    client = client_with(
        PROVIDERS[api].client_class, endpoint, transport=CannedTransport(200, said.encode(), {})
    )

    with pytest.raises(VCloudError) as caught:
        await call(client)

    for text in texts_of(caught.value):
        assert not shows(text, SECRET), text
