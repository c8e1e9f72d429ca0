"""An answer to a create that cannot be read: what it says anyway is in the error."""

from __future__ import annotations

import json
import pickle
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.contract.contract_harness import PROVIDERS, CannedTransport
from vcloud import BearerAuth, DecodeError, Endpoint, RetryPolicy
from vcloud._core.client import client_with
from vcloud._core.codec import Codec

MACHINE = {"id": 7, "type": "machine", "attributes": {"name": "seven"}}
TOKEN = "a-token-of-the-client"
CREATES: Mapping[str, Callable[[Any], Awaitable[object]]] = {
    "computers": lambda cloud: cloud.machines.create(1),
    "streams": lambda cloud: cloud.streams.ref("s").start_machine("dublin"),
    "streamspace": lambda cloud: cloud.sessions.create("u", "t"),
    "desktops": lambda cloud: cloud.launch(),
}


async def unread(
    api: str,
    body: bytes | object,
    call: Callable[[Any], Awaitable[object]] | None = None,
    *,
    status: int = 201,
) -> DecodeError:
    provider = PROVIDERS[api]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    auth = BearerAuth(TOKEN) if api == "streamspace" else provider.auth()
    endpoint = Endpoint(provider.document["base_url"], auth=auth, retry=RetryPolicy(attempts=1))
    client = client_with(
        provider.client_class,
        endpoint,
        transport=CannedTransport(status, raw, {}),
        codec=Codec(),
    )
    with pytest.raises(DecodeError) as caught:
        await (call or CREATES[api])(client)
    return caught.value


@pytest.mark.parametrize("api", CREATES)
@pytest.mark.parametrize("body", [b"<html>made</html>", b"", b"[1, 2", b'{"machines": 7}'])
async def test_answer_that_cannot_be_read_has_its_status_and_its_text(
    api: str, body: bytes
) -> None:
    error = await unread(api, body)
    assert (error.status, error.body, error.ids) == (201, body.decode(), ())
    assert error.outcome_unknown
    assert "the service answered 201, a success" in str(error)


@pytest.mark.parametrize(
    ("api", "body", "ids"),
    [
        (
            "computers",
            {"client_code": 200, "machines": [{"id": 7}, {"id": "8", "attributes": 7}]},
            ("7", "8"),
        ),
        ("streams", {"client_code": 200, "machine": {"id": "9", "start_date": 5}}, ("9",)),
        ("streams", {"client_code": 200, "machine": {"uid": "u-9", "region": {"id": 3}}}, ("u-9",)),
        ("streamspace", {"name": "admin-t-1", "state": 7, "user": {"id": "u"}}, ("admin-t-1",)),
        ("streamspace", {"id": "s-1", "name": "n", "state": 7}, ("s-1",)),
        ("desktops", {"id": "d-1", "status": []}, ("d-1",)),
        ("desktops", b'{"status": "ok", "id": "d-2", "made', ("d-2",)),
        ("computers", b'{"client_code":200,"machines":[{"name":"n","id":17,', ("17",)),
    ],
)
async def test_ids_in_it_are_found(api: str, body: bytes | object, ids: tuple[str, ...]) -> None:
    error = await unread(api, body)
    assert error.ids == ids
    assert all(one in str(error) for one in ids)
    assert ", ".join(ids) in error.user_message
    assert error.to_dict()["ids"] == list(ids)
    assert pickle.loads(pickle.dumps(error)).ids == ids


async def test_machines_that_can_be_read_are_items_and_all_ids_are_named() -> None:
    machines = [MACHINE, {**MACHINE, "id": 8, "attributes": 7}]
    error = await unread("computers", {"client_code": 200, "machines": machines})
    assert [machine.id for machine in error.items] == ["7"]
    assert (error.status, error.ids) == (201, ("7", "8"))


async def test_its_text_is_bounded_and_has_no_secret() -> None:
    secrets = {
        "password": "hunter2-hunter2",
        "accessToken": "hunter2-hunter3",
        "api_key": 12345678901,
        "url": "https://host/x?token=hunter2-hunter4&a=1",
        "note": f"Bearer {TOKEN} eyJhbGciOiJI.eyJleHAiOjE3.AW_1-uXu6gACR",
    }
    # The text of the error quotes the first 120 bytes.
    first = {"name": "n", "state": 7, "x": "y" * 120}
    error = await unread("streamspace", {**first, **secrets, "z": "y" * 9000})
    assert error.body is not None
    assert len(error.body) < 2100
    assert error.body.endswith("bytes)")
    for one in ("hunter2", "12345678901", TOKEN, "eyJhbGciOiJI"):
        assert one not in error.body
        assert one not in json.dumps(error.to_dict())
    assert '"name": "n"' in error.body


@pytest.mark.parametrize("size", [1_000, 20_000])
async def test_secret_that_the_request_held_is_removed_wherever_it_stands(size: int) -> None:
    error = await unread("streamspace", b"x" * size + TOKEN.encode() + b'{"id": "%s"' % b"i")
    assert error.body is not None
    assert TOKEN not in error.body


async def test_answer_with_a_secret_is_not_shown_and_its_id_is() -> None:
    def call(cloud: Any) -> Awaitable[object]:
        return cloud.users.create("u", "u@example.com", "a-password")  # type: ignore[no-any-return]

    error = await unread("streamspace", {"id": "u-1", "username": ["a-password"]}, call)
    assert (error.status, error.body, error.ids) == (201, None, ("u-1",))
    assert "a-password" not in str(error.to_dict())


async def test_reading_says_nothing_of_it() -> None:
    def call(cloud: Any) -> Awaitable[object]:
        return cloud.sessions.get("s")  # type: ignore[no-any-return]

    error = await unread("streamspace", b"<html>", call, status=200)
    assert (error.status, error.body, error.ids) == (None, None, ())
    assert not error.outcome_unknown
    assert "a success" not in str(error)
