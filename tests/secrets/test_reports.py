"""Canaries are not found in what reports, pings, factories and token stores show and keep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.pretty import pretty_repr

import vcloud.testing as made
from tests.secrets.sniffing import CANARY, found_in, leaks_in
from tests.secrets.test_canary import ONCE, PASSWORD, TOKEN, Reflecting, everything, serving
from vcloud import BearerAuth, Endpoint, Journal, StreamSpace, VCloudError


@pytest.mark.parametrize("form", ["object", "misfit", "page", "text"])
@pytest.mark.parametrize("status", [200, 302, 401, 422, 429, 503])
async def test_no_ping_shows_a_secret(status: int, form: str) -> None:
    async with (
        serving(Reflecting(status, form)) as url,
        everything(url, BearerAuth.login("admin", PASSWORD), deadline=5) as cloud,
    ):
        pings = await cloud.ping()
        assert list(pings) == list(cloud.configured)
        assert any(one.error for one in pings.values())
        for one in pings.values():
            assert not [*leaks_in(one), *leaks_in(one.error)][:5]


async def test_no_report_of_a_run_shows_a_secret(tmp_path: Path) -> None:
    journal, table = Journal(tmp_path / "look.journal"), tmp_path / "look.csv"
    async with (
        serving(Reflecting(400, "object")) as url,
        everything(url, BearerAuth(TOKEN)) as cloud,
    ):
        keys = [f"{name}/{number}" for name in cloud.configured for number in range(2)]
        plan = journal.plan([cloud.instance(key) for key in keys])
        run = cloud.bulk(plan, lambda one: one.refresh(), record=lambda one: one.to_dict())
        totals = await run.run()
        assert totals.failed == len(keys)
    rows = await journal.rows()
    assert [row["key"] for row in rows] == sorted(keys)
    assert all(row["error"] for row in rows)
    assert await journal.to_csv(table) == len(rows)
    assert not found_in(json.dumps(rows), "rows")
    for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - nothing else runs any more
        assert not found_in(file.read_bytes(), file.name)


@pytest.mark.parametrize("form", ["object", "page", "text"])
async def test_a_refusal_that_processes_share_has_no_secret(tmp_path: Path, form: str) -> None:
    store = tmp_path / "tokens.json"
    async with serving(Reflecting(401, form)) as url:
        for _ in range(2):
            auth = BearerAuth.login("admin", PASSWORD, store=store)
            async with StreamSpace(Endpoint(f"{url}/api/v1", auth=auth, retry=ONCE)) as client:
                with pytest.raises(VCloudError) as caught:
                    await client.agents.stats()
            assert not leaks_in(caught.value)
            assert not found_in(caught.value.user_message, "user_message")
    for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - nothing else runs any more
        assert not found_in(file.read_bytes(), file.name)


#: By the factory, the field that opens something, or is typed or seen.
SECRET: dict[Callable[..., Any], str] = {
    made.make_access_link: "connection_link",
    made.make_assignment: "connection_link",
    made.make_login: "token",
    made.make_desktop: "stream_url",
    made.make_stream_machine: "uid",
}


@pytest.mark.parametrize(
    ("make", "name"), SECRET.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_no_model_of_a_factory_shows_its_secret(make: Callable[..., Any], name: str) -> None:
    secret = f"https://example.com/{CANARY}" if "link" in name or "url" in name else CANARY
    model = make(**{name: secret})
    assert getattr(model, name) == secret
    shown = {
        "repr": repr(model),
        "rich": pretty_repr(model),
        "to_dict": json.dumps(model.to_dict()),
    }
    assert not [hit for where, text in shown.items() for hit in found_in(text, where)]
    with pytest.raises(TypeError) as caught:
        make(**{f"{name}x": secret})
    assert not found_in(str(caught.value), "wrong keyword")
